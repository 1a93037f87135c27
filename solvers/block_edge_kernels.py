"""Numba kernels over the edges of the block auction, before it begins and when it has ended."""

from typing import Any

import numba as nb
import numpy as np

from .block_state import Rows


@nb.njit(cache=True, nogil=True)
def count_users(user: np.ndarray, first: int, last: int, out: np.ndarray) -> None:
    """Adds to out (int32[users]) how often each user is among user[first:last]."""
    for e in range(first, last):
        out[user[e]] += 1


@nb.njit(cache=True, nogil=True)
def held_edges(rows: Rows, held: np.ndarray, first: int, last: int, out: np.ndarray) -> None:
    """Writes the edges that items first to last hold into out (int64[load of these items]), ascending.

    A byte of bits at a time: eight are written whether held or not, each where the held ones before it end.
    """
    at: Any = nb.int64(0)
    for i in range(first, last):
        begin, count = rows.indptr[i], rows.indptr[i + 1] - rows.indptr[i]
        byte = (begin >> 3) + i
        whole = count >> 3
        for b in range(whole):
            bits, edge = nb.int64(held[byte + b]), begin + 8 * b
            if at + 8 > out.size:
                whole = b
                break
            for j in range(8):
                out[at] = edge + j
                at += (bits >> j) & 1
        for a in range(8 * whole, count):
            if (held[byte + (a >> 3)] >> (a & 7)) & 1:
                out[at] = begin + a
                at += 1


@nb.njit(cache=True, nogil=True)
def fill_free(rows: Rows, load: np.ndarray, free: np.ndarray, held: np.ndarray) -> None:
    """Gives items that miss users, in row order, their best with a free place (ties by row).

    In place: load int32[items], free int32[users] (places left) and held uint8, as in State. Scores of 0 are not taken.
    """
    longest = 0
    for i in range(load.size):
        longest = max(longest, rows.indptr[i + 1] - rows.indptr[i])
    place, score = np.empty(longest + 1, np.int64), np.empty(longest + 1, rows.score.dtype)
    for i in range(load.size):
        missing, begin, count = rows.demand[i] - load[i], rows.indptr[i], 0
        for a in range(rows.indptr[i + 1] - begin if missing > 0 else 0):
            place[count], score[count] = a, rows.score[begin + a]
            count += nb.int64((free[rows.user[begin + a]] > 0) & (score[count] > 0))
        byte = (begin >> 3) + i
        for _ in range(count):
            if load[i] == rows.demand[i]:
                break
            best = 0
            for j in range(1, count):
                best = j if score[j] > score[best] else best
            a, user = place[best], rows.user[begin + place[best]]
            score[best] = 0
            bit = np.uint8(1 << (a & 7))
            if free[user] > 0 and not held[byte + (a >> 3)] & bit:  # a joined row has users twice
                held[byte + (a >> 3)] |= bit
                free[user] -= 1
                load[i] += 1


@nb.njit(cache=True, nogil=True)
def mark_held(rows: Rows, chosen: np.ndarray, first: int, last: int, held: np.ndarray) -> None:
    """Sets the bits of `chosen` (int64[matches], ascending) that items first to last own in held (as in State)."""
    at = np.searchsorted(chosen, rows.indptr[first])
    for i in range(first, last):
        begin = rows.indptr[i]
        while at < chosen.size and chosen[at] < rows.indptr[i + 1]:
            place = chosen[at] - begin
            held[(begin >> 3) + i + (place >> 3)] |= np.uint8(1 << (place & 7))
            at += 1
