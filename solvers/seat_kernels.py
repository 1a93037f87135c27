"""Numba kernels of a warm start: items keep what is right of an earlier answer."""

from typing import Any

import numba as nb
import numpy as np

from .block_state import Bids, Rows, Scratch, State
from .intrinsics import score_of

KERNEL: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}
"""As in the block auction, whose file has the originals of the first three kernels here."""


@nb.njit(**KERNEL)
def count_above(values: np.ndarray, count: int, limit: np.float32) -> int:
    """How many of values[:count] are above the limit."""
    found: Any = nb.int32(0)
    for j in range(count):
        found = nb.int32(found + nb.int32(values[j] > limit))
    return nb.int64(found)


@nb.njit(**KERNEL)
def highest(values: np.ndarray, count: int, most: np.float32) -> np.float32:
    """The largest of values[:count] that is at most `most` >= 0; 0 if none is above 0."""
    bits = values.view(np.int32)  # floats >= 0 order as their bits do, and those below 0 are below 0 as integers too
    top: Any = nb.int32(0)
    limit = np.float32(most).view(np.int32)
    for j in range(count):
        top = max(top, bits[j] if bits[j] <= limit else nb.int32(0))
    return np.uint32(top).view(np.float32)


@nb.njit(**KERNEL)
def next_best(values: np.ndarray, count: int, low: np.float32, at_least: int, k: int) -> np.float32:
    """The (k + 1)-th largest of values[:count], which stay in order; `at_least` > k >= 0 of them are above low >= 0.

    By counting, which is many times cheaper than moving: interpolation, and halving of the range of the bits in turns, so
    that it ends after at most 62 counts whatever the values are.
    """
    high, above = highest(values, count, np.float32(np.inf)), 0
    for turn in range(62):
        low_bits, high_bits = np.float32(low).view(np.uint32), np.float32(high).view(np.uint32)
        if high_bits - low_bits <= 1:
            break
        middle = np.float32(low + (high - low) * np.float32((at_least - k) / (at_least - above)))
        if turn % 2 == 1 or not low < middle < high:
            middle = np.uint32(low_bits + (high_bits - low_bits) // np.uint32(2)).view(np.float32)
        larger = count_above(values, count, middle)
        if larger == k:
            return highest(values, count, middle)
        if larger > k:
            low, at_least = middle, larger
        else:
            high, above = middle, larger
    return high


MOST_EXCHANGES = 16
"""Matches that an item gives up one by one; where more are wrong it keeps only what is among its best."""


@nb.njit(**KERNEL)
def smallest_above(values: np.ndarray, count: int, limit: np.float32) -> np.float32:
    """The smallest of values[:count] above the limit; infinite if there is none."""
    least = np.float32(np.inf)
    for j in range(count):
        least = min(least, values[j] if values[j] > limit else np.float32(np.inf))
    return least


@nb.njit(**KERNEL)
def give_up(
    others: np.ndarray, count: int, mine: np.ndarray, held: int, wanted: int, slack: np.float32
) -> tuple[np.float32, np.float32]:
    """The net value up to which an item gives matches up, and what is then the best that it does not want, 0 if nothing.

    mine[:held]: net values of its matches; others[:count]: of its other edges, spoiled. The best of the others take the
    free places of `wanted`, the next best those of matches worth `slack` less; of matches worth the same all go.
    A limit that is not a number: more than MOST_EXCHANGES are better.
    """
    limit, free = np.float32(-np.inf), wanted - held
    for _ in range(MOST_EXCHANGES):
        top = highest(others, count, np.float32(np.inf))
        low = smallest_above(mine, held, limit)
        if top == 0.0 or (free <= 0 and top <= low + slack):
            return limit, max(top, limit, np.float32(0.0))
        if free <= 0:
            limit = low
        free -= 1
        at = 0
        while others[at] != top:
            at += 1
        others[at] = 0.0
    return np.float32(np.nan), np.float32(0.0)


@nb.njit(**KERNEL)
def take_out_held(state: State, byte: int, count: int, own: Scratch, slack: np.float32) -> int:
    """Moves the matches among own.net[:count] to own.copy and own.place, in order; returns how many.

    Their bits begin at state.held[byte] and go where a match is worth less than -slack. In own.net they become 0.
    """
    held: Any = nb.int64(0)
    for b in range((count + 7) >> 3):
        if state.held[byte + b] == 0:
            continue
        for a in range(8 * b, min(8 * b + 8, count)):
            if not (state.held[byte + b] >> (a & 7)) & 1:
                continue
            own.copy[held], own.place[held] = own.net[a], a
            if own.net[a] >= -slack:
                held += 1
            else:
                state.held[byte + b] &= ~np.uint8(1 << (a & 7))
            own.net[a] = 0.0
    return held


@nb.njit(**KERNEL)
def net_scores(rows: Rows, state: State, i: int, net: np.ndarray) -> int:
    """Writes score - price of item i's edges into net; returns how many there are."""
    first, count = rows.indptr[i], rows.indptr[i + 1] - rows.indptr[i]
    user, score, price = rows.user[first : first + count], rows.score[first : first + count], state.price
    for a in range(count):
        net[a] = score_of(score[a]) - price[user[a]]
    return count


@nb.njit(**KERNEL)
def best_left_out(net: np.ndarray, count: int, wanted: int) -> np.float32:
    """The (wanted + 1)-th largest of net[:count], 0 if that is not above 0."""
    positive = count_above(net, count, np.float32(0.0))
    return next_best(net, count, np.float32(0.0), positive, wanted) if positive > wanted else np.float32(0.0)


@nb.njit(**KERNEL)
def seat(  # noqa: PLR0917
    rows: Rows, state: State, bids: Bids, slack: np.float32, part: int, ends: Any, own: Scratch
) -> int:
    """Bids of the block's items ends[0] to ends[1] for edges marked in `held`, as made by part `part`; returns how many.

    An item gives up what is worth `slack` less to it, at the users' prices, than something that it could have in its
    place, and bids for the rest up to where the best that it does not want is as good, but no less than the price. The
    marks of what it gives up go; load counts what it keeps.
    """
    made = bids.start[ends[0]]
    cut = bids.cut[part]
    cut[:] = 0
    for j in range(ends[0], ends[1]):
        i = bids.item[j]
        first, wanted, count = rows.indptr[i], nb.int64(rows.demand[i]), net_scores(rows, state, i, own.net)
        byte = (first >> 3) + i
        held = take_out_held(state, byte, count, own, slack)
        limit, least = give_up(own.net, count, own.copy, held, wanted, slack)
        if np.isnan(limit):
            limit = least = best_left_out(own.net, net_scores(rows, state, i, own.net), wanted)
        for k in range(held):
            a = own.place[k]
            if own.copy[k] <= limit:
                state.held[byte + (a >> 3)] &= ~np.uint8(1 << (a & 7))
                continue
            user = rows.user[first + a]
            bids.made_user[made], bids.made_edge[made] = user, first + a
            bids.made_bid[made] = max(state.price[user], score_of(rows.score[first + a]) - least)
            bids.made_dear[made] = bids.made_bid[made]
            cut[state.shard_of[user >> 6] + 1] += 1
            state.load[i] += 1
            made += 1
    return made - bids.start[ends[0]]
