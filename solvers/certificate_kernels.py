"""Numba kernels of the certificate. They share no code with any solver."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def sum_of_largest(values: np.ndarray, count: int, k: int) -> float:
    """Sum of the k largest of values[:count], float64; reorders `values` in place (quickselect, then one sum)."""
    if k >= count:
        return values[:count].sum()
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
    return values[:k].sum()


@nb.njit(cache=True, nogil=True)
def item_profits(
    indptr: np.ndarray, user: np.ndarray, score: np.ndarray, demand: np.ndarray, price: np.ndarray, out: np.ndarray
) -> None:
    """Writes into out[i] (float64[items]) the sum of the demand[i] largest max(0, score - price) of item i's edges."""
    longest = 0
    for i in range(demand.size):
        longest = max(longest, indptr[i + 1] - indptr[i])
    left_over = np.empty(longest, np.float64)
    for i in range(demand.size):
        count = 0
        for e in range(indptr[i], indptr[i + 1]):
            worth = np.float64(score[e]) - price[user[e]]
            if worth > 0.0:
                left_over[count] = worth
                count += 1
        out[i] = sum_of_largest(left_over, count, demand[i]) if demand[i] > 0 else 0.0


@nb.njit(cache=True, nogil=True)
def lowest_place(order: np.ndarray, user: np.ndarray, score: np.ndarray, capacity: np.ndarray, out: np.ndarray) -> None:
    """Writes into out[u] (float64[users], zeros) the capacity[u]-th largest score of user u, 0 if it has fewer edges.

    `order` lists all edges by falling score. A user without places gets its largest score.
    """
    seen = np.zeros(capacity.size, np.int64)
    for at in range(order.size):
        u = user[order[at]]
        seen[u] += 1
        if seen[u] == max(1, capacity[u]):
            out[u] = score[order[at]]
