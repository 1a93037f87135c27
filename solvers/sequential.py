"""The paper's sequential store over all users: the first candidate lists, and the value nothing may fall below."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .all_pairs_kernels import take_by_row
from .candidate_lists import FIRST_COME, CandidateLists, lists_from_padded
from .candidate_source import CandidateSource, RowSource, empty_lists, refuse_score
from .errors import ProblemError


@dataclass(frozen=True, eq=False)
class FirstComeLists:
    """What each item saw and took when its turn came.

    lists   the best users with a place left at that moment, at least as many as the item wants
    chosen  int64[matches], ascending: edges of `lists` that were taken
    """

    lists: CandidateLists
    chosen: np.ndarray

    @cached_property
    def value(self) -> float:
        """Sum of the scores taken."""
        return float(self.lists.score[self.chosen].sum(dtype=np.float64))

    @property
    def item(self) -> np.ndarray:
        """Item row of each match, int32[matches]."""
        return self.lists.item[self.chosen]

    @property
    def user(self) -> np.ndarray:
        """User row of each match, int32[matches]."""
        return self.lists.user[self.chosen]


def first_come_all_pairs(
    source: CandidateSource,
    order: np.ndarray | None,
    demand: np.ndarray,
    capacity: np.ndarray,
    count: int,
    *,
    progress: Callable[[int], None] | None = None,
) -> FirstComeLists:
    """Items in `order` each take their demand[i] best users among all users with places left, ties by user row.

    order     int[items], every item row once (upload order); None: row order
    demand    int[items], capacity int[users], neither negative
    count     candidates kept for each item: the best users with places left at its turn (more if it wants more)
    progress  called with the number of items done since the last call

    A RowSource is read block by block, so that its rows are computed together; another source is asked once an item.
    Raises ProblemError where order is no permutation or sizes differ.
    """
    turns = _turns(order, source.items)
    demand, capacity = np.asarray(demand), np.asarray(capacity)
    if demand.shape != (source.items,) or capacity.shape != (source.users,):
        raise ProblemError(
            f"demand has shape {demand.shape} and capacity {capacity.shape}, "
            f"expected ({source.items},) and ({source.users},): the items and users of the source"
        )
    store = _Store(demand, capacity, max(count, int(demand.max(initial=0))))
    if isinstance(source, RowSource):
        for block, rows in source.row_blocks(turns):
            store.serve_rows(block, rows)
            _report(progress, block.size)
    else:
        for item in turns:
            store.serve_one(source, int(item))
            _report(progress, 1)
    return store.result(count)


class _Store:
    """Places left and the padded lists so far, in row order."""

    def __init__(self, demand: np.ndarray, capacity: np.ndarray, width: int) -> None:
        self.demand = demand.astype(np.int64)
        self.left = capacity.astype(np.int64)
        self.price = np.where(self.left > 0, 0.0, np.inf)
        self.user, self.score = empty_lists(demand.size, width)

    def serve_rows(self, block: np.ndarray, rows: np.ndarray) -> None:
        """Items of a block, one after the other, from their full score rows."""
        user, score = empty_lists(block.size, self.user.shape[1])
        refuse_score(block, rows, take_by_row(rows, self.demand[block], self.left, self.price, user, score))
        self.user[block], self.score[block] = user, score

    def serve_one(self, source: CandidateSource, item: int) -> None:
        """One item, asking the source."""
        asked, nothing = np.array([item]), np.zeros(self.left.size)
        user, score = source.best(asked, nothing, self.user.shape[1], self.left > 0)
        self.user[item], self.score[item] = user[0], score[0]
        taken = user[0, : self.demand[item]]
        self.left[taken[taken >= 0]] -= 1

    def result(self, count: int) -> FirstComeLists:
        """Each item's list, cut to `count` or to what it wants where that is more."""
        place = np.arange(self.user.shape[1])
        user = np.where(place < np.maximum(count, self.demand)[:, None], self.user, -1)
        lists = lists_from_padded(user, self.score, FIRST_COME)
        item, at = np.nonzero((place < self.demand[:, None]) & (user >= 0))
        return FirstComeLists(lists, np.sort(lists.edges_of(item, user[item, at])))


def _turns(order: np.ndarray | None, items: int) -> np.ndarray:
    if order is None:
        return np.arange(items)
    turns = np.asarray(order)
    if turns.shape != (items,) or turns.dtype.kind not in "iu" or (np.sort(turns) != np.arange(items)).any():
        raise ProblemError(f"order of shape {turns.shape}: expected each of the {items} item rows exactly once")
    return turns.astype(np.int64)


def _report(progress: Callable[[int], None] | None, items: int) -> None:
    if progress is not None:
        progress(items)
