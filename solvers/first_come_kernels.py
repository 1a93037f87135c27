"""Numba kernels of first come, first served."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def kth_largest(values: np.ndarray, count: int, k: int) -> float:
    """The k-th largest (k from 1) of values[:count]; reorders them in place (quickselect)."""
    low, high = 0, count - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if k - 1 <= right:
            high = right
        elif k - 1 >= left:
            low = left
        else:
            break
    return values[k - 1]


@nb.njit(cache=True, nogil=True)
def take_by_item(  # noqa: PLR0917
    indptr: np.ndarray,
    user: np.ndarray,
    score: np.ndarray,
    activity: np.ndarray,
    group: np.ndarray,
    item_left: np.ndarray,
    user_left: np.ndarray,
    group_left: np.ndarray,
    held: np.ndarray,
) -> None:
    """Each item in row order takes its best edges among users with places left, ties by user row; no scores of 0.

    indptr int64[items + 1], user int32[edges], score float32[edges], activity float64[users] > 0 (what is best is
    decided by score / activity; size 0: by score), group int32[edges] (-1: none; size 0: no groups); in place: item_left
    int64[items], user_left int64[users], group_left int64[groups] (places left) and held uint8[edges] (edges held
    before are kept, new ones set to 1).
    """
    longest = 0
    for i in range(item_left.size):
        longest = max(longest, indptr[i + 1] - indptr[i])
    rank, edge, free = np.empty(longest), np.empty(longest, np.int64), np.empty(longest)
    for i in range(item_left.size):
        wanted, count = item_left[i], 0
        if wanted <= 0:
            continue
        for e in range(indptr[i], indptr[i + 1]):
            u, g = user[e], group[e] if group.size > 0 else -1
            if held[e] == 1 or score[e] <= 0.0 or user_left[u] <= 0 or (g >= 0 and group_left[g] <= 0):
                continue
            rank[count], edge[count] = np.float64(score[e]) / (activity[u] if activity.size > 0 else 1.0), e
            free[count] = rank[count]
            count += 1
        least = kth_largest(free, count, wanted) if wanted < count else 0.0
        at_least = wanted
        for j in range(count):
            at_least -= rank[j] > least
        for j in range(count):
            if rank[j] < least or (rank[j] == least and at_least == 0):
                continue
            at_least -= rank[j] == least
            e = edge[j]
            held[e] = 1
            item_left[i] -= 1
            user_left[user[e]] -= 1
            if group.size > 0 and group[e] >= 0:
                group_left[group[e]] -= 1
