"""Plain rules that hand users out in upload order at the same capacity.

Activity only, random, category heuristic, and users with the tastes of those who met the item already.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ..models.log import Log
from ..models.metrics import decayed_count
from ..models.pair_scores import PairScorer
from ..solvers.candidate_source import RowSource
from ..solvers.sequential import first_come_all_pairs

Rows = Callable[[np.ndarray], np.ndarray]
_CATEGORY_PRIOR, _TOTAL_PRIOR = 0.1, 5.0


@dataclass(frozen=True, eq=False)
class Places:
    """Demand of each item and capacity of each user, and the pairs that nobody may match."""

    demand: int
    capacity: np.ndarray
    scorer: PairScorer
    threads: int


def allowed(rows: Rows, scorer: PairScorer) -> Rows:
    """The same rows with 0 for the pairs that may not be matched."""

    def with_zeros(items: np.ndarray) -> np.ndarray:
        scores = rows(items)
        scorer.exclude(scores, items)
        return scores

    return with_zeros


def hand_out(rows: Rows, places: Places, progress: Callable[[int], None]) -> tuple[np.ndarray, np.ndarray]:
    """(item place, user place) of the matches when items take their best users by ``rows``, first come, first served."""
    source = RowSource(allowed(rows, places.scorer), places.scorer.items, places.scorer.users, threads=places.threads)
    demand = np.full(source.items, places.demand)
    first = first_come_all_pairs(source, None, demand, places.capacity, 1, progress=progress)
    return first.item, first.user


def activity_rows(p_active: np.ndarray) -> Rows:
    """Every item prefers the users likeliest to come."""
    row = np.maximum(p_active, 1e-6).astype(np.float32)
    return lambda items: np.tile(row, (len(items), 1))


def random_rows(seed: int, users: int) -> Rows:
    """Uniform scores that depend only on the seed and the item."""

    def rows(items: np.ndarray) -> np.ndarray:
        drawn = [np.random.default_rng([seed, 1, int(item)]).random(users, np.float32) for item in items]
        return np.stack(drawn) + np.float32(1e-6)

    return rows


def category_rows(past: Log, day: int, users: np.ndarray, token: np.ndarray) -> Rows:
    """Category heuristic: the user's smoothed share of interactions in the item's category times the decayed count.

    ``users`` int64 rows of the known users, ``token`` int[new items] categories, -1 unknown.
    """
    rows = np.flatnonzero(past.token[past.item] >= 0)
    place = (past.user[rows], past.token[past.item[rows]])
    counts = sparse.csc_matrix((np.ones(len(rows), np.float32), place), shape=(past.users, past.tokens))
    total = np.asarray(counts.sum(1)).ravel()[users]
    recent = decayed_count(past.user, day + 1 - past.day, past.users)[users]
    weight = ((recent + 1e-6) / (total + _TOTAL_PRIOR)).astype(np.float32)

    def of_token(one: int) -> np.ndarray:
        column = np.zeros(past.users, np.float32)
        if one >= 0:
            part = slice(counts.indptr[one], counts.indptr[one + 1])
            column[counts.indices[part]] = counts.data[part]
        return (column[users] + np.float32(_CATEGORY_PRIOR)) * weight

    return lambda items: np.stack([of_token(int(token[item])) for item in items])


def early_user_rows(past: Log, users: np.ndarray, items: np.ndarray) -> Rows:
    """Collaborative filtering from those who met an item already: the mean over them of what a user shares with each.

    score(user, item) = mean over early users e of sum over items j that both met of 1 / (users of j + 1); 0 for an item
    that nobody met yet. ``users``, ``items`` int64 rows. An item costs a pass over the pairs of ``past``, 12 bytes each.
    """
    good = np.flatnonzero(past.positive())
    place = (past.user[good], past.item[good])
    met = sparse.csr_matrix((np.ones(len(good), np.float32), place), shape=(past.users, past.items))
    met.sum_duplicates()
    met.data[:] = 1
    weight = 1 / (np.bincount(met.indices, minlength=past.items) + 1)
    early, of_users = met.T.tocsr(), met[users]

    def row(item: int) -> np.ndarray:
        who = early.indices[early.indptr[item] : early.indptr[item + 1]]
        if not len(who):
            return np.zeros(len(users), np.float32)
        shared = np.asarray(met[who].sum(0)).ravel() * weight / len(who)
        shared[item] = 0
        return np.asarray(of_users @ shared, np.float32)

    return lambda asked: np.stack([row(int(items[place])) for place in asked])
