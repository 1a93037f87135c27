"""Numba kernel that counts the edges that could be chosen."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def count_reachable(
    indptr: np.ndarray,
    user: np.ndarray,
    score: np.ndarray,
    limits: tuple[np.ndarray, np.ndarray],
    by_item: np.ndarray,
    by_user: np.ndarray,
) -> float:
    """Counts edges with a score above 0 where limits, demand int32[items] and capacity int32[users], are above 0 too.

    indptr int64[items + 1], user int32[edges], score float32[edges]; in place: by_item int64[items] and by_user
    int64[users], from 0. Returns the sum of their scores. One pass, 8 bytes an edge and two entries of its user at random.
    """
    demand, capacity, total = limits[0], limits[1], 0.0
    for i in range(demand.size):
        if demand[i] <= 0:
            continue
        for e in range(indptr[i], indptr[i + 1]):
            u = user[e]
            if score[e] > 0.0 and capacity[u] > 0:
                by_item[i] += 1
                by_user[u] += 1
                total += score[e]
    return total
