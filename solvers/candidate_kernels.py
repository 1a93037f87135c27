"""Numba kernels that merge candidate lists and look edges up. Lists stand by item (CSR), users ascending."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def merged_lengths(
    first_ends: np.ndarray, first_user: np.ndarray, second_ends: np.ndarray, second_user: np.ndarray, out: np.ndarray
) -> None:
    """Writes into out int64[items + 1] the row pointers of the union of two lists: *_ends int64[items + 1]."""
    out[0] = 0
    for i in range(out.size - 1):
        a, b = first_ends[i], second_ends[i]
        length = 0
        while a < first_ends[i + 1] or b < second_ends[i + 1]:
            from_first = b == second_ends[i + 1] or (a < first_ends[i + 1] and first_user[a] <= second_user[b])
            if from_first and b < second_ends[i + 1] and first_user[a] == second_user[b]:
                b += 1
            a += from_first
            b += not from_first
            length += 1
        out[i + 1] = out[i] + length


@nb.njit(cache=True, nogil=True)
def merge_rows(
    first: tuple[np.ndarray, ...], second: tuple[np.ndarray, ...], ends: np.ndarray, out: tuple[np.ndarray, ...]
) -> None:
    """Writes the union of two lists; a pair in both is taken from the first.

    first, second  indptr int64[items + 1], user int32, score float32, found int16
    ends, out      indptr from `merged_lengths`; user, score, found of the union
    """
    first_ends, first_user, first_score, first_found = first
    second_ends, second_user, second_score, second_found = second
    user, score, found = out
    for i in range(ends.size - 1):
        a, b = first_ends[i], second_ends[i]
        for at in range(ends[i], ends[i + 1]):
            if b == second_ends[i + 1] or (a < first_ends[i + 1] and first_user[a] <= second_user[b]):
                user[at], score[at], found[at] = first_user[a], first_score[a], first_found[a]
                if b < second_ends[i + 1] and second_user[b] == first_user[a]:
                    b += 1
                a += 1
            else:
                user[at], score[at], found[at] = second_user[b], second_score[b], second_found[b]
                b += 1


@nb.njit(cache=True, nogil=True)
def find_edges(indptr: np.ndarray, user: np.ndarray, item: np.ndarray, wanted: np.ndarray, out: np.ndarray) -> None:
    """Writes into out int64[n] the edge of each pair (item[j], wanted[j]), -1 where there is none (binary search)."""
    for j in range(item.size):
        low, high = indptr[item[j]], indptr[item[j] + 1]
        while low < high:
            middle = (low + high) // 2
            if user[middle] < wanted[j]:
                low = middle + 1
            else:
                high = middle
        there = low < indptr[item[j] + 1] and user[low] == wanted[j]
        out[j] = low if there else -1


@nb.njit(cache=True, nogil=True)
def may_enter(
    lists: tuple[np.ndarray, ...], price: np.ndarray, demand: np.ndarray, room: float, keep: np.ndarray
) -> None:
    """Sets keep[e] (bool[edges]) to False where the item's demand-th largest max(0, net) is more than `room` above net[e].

    lists: indptr int64[items + 1], user int32, score float32; price float64[users]; demand int64[items]. An item that
    wants nobody keeps nobody. Sorts each row once.
    """
    indptr, user, score = lists
    for i in range(indptr.size - 1):
        begin, count = indptr[i], indptr[i + 1] - indptr[i]
        net = np.empty(count, np.float64)
        for a in range(count):
            net[a] = np.float64(score[begin + a]) - price[user[begin + a]]
        ordered, least = np.sort(net), 0.0
        if 0 < demand[i] <= count:
            least = max(0.0, ordered[count - demand[i]])
        for a in range(count):
            keep[begin + a] = demand[i] > 0 and least - net[a] <= room
