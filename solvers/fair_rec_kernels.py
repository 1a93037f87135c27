"""Numba kernels of FairRec: each user's edges from best to worst, and users who take items in turn."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def rank_rows(indptr: np.ndarray, score_bits: np.ndarray, order: np.ndarray, length: np.ndarray) -> None:
    """Writes each user's edges with scores above 0 into order, falling, ties as they stand; how many into length.

    indptr int64[users + 1], score_bits uint32[edges] (of float32 scores >= 0, which rise as their bits do), out: order
    int32[edges], positions inside the user's row, and length int64[users]. One pass, 12 bytes an edge, and a sort of each
    row in 8 bytes an edge of the longest.
    """
    longest = 0
    for u in range(length.size):
        longest = max(longest, indptr[u + 1] - indptr[u])
    key = np.empty(longest, np.uint64)
    for u in range(length.size):
        first, count = indptr[u], 0
        for j in range(indptr[u + 1] - first):
            bits = np.uint64(score_bits[first + j])
            if bits > np.uint64(0):
                key[count] = (np.uint64(0xFFFFFFFF) - bits) << np.uint64(32) | np.uint64(j)
                count += 1
        key[:count].sort()
        for j in range(count):
            order[first + j] = np.int32(key[j] & np.uint64(0x7FFFFFFF))
        length[u] = count


@nb.njit(cache=True, nogil=True)
def take_in_turn(  # noqa: PLR0917
    arrival: np.ndarray,
    indptr: np.ndarray,
    order: np.ndarray,
    length: np.ndarray,
    item: np.ndarray,
    group: np.ndarray,
    copies: np.ndarray,
    user_left: np.ndarray,
    group_left: np.ndarray,
    held: np.ndarray,
) -> None:
    """Round after round, each user takes its best edge that it does not hold and whose item has a copy left.

    arrival int64[users] (the order inside a round), indptr int64[users + 1], order and length as of `rank_rows`, item
    int32[edges] and group int32[edges] (-1: none; size 0: no groups) by user; in place: copies int64[items], user_left
    int64[users], group_left int64[groups] (places left) and held uint8[edges], by user. Ends when nobody can take any
    more. What a user passes over is gone for good, so each edge is read once: 9 bytes, the item's copies at random.
    """
    at, active, count = np.zeros(length.size, np.int64), arrival.copy(), arrival.size
    while count > 0:
        staying = 0
        for k in range(count):
            u = active[k]
            first, took = indptr[u], False
            while user_left[u] > 0 and at[u] < length[u] and not took:
                e = first + order[first + at[u]]
                i, g = item[e], group[e] if group.size > 0 else -1
                at[u] += 1
                if held[e] == 1 or copies[i] <= 0 or (g >= 0 and group_left[g] <= 0):
                    continue
                held[e], took = 1, True
                copies[i] -= 1
                user_left[u] -= 1
                if g >= 0:
                    group_left[g] -= 1
            if took:
                active[staying] = u
                staying += 1
        count = staying
