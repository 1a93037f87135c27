"""Numba kernels of the block auction: many items bid at once at the same prices, then users keep their best bids.

Three phases a block, each cut over threads in a way that cannot change the result: `make_bids` by ranges of the block's
items, `keep_best` by shards of users (every user's bids in the items' order), `settle` by items. Prices and
bids are float32 >= 0; such numbers order as their bits do, so a held bid is one uint64: bits of the bid, then the edge.
A score array is float32, or the bits of float16 as uint16; `score_of` decodes.
"""

from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from .block_state import Bids, Rows, Scratch, State

BLOCK = 8192
"""Room for items that bid at the same prices."""

SHARDS = 16
"""Parts of the users whose bids are handled apart."""

KEEP = 64
"""Longest short list."""

LONG = 128
"""Items with at most so many edges have no short list: they read their row."""

FEW = 16
"""The search for a threshold ends when no more values than this are between its ends."""

PROBES = 16
"""Most probes of that search: values tied or very uneven are left to quickselect."""

SORTED = 64
"""Up to so many places a user's bids are kept sorted, which is quicker than a heap."""


def _float_of_bits(_typing: Any, bits: Any) -> Any:
    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), build


float_of_bits: Any = intrinsic(_float_of_bits)
"""The float32 that has the bits of a uint32."""


def score_of(stored: Any) -> Any:
    """A score as float32 from what is stored: a float32, or the bits of a float16 >= 0 as uint16. For kernels."""
    return stored if isinstance(stored, np.float32) else np.uint16(stored).view(np.float16).astype(np.float32)


@overload(score_of)
def _score_of(stored: Any) -> Any:
    def single(stored: Any) -> Any:
        return stored

    def half(stored: Any) -> Any:
        return float_of_bits(np.uint32(stored) << np.uint32(13)) * np.float32(2.0**112)

    return half if stored == types.uint16 else single


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
def count_above(values: np.ndarray, count: int, limit: np.float32) -> int:
    """How many of values[:count] are above the limit."""
    found: Any = nb.int32(0)
    for j in range(count):
        found = nb.int32(found + nb.int32(values[j] > limit))
    return nb.int64(found)


@nb.njit(cache=True, nogil=True)
def probe(low: np.float32, high: np.float32, share: float, turn: int) -> np.float32:
    """A value between low and high: by interpolation (`share` of the way) and by halving, in turns."""
    return np.float32(low + (high - low) * np.float32(share if turn % 2 == 0 else 0.5))


@nb.njit(cache=True, nogil=True)
def threshold(
    values: np.ndarray, count: int, positive: int, fewest: int, most: int, guess: np.float32
) -> tuple[np.float32, bool]:
    """A limit that `fewest` to `most` of values[:count] are above, and True; False where ties leave none.

    `positive` of the values, more than `most`, are above 0; the search begins at `guess` > 0.
    """
    low, high, at_least = np.float32(0.0), guess, positive
    above = count_above(values, count, high)
    for _ in range(PROBES):
        if above <= most:
            break
        low, high, at_least = high, np.float32(2.0) * high, above
        above = count_above(values, count, high)
    for turn in range(PROBES):
        if fewest <= above <= most:
            return high, True
        middle = probe(low, high, (at_least - 0.5 * (fewest + most)) / max(1, at_least - above), turn)
        larger = count_above(values, count, middle)
        if larger <= most:
            high, above = middle, larger
        else:
            low, at_least = middle, larger
    return high, False


@nb.njit(cache=True, nogil=True)
def kth_largest(values: np.ndarray, count: int, positive: int, k: int, scratch: np.ndarray) -> np.float32:
    """The k-th largest (k from 1) of values[:count], which stay in order; `positive` >= k of them are above 0."""
    low, at_least, high, above = np.float32(0.0), positive, values[0], 0
    for j in range(count):
        high = values[j] if values[j] > high else high
    for turn in range(PROBES):
        if at_least - above <= FEW:
            break
        middle = probe(low, high, (at_least - k) / (at_least - above), turn)
        larger = count_above(values, count, middle)
        if larger >= k:
            low, at_least = middle, larger
        else:
            high, above = middle, larger
    inside = 0
    for j in range(count):
        scratch[inside] = values[j]
        inside += nb.int64((low < values[j]) & (values[j] <= high))
    return quickselect(scratch, inside, k - above)


@nb.njit(cache=True, nogil=True)
def item_of(indptr: np.ndarray, edge: int) -> int:
    """The item whose row holds this edge: where all rows are equally long, or else by binary search."""
    items = indptr.size - 1
    guess = min(items - 1, nb.int64(edge * (items / indptr[items])))
    if indptr[guess] <= edge < indptr[guess + 1]:
        return guess
    low, high = 0, items
    while high - low > 1:
        middle = (low + high) // 2
        if indptr[middle] <= edge:
            low = middle
        else:
            high = middle
    return low


