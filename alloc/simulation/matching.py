"""Candidates of new items and their scores: the creator side (paper, section 3), over the users who may come."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from ...models.logistic import sigmoid
from ...models.sparse_top import top_of_product
from ...models.torch_threads import each_on_one_thread
from ...solvers.tile_source import TileSource
from .items import Items
from .options import MatchOptions
from .policies import Policy

TOWER, I2I2U, I2U2U = 2, 3, 4
"""Places in SOURCES."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Scores of all pairs of the batch and all users, weight = P(active) * sigmoid(<user, item> + both biases) / theta:
    ``item``, ``user`` float32[n, dim + 2], biases last; ``factor`` float32[users], 0 for users who are not available;
    ``author`` int64[batch], user row of each item's creator, whose score is 0."""

    item: np.ndarray
    user: np.ndarray
    factor: np.ndarray
    author: np.ndarray

    def tile(self, items: np.ndarray, first: int, last: int) -> np.ndarray:
        """float32[n, last - first] of batch rows int64[n]. With torch on one thread."""
        product = torch.from_numpy(self.item[items]) @ torch.from_numpy(self.user[first:last]).T
        scores: np.ndarray = torch.sigmoid_(product).mul_(torch.from_numpy(self.factor[first:last])).numpy()
        own = np.flatnonzero((self.author[items] >= first) & (self.author[items] < last))
        scores[own, self.author[items[own]] - first] = 0
        return scores

    def source(self) -> TileSource:
        """Answers who the best users of an item are, exactly."""
        return TileSource(each_on_one_thread(self.tile), len(self.item), len(self.user))

    def of(self, item: np.ndarray, user: np.ndarray) -> np.ndarray:
        """float32 scores of pairs."""
        product = np.einsum("nd,nd->n", self.item[item], self.user[user])
        others = self.author[item] != user
        return np.asarray(sigmoid(product.astype(np.float64)) * self.factor[user] * others, np.float32)


@dataclass(frozen=True, eq=False)
class Candidates:
    """By batch row, then user, each pair once: ``item``, ``user`` int64, ``score`` float32, ``source`` int8."""

    item: np.ndarray
    user: np.ndarray
    score: np.ndarray
    source: np.ndarray


def pair_scores(
    policy: Policy,
    weights: np.ndarray,
    batch: dict[str, np.ndarray],
    users: dict[str, np.ndarray],
    factor: np.ndarray,
) -> Pairs:
    """``weights`` as `fit_models` finds them; ``batch``: ``coarse``, ``content`` float32[n, dim], ``value`` log-odds,
    ``author`` as in `Pairs`; ``users``: ``vectors``, ``value``, ``theta``; ``factor`` float64[users]."""
    vector = weights[1] * batch["coarse"] + weights[2] * batch["content"]
    item = np.concatenate([vector, (weights[0] + weights[3] * batch["value"])[:, None], np.ones((len(vector), 1))], 1)
    user_bias = (weights[4] * users["value"])[:, None]
    user = np.concatenate([users["vectors"], np.ones_like(user_bias), user_bias], 1)
    over = users["theta"] ** policy.theta
    return Pairs(item.astype(np.float32), user.astype(np.float32), (factor / over).astype(np.float32), batch["author"])


@dataclass(frozen=True, eq=False)
class Reactions:
    """What the retrievals by similarity go by: ``items``; ``likes`` items x users, who reacted to what in the last days;
    ``vectors`` float32[users, dim]."""

    items: Items
    likes: sparse.csr_matrix
    vectors: np.ndarray


def candidates(
    match: MatchOptions, retrievals: tuple[str, ...], scores: tuple[Pairs, Pairs], batch: np.ndarray, seen: Reactions
) -> Candidates:
    """The union of the two-tower retrieval and others; a pair counts as found by the first that found it.

    ``scores``: of the two-tower retrieval, and of the ranker; ``batch`` int64 rows of items.
    """
    tower, pairs = scores
    places = np.arange(len(batch))
    found = [(TOWER, *_listed(tower.source().best(places, np.zeros(len(tower.user)), match.candidates)[0]))]
    if "i2i2u" in retrievals and match.more_candidates:
        found.append((I2I2U, *_by_similar_items(match, seen, batch, pairs.factor > 0)))
    if "i2u2u" in retrievals and match.more_candidates:
        found.append((I2U2U, *_by_similar_users(match, seen, batch, pairs.factor > 0)))
    source = np.concatenate([np.full(len(item), number, np.int8) for number, item, _ in found])
    item, user = (np.concatenate([one[k] for one in found]) for k in (1, 2))
    _, first = np.unique(item * len(pairs.user) + user, return_index=True)
    item, user, source = item[first], user[first], source[first]
    return Candidates(item, user, pairs.of(item, user), source)


def _by_similar_items(
    match: MatchOptions, seen: Reactions, batch: np.ndarray, available: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """i2i2u: users who reacted to the items nearest in content (eq. 5)."""
    known = np.flatnonzero(np.diff(seen.likes.indptr))
    if not len(known):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    near = torch.from_numpy(seen.items.content[batch]), torch.from_numpy(seen.items.content[known])

    @each_on_one_thread
    def tile(rows: np.ndarray, first: int, last: int) -> np.ndarray:
        scores: np.ndarray = (near[0][torch.from_numpy(rows)] @ near[1][first:last].T).numpy()
        return scores

    place, cosine = TileSource(tile, len(batch), len(known)).best(
        np.arange(len(batch)), np.zeros(len(known)), match.similar_items + 1
    )
    row, column = np.nonzero((place >= 0) & (known[np.maximum(place, 0)] != batch[:, None]))
    similar = sparse.csr_matrix((cosine[row, column], (row, place[row, column])), shape=(len(batch), len(known)))
    reacted = seen.likes[known][:, np.flatnonzero(available)]
    best = top_of_product(similar, sparse.csr_matrix(reacted), match.more_candidates, threads=2)
    item = np.repeat(np.arange(len(batch)), np.diff(best.indptr))
    return item, np.flatnonzero(available)[best.indices]


def _by_similar_users(
    match: MatchOptions, seen: Reactions, batch: np.ndarray, available: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """i2u2u: users nearest to those who reacted to the item itself (eq. 5); nobody before its first feedback."""
    own = seen.likes[batch]
    row = np.flatnonzero(np.diff(own.indptr))
    if not len(row):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    vectors = seen.vectors
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    query = torch.from_numpy(np.asarray(own[row] @ unit.astype(np.float64), np.float32))
    there = np.flatnonzero(available)
    of_users = torch.from_numpy(unit[there].astype(np.float32))

    @each_on_one_thread
    def tile(rows: np.ndarray, first: int, last: int) -> np.ndarray:
        scores: np.ndarray = (query[torch.from_numpy(rows)] @ of_users[first:last].T).numpy()
        return scores

    place = TileSource(tile, len(row), len(there)).best(
        np.arange(len(row)), np.zeros(len(there)), match.more_candidates
    )[0]
    item, user = _listed(place)
    return row[item], there[user]


def _listed(users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(row, entry) int64 of padded lists."""
    row, place = np.nonzero(users >= 0)
    return row.astype(np.int64), users[row, place].astype(np.int64)
