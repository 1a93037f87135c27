"""An approximate source of candidates: the best users of an item among those in the lists nearest to it."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .candidate_source import MOST_THREADS, empty_lists, masked_prices
from .errors import ProblemError
from .tile_kernels import Kept, add_tile, nothing_kept, write_kept
from .tile_source import Tile, checked_tile

BLOCK_ITEMS = 2048
"""Items searched together by a thread, at most, and a quarter of those asked for: whatever the number of threads, for the
last bits of a product differ with its size."""

TILE_ITEMS = 256
"""Items of a tile, at most."""

LIST_USERS = 4096
"""Users of a tile, at most: 4 MiB of scores."""


class ListSource:
    """A candidate source that scores each item with the users of some lists only, exactly, a tile for each list.

    tile     function: item rows int64[n], first and last place in `order` -> float32[n, last - first], the scores of the
             users there; 0 or less: no candidate. Called from several threads at once: it should use one thread itself
    order    int32[users], user rows list after list: each user once
    bounds   int64[lists + 1], where lists begin and end in `order`, rising from 0 to users
    nearest  int[items, probes], the lists that are looked into for each item, each once, ascending
    threads  blocks of items searched at once; 0: one a processor, at most 8. The answer does not depend on it

    An inverted file read list by list: all items that look into a list are multiplied with its users at once, where one
    query after another would read the list anew for each. The price is subtracted from the exact score of every pair
    looked at, so that nothing has to be scored again. Time of `best`: about probes / lists of that of an exact source.
    Memory: 16 bytes for each of 4 count + 128 users of the items asked for. Raises ProblemError for lists that are not
    so.
    """

    exact = False
    asked_at_once = 4 * BLOCK_ITEMS

    def __init__(
        self, tile: Tile, order: np.ndarray, bounds: np.ndarray, nearest: np.ndarray, *, threads: int = 0
    ) -> None:
        _check_lists(order, bounds, nearest)
        self.items, self.users = len(nearest), len(order)
        self.threads = threads or min(MOST_THREADS, os.cpu_count() or 1)
        self._tile, self._order, self._bounds, self._nearest = tile, order.astype(np.int32), bounds, nearest

    def best(
        self, item_rows: np.ndarray, user_prices: np.ndarray, count: int, available: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `CandidateSource` says, of the users in the items' lists; equal ones at the end of a list by its order.

        Raises ProblemError for a NaN or infinite score, naming item and user row.
        """
        asked = np.asarray(item_rows, np.int64)
        return self._best(asked, self._nearest[asked], masked_prices(user_prices, available, self.users), count)

    def recall(self, item_rows: np.ndarray, user_prices: np.ndarray, count: int) -> float:
        """Share of the `count` best users of these items, of all users, that `best` finds; 1 where nobody is worth > 0."""
        asked, price = np.asarray(item_rows, np.int64), masked_prices(user_prices, None, self.users)
        every = np.tile(np.arange(self._bounds.size - 1), (asked.size, 1))
        best, found = (self._best(asked, lists, price, count)[0] for lists in (every, self._nearest[asked]))
        hits = sum(np.isin(row[row >= 0], other).sum() for row, other in zip(best, found, strict=True))
        wanted = int((best >= 0).sum())
        return float(hits / wanted) if wanted else 1.0

    def _best(
        self, asked: np.ndarray, lists: np.ndarray, price: np.ndarray, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        user, score = empty_lists(asked.size, count)
        if not count or not asked.size:
            return user, score
        price = price[self._order]
        # Items that look into the same lists stand together, so that fewer and larger tiles are multiplied.
        together = np.lexsort(lists.T[::-1])
        size = min(BLOCK_ITEMS, -(-asked.size // 4))
        parts = [together[at : at + size] for at in range(0, asked.size, size)]

        def search(part: np.ndarray) -> None:
            kept = nothing_kept(part.size, count)
            self._search(asked[part], lists[part], price, kept, count)
            part_user, part_score = empty_lists(part.size, count)
            write_kept(kept, part_user, part_score)
            user[part], score[part] = part_user, part_score

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(search, parts))
        return user, score

    def _search(self, items: np.ndarray, lists: np.ndarray, price: np.ndarray, kept: Kept, count: int) -> None:
        """Adds to `kept`, whose rows are these items, the users of each list for the items that look into it."""
        by_list = np.argsort(lists, axis=None, kind="stable")
        ends = np.cumsum(np.bincount(lists.ravel(), minlength=self._bounds.size - 1))
        rows = by_list // lists.shape[1]
        for number, (begin, end) in enumerate(zip(ends - np.diff(ends, prepend=0), ends, strict=True)):
            for at in range(begin, end, TILE_ITEMS):
                self._add(items, rows[at : min(at + TILE_ITEMS, end)], number, price, kept, count)

    def _add(self, items: np.ndarray, rows: np.ndarray, number: int, price: np.ndarray, kept: Kept, count: int) -> None:
        stop = self._bounds[number + 1]
        for first in range(self._bounds[number], stop, LIST_USERS):
            last = min(first + LIST_USERS, stop)
            tile, users = checked_tile(self._tile, items[rows], first, last), self._order[first:last]
            row, column = add_tile(tile, rows, users, price[first:last], count, kept)
            if row >= 0:
                raise ProblemError(
                    f"score of item {items[rows[row]]} and user {users[column]} is {tile[row, column]}, expected a "
                    "finite number (0 or less: no candidate)"
                )


def _check_lists(order: np.ndarray, bounds: np.ndarray, nearest: np.ndarray) -> None:
    if not np.array_equal(np.sort(order), np.arange(order.size)):
        raise ProblemError(f"order of {order.size} users: expected each user row from 0 on once")
    lists = bounds.size - 1
    if lists < 0 or bounds[0] != 0 or bounds[-1] != order.size or (np.diff(bounds) < 0).any():
        raise ProblemError(f"bounds of the lists: expected to rise from 0 to {order.size}")
    if nearest.ndim != 2 or (nearest.size and not 0 <= nearest.min() <= nearest.max() < max(lists, 1)):
        raise ProblemError(f"nearest has shape {nearest.shape}, expected (items, probes) of lists 0 to {lists - 1}")
