"""Work over ranges of items on several threads; the kernels release Python's lock while they run."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

EDGES_WORTH_A_THREAD = 500_000
"""Fewer edges than this are done sooner than a thread is started."""


def cores() -> int:
    """Processor cores that this process may use; NUMBA_NUM_THREADS lowers it."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("NUMBA_NUM_THREADS", "")
    return max(1, min(available, int(asked))) if asked.isdigit() else available


def item_ranges(indptr: np.ndarray, parts: int) -> np.ndarray:
    """Boundaries int64[parts + 1] of ranges of items that own about the same number of edges each."""
    items, edges = indptr.size - 1, int(indptr[-1])
    inner = np.searchsorted(indptr, np.linspace(0, edges, parts + 1)[1:-1])
    return np.concatenate([[0], np.minimum(inner, items), [items]])


def over_items(work: Callable[[int, int], object], indptr: np.ndarray, threads: int | None = None) -> None:
    """Calls work(first, last) for ranges of items that together are all of them, at once on several threads.

    `threads`: None or 0 takes every core, and one where the problem is small. `work` must not depend on how items are cut
    into ranges. An exception of `work` comes through.
    """
    wanted = threads or cores()
    parts = max(1, min(wanted, int(indptr[-1]) // EDGES_WORTH_A_THREAD))
    bounds = item_ranges(indptr, parts).tolist()
    at_once(lambda part: work(bounds[part], bounds[part + 1]), parts)


def at_once(work: Callable[[int], Any], parts: int) -> list[Any]:
    """work(0) to work(parts - 1), in order, each on a thread of its own. An exception of `work` comes through."""
    if parts == 1:
        return [work(0)]
    with ThreadPoolExecutor(parts) as pool:
        return list(pool.map(work, range(parts)))
