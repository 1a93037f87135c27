"""The two-tower retrieval: a faiss index over all users, asked by items (paper eq. 8)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np

BLOCK = 64
"""Items searched at once: other blocks may differ in the last bits."""


def build_user_index(vectors: np.ndarray, bias: np.ndarray) -> faiss.Index:
    """Exact inner-product index of float32[users, k] vectors, the bias float32[users] as one more dimension."""
    index = faiss.IndexFlatIP(vectors.shape[1] + 1)
    index.add(np.ascontiguousarray(np.concatenate([vectors, bias[:, None]], 1), np.float32))
    return index


def nearest_users(
    index: faiss.Index, items: np.ndarray, count: int, threads: int, done: Callable[[int], None] = lambda _: None
) -> np.ndarray:
    """int64[items, count] rows of the users with the largest product plus bias, best first, -1 where there are fewer.

    ``items`` float32[items, k]. Fixed blocks, each searched on one thread: the result does not depend on ``threads``.
    ``done`` is called with the number of items of each finished block, by the thread that searched it.
    """
    queries = np.ascontiguousarray(np.concatenate([items, np.ones((len(items), 1))], 1), np.float32)

    def search(start: int) -> np.ndarray:
        faiss.omp_set_num_threads(1)  # counts for this thread only
        found: np.ndarray = index.search(queries[start : start + BLOCK], count)[1]
        done(len(found))
        return found

    if not len(queries) or not count:
        return np.zeros((len(queries), count), np.int64)
    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(search, range(0, len(queries), BLOCK))))
