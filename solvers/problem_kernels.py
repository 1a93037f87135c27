"""Numba kernels that make and check problems: one pass over the edges each."""

from typing import Any

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def first_wrong_item(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray], users: int, most: int, first: int, last: int
) -> int:
    """The first item first <= i < last with an edge whose user or score is wrong, or -1.

    rows: indptr int64[items + 1]; user int32 or int64[edges], right where they rise from at least 0 to below `users`;
    the scores' bits, uint32 (float32) or uint16 (float16)[edges], right where at most `most`, those of the largest
    finite number: infinities, NaN and all with a sign have higher ones.
    """
    for i in range(first, last):
        user, bits = rows[1][rows[0][i] : rows[0][i + 1]], rows[2][rows[0][i] : rows[0][i + 1]]
        wrong: Any = nb.uint32(user.size > 0 and (user[0] < 0 or user[user.size - 1] >= users))
        for j in range(user.size):
            wrong |= nb.uint32(bits[j] > most)
        for j in range(user.size - 1):
            wrong |= nb.uint32(user[j + 1] <= user[j])
        if wrong:
            return i
    return -1


@nb.njit(cache=True, nogil=True)
def drop_pairs(
    indptr: np.ndarray, user: np.ndarray, pair_item: np.ndarray, pair_user: np.ndarray, keep: np.ndarray
) -> None:
    """Sets keep[e] (bool[edges]) to False for the edges of the given (item row, user row) pairs, those that exist.

    indptr int64[items + 1], user int32[edges] ascending inside an item; the pairs int64[n], any order.
    """
    for at in range(pair_item.size):
        low, end = indptr[pair_item[at]], indptr[pair_item[at] + 1]
        high = end
        while low < high:
            middle = (low + high) // 2
            if user[middle] < pair_user[at]:
                low = middle + 1
            else:
                high = middle
        if low < end and user[low] == pair_user[at]:
            keep[low] = False


@nb.njit(cache=True, nogil=True)
def number_groups(
    rows: tuple[np.ndarray, np.ndarray],
    by_creator: tuple[np.ndarray, np.ndarray],
    cap: np.ndarray,
    capacity: np.ndarray,
    group: np.ndarray,
    limit: np.ndarray,
) -> int:
    """Numbers the (user, creator) pairs whose limit could bind, in order of creator, then edge; returns how many.

    rows: indptr int64[items + 1] and user int32[edges]. by_creator: start int64[creators + 1] and item rows int64, the
    items of each creator. cap int64[creators], most items of the creator for one user. A pair counts if it has more
    edges than its cap, and the user more places. Writes each edge's number into `group` (int32[edges], filled with -1
    before) and caps into `limit` (int32[groups]); both of size 0: only counts.
    """
    (indptr, user), (start, item) = rows, by_creator
    seen, number = np.zeros(capacity.size, np.int32), np.full(capacity.size, -1, np.int32)
    found = 0
    for c in range(start.size - 1):
        if start[c + 1] - start[c] <= cap[c]:
            continue
        for at in range(start[c], start[c + 1]):
            for e in range(indptr[item[at]], indptr[item[at] + 1]):
                seen[user[e]] += 1
        for at in range(start[c], start[c + 1]):
            for e in range(indptr[item[at]], indptr[item[at] + 1]):
                u = user[e]
                if seen[u] <= cap[c] or capacity[u] <= cap[c]:
                    continue
                if number[u] < 0:
                    number[u] = found
                    if limit.size > 0:
                        limit[found] = cap[c]
                    found += 1
                if group.size > 0:
                    group[e] = number[u]
        for at in range(start[c], start[c + 1]):
            for e in range(indptr[item[at]], indptr[item[at] + 1]):
                seen[user[e]], number[user[e]] = 0, -1
    return found


@nb.njit(cache=True, nogil=True)
def sort_rows(indptr: np.ndarray, user: np.ndarray, score: np.ndarray, first: int, last: int) -> int:
    """Orders the edges of items first <= i < last by user inside each item; `user` and `score` change in place.

    indptr int64[items + 1], user int32[edges] >= 0, score[edges] of any number type numba knows. Returns the first
    item that has a user twice, or -1. Scratch: 16 bytes an edge of the longest row.
    """
    twice = -1
    for i in range(first, last):
        users, scores = user[indptr[i] : indptr[i + 1]], score[indptr[i] : indptr[i + 1]]
        rises: Any = nb.uint32(1)
        for j in range(users.size - 1):
            rises &= nb.uint32(users[j + 1] > users[j])
        if rises:
            continue
        key = np.empty(users.size, np.int64)
        for j in range(users.size):
            key[j] = (np.int64(users[j]) << 32) | j
        key.sort()
        before = scores.copy()
        for j in range(users.size):
            users[j], scores[j] = key[j] >> 32, before[key[j] & 0xFFFFFFFF]
            if twice < 0 and j > 0 and users[j] == users[j - 1]:
                twice = i
    return twice


@nb.njit(cache=True, nogil=True)
def place_rows(
    edges: tuple[np.ndarray, np.ndarray, np.ndarray],
    cursor: np.ndarray,
    end: np.ndarray,
    out_user: np.ndarray,
    out_score: np.ndarray,
) -> bool:
    """Writes each edge of a batch to its item's next place, cursor[item] (int64[items]), which moves on towards `end`.

    edges: item rows int64[n], user rows int64[n], scores[n]; out_user int32[edges] and out_score of the scores' type.
    Returns whether there was a place for each; it ends at the first edge without.
    """
    item, user, score = edges
    for e in range(item.size):
        at = cursor[item[e]]
        if at >= end[item[e]]:
            return False
        out_user[at], out_score[at] = user[e], score[e]
        cursor[item[e]] = at + 1
    return True
