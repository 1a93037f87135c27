"""Numba kernels of a warm start: places that it opened at users with a price are filled by swaps."""

from typing import Any

import numba as nb
import numpy as np

from .block_state import Rows, State
from .intrinsics import score_of

KERNEL: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}
"""As in the block auction."""


@nb.njit(**KERNEL)
def best_swap(
    rows: Rows, state: State, open_user: np.ndarray, items: np.ndarray, ends: Any, swaps: tuple[np.ndarray, ...]
) -> None:
    """The best swap of each of items[ends[0] : ends[1]]: an open user for its least match with a user who costs nothing.

    open_user uint8[users]: 1 for a free place at a price. Writes swaps = gain float32, added int64, dropped int64, each
    [items]: the gain in score (0: none), the edge to add, the edge to give up (-1: the item misses a user anyway).
    """
    gain, added, dropped = swaps
    for i in items[ends[0] : ends[1]]:
        begin, count = rows.indptr[i], rows.indptr[i + 1] - rows.indptr[i]
        byte, least, best = (begin >> 3) + i, np.float32(np.inf), np.float32(0.0)
        gain[i], added[i], dropped[i] = 0.0, -1, -1
        if state.load[i] < rows.demand[i]:
            least = np.float32(0.0)
        for a in range(count):
            user, score = rows.user[begin + a], score_of(rows.score[begin + a])
            if (state.held[byte + (a >> 3)] >> (a & 7)) & 1:
                if score < least and state.price[user] == 0.0:
                    least, dropped[i] = score, begin + a
            elif open_user[user] == 1 and score > best:
                best, added[i] = score, begin + a
        if best > least:
            gain[i] = best - least


@nb.njit(**KERNEL)
def leave(state: State, user: int, edge: int) -> None:
    """Takes an edge out of a user's bids."""
    start, last = state.slot_start[user], state.slot_start[user] + state.slot_count[user] - 1
    for at in range(start, last + 1):
        if state.slot[at] & np.uint64(0xFFFFFFFF) == np.uint64(edge):
            state.slot[at] = state.slot[last]
            state.slot_count[user] -= 1
            return


@nb.njit(**KERNEL)
def swap(rows: Rows, state: State, items: np.ndarray, added: np.ndarray, dropped: np.ndarray) -> int:
    """Makes these items' swaps in order, each if its user still has a free place; returns how many. In place: state.

    The user's bids are all at its price then, so that they stand in order.
    """
    done = 0
    for i in items:
        user, begin = rows.user[added[i]], rows.indptr[i]
        start, count = state.slot_start[user], state.slot_count[user]
        if start + count >= state.slot_start[user + 1]:
            continue
        if dropped[i] >= 0:
            place = dropped[i] - begin
            state.held[(begin >> 3) + i + (place >> 3)] &= ~np.uint8(1 << (place & 7))
            leave(state, rows.user[dropped[i]], dropped[i])
        else:
            state.load[i] += 1
        place = added[i] - begin
        state.held[(begin >> 3) + i + (place >> 3)] |= np.uint8(1 << (place & 7))
        state.slot[start + count] = (np.uint64(state.price_bits[user]) << np.uint64(32)) | np.uint64(added[i])
        state.slot_count[user] = count + 1
        done += 1
    return done
