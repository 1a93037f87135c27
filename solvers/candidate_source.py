"""Where candidates come from: whoever can name the best users of an item at given user prices."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .all_pairs_kernels import best_of_rows
from .errors import ProblemError

BLOCK_BYTES = 64 << 20
"""Bytes of score rows in one block; as many blocks are in memory as there are threads."""

MOST_THREADS = 8
"""Threads where none are asked for: more would hold more blocks than the reading gains."""


@runtime_checkable
class CandidateSource(Protocol):
    """Answers "who are the best users of these items at these prices?", by an exact or an approximate search.

    items, users  how many there are
    exact         whether `best` finds the best of all users, so that a bound computed from it covers all pairs

    A source that is quicker when asked for many items at once may say how many in `asked_at_once`.
    """

    @property
    def items(self) -> int:
        """Number of items."""
        ...

    @property
    def users(self) -> int:
        """Number of users."""
        ...

    @property
    def exact(self) -> bool:
        """Whether no better user than those found exists."""
        ...

    def best(
        self, item_rows: np.ndarray, user_prices: np.ndarray, count: int, available: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The `count` users of largest score - price > 0 of each item, best first, equal ones by user row.

        item_rows int[n], user_prices float32 or float64 [users] >= 0, available bool[users] (None: everybody).
        Returns user int32[n, count] and score float32[n, count] (not less the price), padded with -1 and 0.
        """
        ...


@runtime_checkable
class MeasuredSource(Protocol):
    """An approximate source that can tell how much it misses."""

    def recall(self, item_rows: np.ndarray, user_prices: np.ndarray, count: int) -> float:
        """Share of the `count` best users of these items, at these prices, that `best` finds."""
        ...


class RowSource:
    """A candidate source that computes the score of every pair, a block of items at a time.

    rows         function: item rows int64[n] -> float32[n, users], the scores with all users; 0 or less: no candidate.
                 It may be called from several threads at once, always on the same blocks
    items, users  how many there are
    block_items  items in a block; None: as many as fit 64 MiB of scores
    threads      blocks computed at once; 0: one a processor, at most 8. The answer does not depend on it

    Time: `rows` and about 0.3 ms a row of 255,000 users. Memory: `threads` blocks of scores.
    """

    exact = True

    def __init__(
        self,
        rows: Callable[[np.ndarray], np.ndarray],
        items: int,
        users: int,
        *,
        block_items: int | None = None,
        threads: int = 0,
    ) -> None:
        if items < 0 or users < 0 or threads < 0 or (block_items is not None and block_items < 1):
            raise ProblemError(
                f"items={items}, users={users}, block_items={block_items}, threads={threads}: expected none negative "
                "and block_items at least 1"
            )
        self.items, self.users = items, users
        self.block_items = block_items or max(1, BLOCK_BYTES // (4 * max(users, 1)))
        self.threads = threads or min(MOST_THREADS, os.cpu_count() or 1)
        self._rows = rows

    def rows(self, item_rows: np.ndarray) -> np.ndarray:
        """Scores of these items with all users, float32[n, users]. Raises ProblemError for another shape or dtype."""
        scores = np.asarray(self._rows(item_rows))
        expected = (item_rows.size, self.users)
        if scores.shape != expected or scores.dtype != np.float32:
            raise ProblemError(
                f"score rows have shape {scores.shape} and dtype {scores.dtype}, expected {expected} and float32"
            )
        return np.ascontiguousarray(scores)

    def row_blocks(self, item_rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Blocks of items in this order with their score rows; the next blocks are computed meanwhile."""
        return self._map_blocks(lambda block: (block, self.rows(block)), item_rows)

    def best(
        self, item_rows: np.ndarray, user_prices: np.ndarray, count: int, available: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As the Protocol says, exactly. Raises ProblemError for a NaN or infinite score, naming item and user row."""
        price = masked_prices(user_prices, available, self.users)
        asked = np.asarray(item_rows, dtype=np.int64)
        blocks = list(self._map_blocks(lambda block: self.best_of_block(block, price, count), asked))
        if not blocks:
            return np.empty((0, count), np.int32), np.empty((0, count), np.float32)
        return np.concatenate([user for user, _ in blocks]), np.concatenate([score for _, score in blocks])

    def scores_of(self, indptr: np.ndarray, user: np.ndarray) -> np.ndarray:
        """Scores of given pairs, float32[pairs]: item i with the users user[indptr[i]:indptr[i + 1]]."""
        out = np.empty(user.size, np.float32)
        listed = np.flatnonzero(np.diff(indptr))
        for block, rows in self.row_blocks(listed):
            for item, row in zip(block, rows, strict=True):
                out[indptr[item] : indptr[item + 1]] = row[user[indptr[item] : indptr[item + 1]]]
        return out

    def best_of_block(self, block: np.ndarray, price: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """As `best` of one block of items, on the thread that asks; price float64[users], infinite: not available."""
        rows = self.rows(block)
        user, score = empty_lists(block.size, count)
        if count:
            refuse_score(block, rows, best_of_rows(rows, price, user, score))
        return user, score

    def _map_blocks(self, work: Callable[[np.ndarray], Any], item_rows: np.ndarray) -> Iterator[Any]:
        """`work` on blocks of `block_items`, in order, at most `threads` of them begun and not yet handed over."""
        starts = range(0, item_rows.size, self.block_items)
        waiting: deque[Future[Any]] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                for start in starts:
                    if len(waiting) == self.threads:
                        yield waiting.popleft().result()
                    waiting.append(pool.submit(work, item_rows[start : start + self.block_items]))
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


def masked_prices(user_prices: np.ndarray, available: np.ndarray | None, users: int) -> np.ndarray:
    """Prices as a new float64[users], infinite for users that are not available. Raises ProblemError on wrong input."""
    prices = np.array(user_prices, dtype=np.float64)
    if prices.shape != (users,) or not ((prices >= 0) & (prices < np.inf)).all():
        raise ProblemError(f"user prices of shape {prices.shape}: expected ({users},), finite and not negative")
    if available is not None:
        mask = np.asarray(available)
        if mask.shape != (users,) or mask.dtype != np.bool_:
            raise ProblemError(f"available has shape {mask.shape} and dtype {mask.dtype}, expected ({users},) and bool")
        prices[~mask] = np.inf
    return prices


def empty_lists(items: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Padded lists without users: user int32[items, count] of -1 and score float32[items, count] of 0."""
    return np.full((items, count), -1, np.int32), np.zeros((items, count), np.float32)


def refuse_score(block: np.ndarray, rows: np.ndarray, place: tuple[int, int]) -> None:
    """Raises ProblemError if a kernel stopped at `place` (row of the block, user) rather than at (-1, -1)."""
    row, user = place
    if row >= 0:
        raise ProblemError(
            f"score of item {block[row]} and user {user} is {rows[row, user]}, expected a finite number "
            "(0 or less: no candidate)"
        )
