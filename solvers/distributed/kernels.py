"""Numba kernels of the distributed auction: what the users of a shard keep, and what their answers change for items.

A bid is four numbers, as in `block_kernels`: user, key, the bits of the bid on a free place and of the one that displaces
another. The key is the item and, in the bits that are left of 32, the place in its row, as exactly as they can tell it. A
held bid is one uint64, bits of the bid and then the key: a user has one edge with an item, so that ties go as they do by
edge, and keys ascend as items and users do.
"""

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from ..block_kernels import AHEAD, KEEP, KERNEL, make_heap, sift_down
from ..block_state import Rows, State
from ..intrinsics import read_ahead, score_of


class Keys(NamedTuple):
    """How keys are made: key = item << bits | place >> shift."""

    bits: int
    shift: int

    @classmethod
    def for_size(cls, items: int, longest: int) -> "Keys":
        """For so many items, the longest row of which has so many edges."""
        place = max(0, longest - 1).bit_length()
        bits = min(place, 32 - max(0, items - 1).bit_length())
        return cls(bits, place - bits)


class Places(NamedTuple):
    """What the users of a shard hold; users are counted from the shard's first.

    slot_start int64[users + 1], fixed; slot_count int32[users]; slot uint64[places], a min-heap where all places are taken;
    price_bits uint32[users]: the lowest bid held once they are, 0 before; told uint8[users]: changed in this round.
    """

    slot_start: np.ndarray
    slot_count: np.ndarray
    slot: np.ndarray
    price_bits: np.ndarray
    told: np.ndarray


@nb.njit(**KERNEL)
def take_bids(  # noqa: PLR0917
    places: Places,
    first: int,
    user: np.ndarray,
    key: np.ndarray,
    bid: np.ndarray,
    dear: np.ndarray,
    lost: np.ndarray,
    changed: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Users keep their best bids, in the order they come. All arrays of bids are uint32[bids]; `first`: user of row 0.

    Adds to lost (uint64) key << 32 | user of every bid that lost or was displaced, and to changed (uint32) the users whose
    price changed or who have no place left; counts int64[2]: how many of each there are.
    """
    up, losses, changes, last = np.uint64(32), counts[0], counts[1], user.size - 1
    for k in range(user.size):
        far, near = user[min(k + 2 * AHEAD, last)] - first, user[min(k + AHEAD, last)] - first
        read_ahead(places.slot_count, far)
        read_ahead(places.slot_start, far)
        read_ahead(places.slot, places.slot_start[near])
        row = nb.int64(user[k]) - first
        count, start, end = places.slot_count[row], places.slot_start[row], places.slot_start[row + 1]
        before = places.price_bits[row]
        if count < end - start:
            places.slot[start + count] = (np.uint64(bid[k]) << up) | np.uint64(key[k])
            places.slot_count[row] = count + 1
            if count + 1 < end - start:
                continue
            make_heap(places.slot[start:end])
        elif dear[k] > before:
            low = places.slot[start] & np.uint64(0xFFFFFFFF)
            lost[losses] = (low << up) | np.uint64(user[k])
            losses += 1
            sift_down(places.slot[start:end], 0, (np.uint64(dear[k]) << up) | np.uint64(key[k]))
        else:
            lost[losses] = (np.uint64(key[k]) << up) | np.uint64(user[k])
            losses += 1
            continue
        places.price_bits[row] = np.uint32(places.slot[start] >> up)
        if places.told[row] == 0:
            places.told[row] = 1
            changed[changes] = user[k]
            changes += 1
    counts[0], counts[1] = losses, changes


@nb.njit(**KERNEL)
def place_of(user: np.ndarray, first: int, last: int, wanted: Any) -> int:
    """Where in user[first:last], ascending, `wanted` stands; without branches, half of which would be guessed wrong."""
    low, count = first, last - first
    while count > 1:
        half = count >> 1
        low += half * nb.int64(user[low + half] <= wanted)
        count -= half
    return low - first


@nb.njit(**KERNEL)
def edge_of(rows: Rows, keys: Keys, first: int, key: Any, user: Any) -> tuple[int, int]:
    """The item (row of this part, whose row 0 is item `first`) and the place in its row of a user's edge."""
    i, coarse = nb.int64(key >> nb.uint32(keys.bits)) - first, nb.int64(key & nb.uint32((1 << keys.bits) - 1))
    begin, low = rows.indptr[i], coarse << keys.shift
    end = min(rows.indptr[i + 1], begin + low + (1 << keys.shift))
    return i, low + place_of(rows.user, begin + low, end, user)


@nb.njit(**KERNEL)
def give_back(rows: Rows, state: State, keys: Keys, first: int, lost: np.ndarray) -> None:
    """Takes edges away from the items that lost them: lost uint64[losses] as in `take_bids`; `first`: item of row 0."""
    up, last = np.uint64(32), lost.size - 1
    for k in range(lost.size):
        far = nb.uint32(lost[min(k + AHEAD, last)] >> up)
        ahead = nb.int64(far >> nb.uint32(keys.bits)) - first
        place = nb.int64(far & nb.uint32((1 << keys.bits) - 1)) << keys.shift
        read_ahead(rows.score, rows.indptr[ahead] + place)
        read_ahead(state.held, (rows.indptr[ahead] >> 3) + ahead + (place >> 3))
        if state.short_rest[ahead] < np.inf:
            read_ahead(state.short[ahead], 3 * state.short_count[ahead])
        user = np.uint32(lost[k] & np.uint64(0xFFFFFFFF))
        i, place = edge_of(rows, keys, first, nb.uint32(lost[k] >> up), user)
        state.load[i] -= 1
        state.held[(rows.indptr[i] >> 3) + i + (place >> 3)] &= ~np.uint8(1 << (place & 7))
        if state.short_rest[i] < np.inf:
            at = state.short_count[i]
            if at < KEEP:
                state.short[i, 3 * at], state.short[i, 3 * at + 1] = place, user
                state.short_score[i, 3 * at + 2] = score_of(rows.score[rows.indptr[i] + place])
                state.short_count[i] = at + 1
            else:
                state.short_rest[i] = np.inf


@nb.njit(**KERNEL)
def hold_again(rows: Rows, state: State, keys: Keys, first: int, user: np.ndarray, key: np.ndarray) -> None:
    """Marks the edges of bids that were made elsewhere (uint32[bids]) as held; `first`: item of row 0.

    A short list may hold some of these edges, so it is given up.
    """
    for k in range(user.size):
        i, place = edge_of(rows, keys, first, key[k], user[k])
        state.load[i] += 1
        state.short_rest[i] = np.inf
        state.held[(rows.indptr[i] >> 3) + i + (place >> 3)] |= np.uint8(1 << (place & 7))


@nb.njit(**KERNEL)
def keys_of(  # noqa: PLR0917
    indptr: np.ndarray, edge: np.ndarray, cut: np.ndarray, items: np.ndarray, keys: Keys, first: int, out: np.ndarray
) -> None:
    """Writes the key of each edge (uint32[n]) into out (uint32[n]); `first`: item of row 0.

    items: those whose edges they are, ascending (int32); cut: edges ascend from each cut[k] to cut[k + 1] (int64), as
    `sort_by_shard` leaves them, so that items are walked through once a shard.
    """
    for k in range(cut.size - 1):
        at, last = 0, items.size - 1
        for e in range(cut[k], cut[k + 1]):
            while at < last and indptr[items[at + 1]] <= edge[e]:
                at += 1
            place = (edge[e] - indptr[items[at]]) >> keys.shift
            out[e] = ((first + items[at]) << keys.bits) | place
