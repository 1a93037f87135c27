"""What the inputs of an item that comes after the night are looked up in, as arrays that stand without the log."""

from dataclasses import dataclass

import numpy as np

from .history import user_history
from .item_rate import Outcomes, closed_items, group_means
from .log import Log
from .similar_audience import SIMILAR, category_members
from .similarity import interactions
from .sparse_top import largest
from .tower_inputs import item_dense, token_heat
from .towers import Towers, all_history_vectors


@dataclass(frozen=True, eq=False)
class ItemLookups:
    """Of one day's end, by token (category) or creator; the last row is that of an unknown one.

    ``heat`` float64[tokens + 1]; ``same_day`` int64[tokens + 1]: new items of the day; ``token_rate`` float64[2, tokens + 1]
    and ``creator_rate`` float64[2, creators + 1] as of `group_means`, the latter [2, 0] without creators; ``group_rate``
    float32[groups + 1, m]: what the heads know of the creator, or where the data has none of the category.

    Who met similar items: ``similar`` float64[tokens + 1, dim] by category, or by content ``near_content`` float64[n, d] of
    length 1, ``near_met`` float64[n, dim] and ``near_weight`` float64[n] of the items that were met. Of size 0 where unused.
    """

    heat: np.ndarray
    same_day: np.ndarray
    token_rate: np.ndarray
    creator_rate: np.ndarray
    group_rate: np.ndarray
    similar: np.ndarray
    near_content: np.ndarray
    near_met: np.ndarray
    near_weight: np.ndarray

    def dense(self, token: int, moment: float) -> np.ndarray:
        """float32[1, 5]: the item tower's dense features of an item uploaded at ``moment`` of its day, from 0 to 1."""
        return item_dense(np.array([moment]), np.zeros(1, np.int64), self.heat[[token]])

    def rate_features(self, token: int, creator: int, moment: float) -> np.ndarray:
        """float32[1, m], in the order of `item_rate.rate_features`."""
        of_creator = self.creator_rate[:, creator] if self.creator_rate.size else np.zeros(0)
        of_token = [*self.token_rate[:, token], self.same_day[token]]
        return np.concatenate([self.dense(token, moment)[0], of_token, of_creator]).astype(np.float32)[None]

    def met(self, token: int, content: np.ndarray) -> np.ndarray:
        """float32[1, dim]: `Towers.history_vectors` of who met the items most similar to one, averaged.

        ``content``: float32[d], of length 1 or 0.
        """
        if self.near_weight.size:
            cosine = (self.near_content @ content.astype(np.float64)).astype(np.float32)
            best = np.sort(largest(np.arange(cosine.size), cosine, SIMILAR))
            weight = cosine[best].astype(np.float64)
            total = max(float(weight @ self.near_weight[best]), 1e-12)
            return (weight @ self.near_met[best] / total).astype(np.float32)[None]
        if self.similar.shape[0]:
            return self.similar[[token]].astype(np.float32)
        return np.zeros((1, self.similar.shape[1]), np.float32)


def item_lookups(  # noqa: PLR0917
    log: Log,
    day: int,
    past: Outcomes,
    target_days: int,
    creator: np.ndarray | None,
    towers: Towers,
    group_rate: np.ndarray,
) -> ItemLookups:
    """At the end of ``day``, with which ``log`` ends; ``creator`` int32[items] or None."""
    closed = closed_items(past, target_days, day)
    known = np.zeros(0, np.int64) if log.tokens_are_items else log.token[log.new_items(day)]
    return ItemLookups(
        heat=token_heat(log, day),
        same_day=np.bincount(known[known >= 0], minlength=log.tokens + 1),
        token_rate=_padded(group_means(log.token, closed, past, day), log.tokens),
        creator_rate=np.zeros((2, 0)) if creator is None else group_means(creator, closed, past, day),
        group_rate=group_rate,
        **_similar(log, day, towers),
    )


def _similar(log: Log, day: int, towers: Towers) -> dict[str, np.ndarray]:
    dim, width = towers.shape.dim, log.content.shape[1]
    found = {
        "similar": np.zeros((0, dim)),
        "near_content": np.zeros((0, width)),
        "near_met": np.zeros((0, dim)),
        "near_weight": np.zeros(0),
    }
    if not towers.shape.ef or (log.tokens_are_items and not width):
        return found
    met = interactions(log, day).users_of
    vectors = all_history_vectors(towers, user_history(log, day)).astype(np.float64)
    if not width:
        met = category_members(log) @ met
        total = np.maximum(np.asarray(met.sum(1)).ravel(), 1e-12)
        return found | {"similar": np.append(met @ vectors / total[:, None], np.zeros((1, dim)), 0)}
    content = log.content.astype(np.float64)
    length = np.sqrt(np.einsum("nd,nd->n", content, content))
    rows = np.flatnonzero((np.diff(met.indptr) > 0) & (length > 0))
    return found | {
        "near_content": content[rows] / length[rows, None],
        "near_met": np.asarray(met[rows] @ vectors),
        "near_weight": np.asarray(met[rows].sum(1)).ravel(),
    }


def _padded(means: np.ndarray, groups: int) -> np.ndarray:
    """`group_means` with columns for groups that no item has, which are as unknown ones."""
    missing = groups + 1 - means.shape[1]
    return np.concatenate([means[:, :-1], np.repeat(means[:, -1:], missing + 1, 1)], 1)
