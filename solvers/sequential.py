"""The paper's sequential store over all users: the first candidate lists, and the value nothing may fall below."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .all_pairs_kernels import Turns, take_by_row, take_listed
from .candidate_lists import FIRST_COME, CandidateLists, lists_from_padded
from .candidate_source import CandidateSource, RowSource, empty_lists, refuse_score
from .errors import ProblemError

FIRST_BATCH, MOST_BATCH = 32, 512
"""Items that a source without rows is first asked for at once, and at most."""


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
    held: tuple[np.ndarray, np.ndarray] | None = None,
    found: int = FIRST_COME,
    progress: Callable[[int], None] | None = None,
) -> FirstComeLists:
    """Items in `order` each take their demand[i] best users among all users with places left, ties by user row.

    order     int[n], rows of the items served, each at most once (upload order); None: all in row order
    demand    int[items], capacity int[users], neither negative
    count     candidates kept for each item: the best users with places left at its turn (more if it wants more)
    held      matches made before, of which demand and capacity know nothing: indptr int64[items + 1] and user rows
              int32; an item does not see the users it holds
    found     written into `found` of the lists (`found_in`)
    progress  called with the number of items done since the last call

    A RowSource is read block by block, so that its rows are computed together. Another source is asked for twice the
    users of some items at once; who of them has no place left by an item's turn is passed over, and where a list runs
    out the source is asked anew from there on.
    Raises ProblemError where order names an item twice or one that is not there, or sizes differ.
    """
    served = _served(order, source.items)
    demand, capacity = np.asarray(demand, np.int64), np.asarray(capacity, np.int64)
    if demand.shape != (source.items,) or capacity.shape != (source.users,):
        raise ProblemError(
            f"demand has shape {demand.shape} and capacity {capacity.shape}, "
            f"expected ({source.items},) and ({source.users},): the items and users of the source"
        )
    turns = _turns(demand, capacity, count, held)
    if isinstance(source, RowSource):
        for block, rows in source.row_blocks(served):
            refuse_score(block, rows, take_by_row(rows, block, turns))
            _report(progress, block.size)
    else:
        _take_in_batches(source, served, turns, progress)
    return _result(turns, count, found)


def _turns(demand: np.ndarray, capacity: np.ndarray, count: int, held: tuple[np.ndarray, np.ndarray] | None) -> Turns:
    if held is None:
        held = np.zeros(demand.size + 1, np.int64), np.empty(0, np.int32)
    price = np.where(capacity > 0, 0.0, np.inf)
    return Turns(demand, *held, capacity.copy(), price, *empty_lists(demand.size, max(count, demand.max(initial=0))))


def _take_in_batches(
    source: CandidateSource, served: np.ndarray, turns: Turns, progress: Callable[[int], None] | None
) -> None:
    """As the kernel `take_by_row`, for items in turn, asking the source for as many at once as lists last for."""
    most_held = int(np.diff(turns.held_ends).max(initial=0))
    count = 2 * turns.user.shape[1] + most_held
    begin, size, no_prices = 0, FIRST_BATCH, np.zeros(source.users)
    while begin < served.size:
        batch = served[begin : begin + size]
        user, score = source.best(batch, no_prices, count, turns.left > 0)
        done = take_listed(batch, user, score, turns)
        size = min(MOST_BATCH, 2 * done) if done == batch.size else done
        begin += done
        _report(progress, done)


def _result(turns: Turns, count: int, found: int) -> FirstComeLists:
    """Each item's list, cut to `count` or to what it wants where that is more."""
    place, demand = np.arange(turns.user.shape[1]), turns.demand[:, None]
    lists = lists_from_padded(np.where(place < np.maximum(count, demand), turns.user, -1), turns.score, found)
    item, at = np.nonzero((place < demand) & (turns.user >= 0))
    return FirstComeLists(lists, np.sort(lists.edges_of(item, turns.user[item, at])))


def _served(order: np.ndarray | None, items: int) -> np.ndarray:
    if order is None:
        return np.arange(items)
    rows = np.asarray(order)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise ProblemError(f"order is {rows.dtype} of {rows.ndim} dimensions, expected item rows of 1 dimension")
    ordered = np.sort(rows)
    if rows.size and (ordered[0] < 0 or ordered[-1] >= items or (np.diff(ordered) == 0).any()):
        raise ProblemError(f"order holds {rows.size} entries, expected item rows 0 to {items - 1}, each at most once")
    return rows.astype(np.int64)


def _report(progress: Callable[[int], None] | None, items: int) -> None:
    if progress is not None:
        progress(items)
