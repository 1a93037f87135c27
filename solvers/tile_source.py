"""A source of candidates that computes the score of every pair in tiles small enough to stay in the cache."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .candidate_source import MOST_THREADS, empty_lists, masked_prices
from .errors import ProblemError
from .tile_kernels import add_tile, nothing_kept, write_kept

TILE = (256, 4096)
"""Items and users of a tile: 4 MiB of scores."""

Tile = Callable[[np.ndarray, int, int], np.ndarray]


class TileSource:
    """A candidate source for scores that come by tiles, such as matrix products: exact, over all pairs.

    tile          function: item rows int64[n], first and last user -> float32[n, last - first]; 0 or less: no candidate.
                  Called from several threads at once, always for the same tiles: it should use one thread itself
    items, users  how many there are
    shape         items and users of a tile
    threads       blocks of items searched at once; 0: one a processor, at most 8. The answer does not depend on it

    A tile is read once, while it is in the cache: no score is written to memory. Memory of `best`: 16 bytes for each of
    4 count + 128 users, for the items of a tile and each thread.
    """

    exact = True

    def __init__(self, tile: Tile, items: int, users: int, *, shape: tuple[int, int] = TILE, threads: int = 0) -> None:
        if min(items, users, threads) < 0 or min(shape) < 1:
            raise ProblemError(
                f"items={items}, users={users}, threads={threads}, shape={shape}: expected none negative "
                "and tiles of at least 1 by 1"
            )
        self.items, self.users, self.shape = items, users, shape
        self.threads = threads or min(MOST_THREADS, os.cpu_count() or 1)
        self._tile = tile

    def best(
        self, item_rows: np.ndarray, user_prices: np.ndarray, count: int, available: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `CandidateSource` says, exactly. Raises ProblemError for a NaN or infinite score, naming item and user row."""
        price = masked_prices(user_prices, available, self.users)
        asked = np.asarray(item_rows, dtype=np.int64)
        user, score = empty_lists(asked.size, count)

        def search(part: slice) -> None:
            self.search(asked[part], price, [(0, self.users)], user[part], score[part])

        starts = range(0, asked.size if count else 0, self.shape[0])
        self.each(search, [slice(at, at + self.shape[0]) for at in starts])
        return user, score

    def each(self, work: Callable[[Any], None], parts: Sequence[Any]) -> None:
        """Calls work(part) for all parts, several at once. An exception of `work` comes through."""
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(work, parts))

    def search(
        self,
        items: np.ndarray,
        price: np.ndarray,
        ranges: Iterable[tuple[int, int]],
        user: np.ndarray,
        score: np.ndarray,
    ) -> None:
        """Writes the best users of one block of items, of those in the ranges (ascending), into user and score.

        items int64[n]; price float64[users], infinite for those that are not available; user int32[n, count] and score
        float32[n, count] come filled with -1 and 0.
        """
        count, users = user.shape[1], np.arange(self.users, dtype=np.int32)
        rows, kept = np.arange(items.size), nothing_kept(items.size, count)
        for begin, end in ranges:
            for first in range(begin, end, self.shape[1]):
                last = min(first + self.shape[1], end)
                tile = checked_tile(self._tile, items, first, last)
                row, column = add_tile(tile, rows, users[first:last], price[first:last], count, kept)
                if row >= 0:
                    raise ProblemError(
                        f"score of item {items[row]} and user {first + column} is {tile[row, column]}, expected a "
                        "finite number (0 or less: no candidate)"
                    )
        write_kept(kept, user, score)


def checked_tile(tile: Tile, items: np.ndarray, first: int, last: int) -> np.ndarray:
    """The tile, contiguous float32[items, last - first]. Raises ProblemError for another shape or dtype."""
    scores = np.asarray(tile(items, first, last))
    expected = (items.size, last - first)
    if scores.shape != expected or scores.dtype != np.float32:
        raise ProblemError(f"a tile has shape {scores.shape} and dtype {scores.dtype}, expected {expected} and float32")
    return np.ascontiguousarray(scores)
