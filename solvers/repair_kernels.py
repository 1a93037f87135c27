"""Numba kernels of a warm start: keep what is right of an earlier answer, then fill the places that this opens."""

from typing import Any

import numba as nb
import numpy as np

from .block_state import Bids, Rows, Scratch, State
from .intrinsics import score_of


@nb.njit(cache=True, nogil=True)
def quickselect(values: np.ndarray, count: int, k: int) -> Any:
    """The k-th largest (k from 1) of values[:count]; reorders them in place."""
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
def seat(  # noqa: PLR0917
    rows: Rows, state: State, bids: Bids, slack: np.float32, part: int, ends: Any, own: Scratch
) -> int:
    """Bids of the block's items ends[0] to ends[1] for edges marked in `held`, as made by part `part`; returns how many.

    An item keeps what is worth at most `slack` less to it, at the users' prices, than the best it does not want, and
    bids up to there but no less than the price. The marks of the others go; load counts those kept.
    """
    made = bids.start[ends[0]]
    cut = bids.cut[part]
    cut[:] = 0
    for j in range(ends[0], ends[1]):
        i = bids.item[j]
        first, count, wanted = rows.indptr[i], rows.indptr[i + 1] - rows.indptr[i], nb.int64(rows.demand[i])
        for a in range(count):
            own.net[a] = score_of(rows.score[first + a]) - state.price[rows.user[first + a]]
            own.copy[a] = own.net[a]
        least = np.float32(0.0)
        if count > wanted:
            least = max(least, quickselect(own.copy, count, wanted + 1))
        byte = (first >> 3) + i
        for a in range(count):
            bit = np.uint8(1 << (a & 7))
            if not state.held[byte + (a >> 3)] & bit:
                continue
            if own.net[a] < least - slack:
                state.held[byte + (a >> 3)] &= ~bit
                continue
            user = rows.user[first + a]
            bids.made_user[made], bids.made_edge[made] = user, first + a
            bids.made_bid[made] = max(state.price[user], score_of(rows.score[first + a]) - least)
            bids.made_dear[made] = bids.made_bid[made]
            cut[state.shard_of[user >> 6] + 1] += 1
            state.load[i] += 1
            made += 1
    return made - bids.start[ends[0]]


@nb.njit(cache=True, nogil=True)
def best_swap(
    rows: Rows, state: State, open_user: np.ndarray, first: int, last: int, swaps: tuple[np.ndarray, ...]
) -> None:
    """The best swap of each item first to last: an open user for its least match with a user who costs nothing.

    open_user uint8[users]: 1 for a free place at a price. Writes swaps = gain float32, added int64, dropped int64, each
    [items]: the gain in score (0: none), the edge to add, the edge to give up (-1: the item misses a user anyway).
    """
    gain, added, dropped = swaps
    for i in range(first, last):
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


@nb.njit(cache=True, nogil=True)
def leave(state: State, user: int, edge: int) -> None:
    """Takes an edge out of a user's bids."""
    start, last = state.slot_start[user], state.slot_start[user] + state.slot_count[user] - 1
    for at in range(start, last + 1):
        if state.slot[at] & np.uint64(0xFFFFFFFF) == np.uint64(edge):
            state.slot[at] = state.slot[last]
            state.slot_count[user] -= 1
            return


@nb.njit(cache=True, nogil=True)
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