@nb.njit(cache=True, nogil=True)
def sift_down(heap: np.ndarray, at: int, key: np.uint64) -> None:
    """Puts `key` into the min-heap at `at` or below it. In place."""
    while True:
        child = 2 * at + 1
        if child >= heap.size:
            break
        if child + 1 < heap.size and heap[child + 1] < heap[child]:
            child += 1
        if key < heap[child]:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = key


@nb.njit(cache=True, nogil=True)
def put_in_order(bids: np.ndarray) -> None:
    """Sorts a user's bids, or makes a min-heap of many. In place."""
    if bids.size > SORTED:
        for root in range(bids.size // 2 - 1, -1, -1):
            sift_down(bids, root, bids[root])
        return
    for a in range(1, bids.size):
        key, at = bids[a], a
        while at > 0 and bids[at - 1] > key:
            bids[at] = bids[at - 1]
            at -= 1
        bids[at] = key


@nb.njit(cache=True, nogil=True)
def replace_lowest(bids: np.ndarray, key: np.uint64) -> None:
    """Puts `key` in the place of the first of a user's bids, which are in order. In place."""
    if bids.size > SORTED:
        sift_down(bids, 0, key)
        return
    at = 0
    while at + 1 < bids.size and bids[at + 1] < key:
        bids[at] = bids[at + 1]
        at += 1
    bids[at] = key


@nb.njit(cache=True, nogil=True)
def next_block(rows: Rows, state: State, bids: Bids, most: int) -> int:
    """Takes up to `most` items off the queue, as many as there is room for their bids; returns how many."""
    last_rest = state.short_rest[bids.item[0]]
    if 0.0 < last_rest < np.inf:
        bids.guess[0] = last_rest
    ends, count, room = state.ends, 0, 0
    while ends[1] > 0 and count < most:
        i = state.queue[ends[0]]
        missing = rows.demand[i] - state.load[i]
        if room + missing > bids.bid.size:
            break
        ends[0] = ends[0] + 1 if ends[0] + 1 < state.queue.size else 0
        ends[1] -= 1
        state.queued[i] = 0
        if missing <= 0:
            continue
        bids.item[count], bids.start[count] = i, room
        room += missing
        count += 1
    bids.start[count] = room
    return count


@nb.njit(cache=True, nogil=True)
def read_short(state: State, i: int, own: Scratch) -> int:
    """The offers of item i's short list that are worth more than 0, into `own`; returns how many."""
    listed, listed_score, count = state.short[i], state.short_score[i], 0
    for a in range(state.short_count[i]):
        user, score = listed[3 * a + 1], listed_score[3 * a + 2]
        net = score - state.price[user]
        own.net[count], own.score[count] = net, score
        own.place[count], own.user[count] = listed[3 * a], user
        count += nb.int64(net > 0.0)
    return count


@nb.njit(cache=True, nogil=True)
def net_scores(rows: Rows, state: State, i: int, net: np.ndarray) -> None:
    """Writes score - price of item i's edges into net, 0 for those it holds."""
    first, count = rows.indptr[i], rows.indptr[i + 1] - rows.indptr[i]
    user, score, price = rows.user[first : first + count], rows.score[first : first + count], state.price
    for a in range(count):
        net[a] = score_of(score[a]) - price[user[a]]
    if state.load[i] > 0:
        byte = (first >> 3) + i
        held = state.held[byte : byte + ((count + 7) >> 3)]
        for a in range(count):
            if (held[a >> 3] >> (a & 7)) & 1:
                net[a] = np.float32(0.0)


@nb.njit(cache=True, nogil=True)
def read_row(rows: Rows, state: State, i: int, missing: int, guess: np.float32, own: Scratch) -> int:
    """Item i's offers, those above its short list's limit (ties: or at it), into `own`; returns how many.

    Sets that limit, short_rest[i]: 16 to 32 offers more than are missing are above it, or all if they are fewer.
    """
    net_scores(rows, state, i, own.net)
    first, count = rows.indptr[i], rows.indptr[i + 1] - rows.indptr[i]
    limit, ties, listed = np.float32(0.0), False, missing + KEEP // 2
    state.short_rest[i] = np.inf
    if count > LONG:
        positive = count_above(own.net, count, np.float32(0.0))
        if positive > listed:
            limit, found = threshold(own.net, count, positive, missing + KEEP // 4, listed, guess)
            if not found:
                limit, ties = kth_largest(own.net, count, positive, listed + 1, own.copy), True
        state.short_rest[i] = limit
    kept = 0
    for a in range(count):
        net = own.net[a]
        own.net[kept], own.place[kept] = net, a
        kept += nb.int64((net > limit) | (ties & (net == limit)))
    for a in range(kept):
        own.user[a] = rows.user[first + own.place[a]]
        own.score[a] = score_of(rows.score[first + own.place[a]])
    return kept


@nb.njit(cache=True, nogil=True)
def by_place(own: Scratch, count: int) -> None:
    """Sorts the offers by their place in the row (insertion sort: they nearly are)."""
    for a in range(1, count):
        net, score, place, user, at = own.net[a], own.score[a], own.place[a], own.user[a], a
        while at > 0 and own.place[at - 1] > place:
            own.net[at], own.score[at] = own.net[at - 1], own.score[at - 1]
            own.place[at], own.user[at] = own.place[at - 1], own.user[at - 1]
            at -= 1
        own.net[at], own.score[at], own.place[at], own.user[at] = net, score, place, user


@nb.njit(cache=True, nogil=True)
def take_ties(state: State, own: Scratch, count: int, least: np.float32, room: int) -> None:
    """Takes `room` of the offers that are worth exactly `least`: those with a free place first, then in row order."""
    for free in (True, False):
        for a in range(count):
            if room == 0:
                return
            user = own.user[a]
            is_free = state.slot_count[user] < state.slot_start[user + 1] - state.slot_start[user]
            if own.net[a] == least and own.taken[a] == 0 and is_free == free:
                own.taken[a] = 1
                room -= 1


@nb.njit(cache=True, nogil=True)
def keep_short(state: State, i: int, own: Scratch, count: int) -> None:
    """Makes item i's short list of the offers not taken: those above its limit, then some of those at it."""
    listed, listed_score, rest, kept = state.short[i], state.short_score[i], state.short_rest[i], 0
    for above in (True, False):
        for a in range(count):
            if own.taken[a] == 0 and (own.net[a] > rest if above else (own.net[a] == rest and kept < KEEP // 2)):
                listed[3 * kept], listed[3 * kept + 1] = own.place[a], own.user[a]
                listed_score[3 * kept + 2] = own.score[a]
                kept += 1
    state.short_count[i] = kept


@nb.njit(cache=True, nogil=True)
def make_bids(  # noqa: PLR0917
    rows: Rows, state: State, bids: Bids, eps: np.float32, part: int, ends: Any, own: Scratch
) -> int:
    """Bids of the block's items ends[0] to ends[1], as part `part`; returns the edges read.

    An item that misses m users bids on the m of largest net value score - price; each bid leaves it the (m + 1)-th net
    value (or 0), less eps > 0 where a held bid must be displaced, and none exceeds the score. Prices only rise and net
    values only fall, so a short list does as well as the row while its m-th offer is worth at least what the others were.
    """
    read, made = 0, bids.start[ends[0]]
    cut = bids.cut[part]
    cut[:] = 0
    for j in range(ends[0], ends[1]):
        i = bids.item[j]
        missing, first, rest = nb.int64(rows.demand[i] - state.load[i]), rows.indptr[i], state.short_rest[i]
        short, count = rest < np.inf, 0
        if short:
            read += state.short_count[i] + 1
            count = read_short(state, i, own)
            short = rest <= 0.0 or count_above(own.net, count, rest) >= missing
            if not short and count >= missing:
                short = rest <= kth_largest(own.net, count, count, missing, own.copy)
        if not short:
            read += rows.indptr[i + 1] - first + 1
            count = read_row(rows, state, i, missing, bids.guess[0], own)
        least = kth_largest(own.net, count, count, missing + 1, own.copy) if count > missing else np.float32(0.0)
        if short:
            least = max(least, rest)
        above = count_above(own.net, count, least)
        for a in range(count):
            own.taken[a] = own.net[a] > least
        if above < min(missing, count):
            by_place(own, count)
            for a in range(count):
                own.taken[a] = own.net[a] > least
            take_ties(state, own, count, least, min(missing, count) - above)
        byte = (first >> 3) + i
        for a in range(count):
            if own.taken[a] == 1:
                place, user, score = own.place[a], own.user[a], own.score[a]
                bids.made_user[made], bids.made_edge[made] = user, first + place
                bids.made_bid[made], bids.made_dear[made] = score - least, min(score - least + eps, score)
                state.held[byte + (place >> 3)] |= np.uint8(1 << (place & 7))
                state.load[i] += 1
                cut[state.shard_of[user >> 6] + 1] += 1
                made += 1
        if state.short_rest[i] < np.inf:
            keep_short(state, i, own, count)
    sort_by_shard(state, bids, bids.start[ends[0]], made, cut)
    return read


@nb.njit(cache=True, nogil=True)
def sort_by_shard(state: State, bids: Bids, begin: int, end: int, cut: np.ndarray) -> None:
    """Puts the bids made from `begin` to `end` in order of shards, else as they are; cut[s + 1] counts those of shard s."""
    cut[0] = begin
    for s in range(SHARDS):
        cut[s + 1] += cut[s]
    at = cut[:SHARDS].copy()
    for k in range(begin, end):
        user = bids.made_user[k]
        to = at[state.shard_of[user >> 6]]
        at[state.shard_of[user >> 6]] += 1
        bids.user[to], bids.edge[to] = user, bids.made_edge[k]
        bids.bid[to], bids.dear[to] = bids.made_bid_bits[k], bids.made_dear_bits[k]


@nb.njit(cache=True, nogil=True)
def keep_best(rows: Rows, state: State, bids: Bids, turn: int, parts: int) -> None:
    """The users of every `parts`-th shard from `turn` on keep their best bids; writes who lost which edge by each bid."""
    up, price_bits = np.uint64(32), state.price_bits
    for s in range(turn, SHARDS, parts):
        for part in range(bids.cut.shape[0]):
            for k in range(bids.cut[part, s], bids.cut[part, s + 1]):
                user, edge, dear = bids.user[k], bids.edge[k], bids.dear[k]
                count, start, end = state.slot_count[user], state.slot_start[user], state.slot_start[user + 1]
                bids.loser[k] = -1
                if count < end - start:
                    bid = max(bids.bid[k], price_bits[user])
                    state.slot[start + count] = (np.uint64(bid) << up) | np.uint64(edge)
                    state.slot_count[user] = count + 1
                    if count + 1 == end - start:
                        put_in_order(state.slot[start:end])
                        price_bits[user] = np.uint32(state.slot[start] >> up)
                    continue
                lost = edge
                if dear > price_bits[user]:
                    lost = np.uint32(state.slot[start] & np.uint64(0xFFFFFFFF))
                    replace_lowest(state.slot[start:end], (np.uint64(dear) << up) | np.uint64(edge))
                    price_bits[user] = np.uint32(state.slot[start] >> up)
                bids.loser[k], bids.lost[k] = item_of(rows.indptr, nb.int64(lost)), lost


@nb.njit(cache=True, nogil=True)
def settle(rows: Rows, state: State, bids: Bids, turn: int, parts: int, own: Scratch) -> int:
    """Takes lost edges from every `parts`-th 64 items; writes those that do not wait yet into own.items, ascending.

    Returns how many.
    """
    losers = 0
    for s in range(SHARDS):  # in the bids' order, however they were cut into parts
        for part in range(bids.cut.shape[0]):
            for k in range(bids.cut[part, s], bids.cut[part, s + 1]):
                i = bids.loser[k]
                if i < 0 or (parts > 1 and (i >> 6) % parts != turn):
                    continue
                place = nb.int64(bids.lost[k]) - rows.indptr[i]
                state.load[i] -= 1
                state.held[(rows.indptr[i] >> 3) + i + (place >> 3)] &= ~np.uint8(1 << (place & 7))
                if state.short_rest[i] < np.inf:
                    at = state.short_count[i]
                    if at < KEEP:
                        state.short[i, 3 * at], state.short[i, 3 * at + 1] = place, bids.user[k]
                        state.short_score[i, 3 * at + 2] = score_of(rows.score[bids.lost[k]])
                        state.short_count[i] = at + 1
                    else:
                        state.short_rest[i] = np.inf
                if state.queued[i] == 0:
                    state.queued[i] = 1
                    own.items[losers] = i
                    losers += 1
    own.items[:losers].sort()
    return losers


@nb.njit(cache=True, nogil=True)
def enqueue(state: State, items: np.ndarray) -> None:
    """Lets these items (queued[i] = 1 already) wait at the end of the queue."""
    at = (state.ends[0] + state.ends[1]) % max(1, state.queue.size)
    for k in range(items.size):
        state.queue[at] = items[k]
        at = at + 1 if at + 1 < state.queue.size else 0
    state.ends[1] += items.size


@nb.njit(cache=True, nogil=True)
def run_small_blocks(  # noqa: PLR0917
    rows: Rows, state: State, bids: Bids, eps: np.float32, own: Scratch, block: np.ndarray, budget: int
) -> int:
    """Runs blocks on this thread until nobody waits, `budget` edges were read or a block has block[1] items or more.

    block int64[3]: most items of the next block, doubled by each; items worth a call for each phase; most of any block.
    Returns the edges read.
    """
    read = 0
    bids.cut[1:] = 0
    while state.ends[1] > 0 and read < budget and min(state.ends[1], block[0]) < block[1]:
        count = next_block(rows, state, bids, block[0])
        block[0] = min(2 * block[0], block[2])
        read += make_bids(rows, state, bids, eps, 0, (0, count), own)
        keep_best(rows, state, bids, 0, 1)
        enqueue(state, own.items[: settle(rows, state, bids, 0, 1, own)])
    return read
