"""Numba kernels over the edges of the block auction, before it begins and when it has ended."""

import numba as nb
import numpy as np

from .block_state import Rows, State


@nb.njit(cache=True, nogil=True)
def count_users(user: np.ndarray, first: int, last: int, out: np.ndarray) -> None:
    """Adds to out (int32[users]) how often each user is among user[first:last]."""
    for e in range(first, last):
        out[user[e]] += 1


@nb.njit(cache=True, nogil=True)
def held_edges(rows: Rows, state: State, first: int, last: int, out: np.ndarray) -> None:
    """Writes the edges that items first to last hold into out (int64[load of these items]), ascending."""
    at = 0
    for i in range(first, last):
        begin = rows.indptr[i]
        byte = (begin >> 3) + i
        for a in range(rows.indptr[i + 1] - begin):
            if (state.held[byte + (a >> 3)] >> (a & 7)) & 1:
                out[at] = begin + a
                at += 1


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
