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
def take_by_item(
    indptr: np.ndarray,
    user: np.ndarray,
    score: np.ndarray,
    item_left: np.ndarray,
    user_left: np.ndarray,
    held: np.ndarray,
) -> None:
    """Each item in row order takes its best edges among users with places left, ties by user row; no scores of 0.

    indptr int64[items + 1], user int32[edges], score float32[edges]; in place: item_left int64[items], user_left
    int64[users] (places left) and held uint8[edges] (edges held before are kept, new ones set to 1).
    """
    longest = 0
    for i in range(item_left.size):
        longest = max(longest, indptr[i + 1] - indptr[i])
    free = np.empty(longest, np.float32)
    for i in range(item_left.size):
        wanted = item_left[i]
        if wanted <= 0:
            continue
        count = 0
        for e in range(indptr[i], indptr[i + 1]):
            if held[e] == 0 and score[e] > 0.0 and user_left[user[e]] > 0:
                free[count] = score[e]
                count += 1
        least = kth_largest(free, count, wanted) if wanted < count else np.float32(0.0)
        at_least = wanted
        for j in range(min(count, wanted)):
            at_least -= free[j] > least
        for e in range(indptr[i], indptr[i + 1]):
            if held[e] == 1 or score[e] <= 0.0 or user_left[user[e]] <= 0 or score[e] < least:
                continue
            if score[e] == least:
                if at_least == 0:
                    continue
                at_least -= 1
            held[e] = 1
            user_left[user[e]] -= 1
            item_left[i] -= 1
