"""Kernels over lists of items."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def drop_seen(lists: np.ndarray, visitor: np.ndarray, seen: np.ndarray) -> None:
    """Writes -1 over items that the user of a row has seen.

    lists int32[visitors, n], in place; visitor int64[visitors] user rows; seen int32[users, width], -1: nothing.
    Comparisons: visitors x n x width at most.
    """
    for row in range(lists.shape[0]):
        known = seen[visitor[row]]
        for place in range(lists.shape[1]):
            item = lists[row, place]
            if item < 0:
                continue
            for other in known:
                if other == item:
                    lists[row, place] = -1
                    break
