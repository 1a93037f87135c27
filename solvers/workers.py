"""A few threads that stay for the length of a solve, for kernels that release Python's lock."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Workers:
    """Runs parts of a phase at once, the first part on the calling thread.

    count  threads, the caller's among them
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count - 1) if count > 1 else None

    def run(self, work: Callable[..., Any], parts: Iterable[tuple[Any, ...]], small: bool = False) -> list[Any]:
        """work(*part) of each part, in order of the parts; returns when all are done.

        small: less work than it takes to wake a thread, so the caller does it alone.
        """
        first, *others = parts
        if self._pool is None or small:
            return [work(*part) for part in (first, *others)]
        waiting = [self._pool.submit(work, *part) for part in others]
        return [work(*first), *(one.result() for one in waiting)]

    def ranges(self, size: int) -> list[tuple[int, int]]:
        """One range of 0 to `size` for each thread, all about as long."""
        return [(size * k // self.count, size * (k + 1) // self.count) for k in range(self.count)]
