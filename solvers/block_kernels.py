"""Numba kernels of the block auction: many items bid at once at the same prices, then users keep their best bids.

Three phases a block, each cut over threads in a way that cannot change the result: `make_bids` by ranges of the block's
items, `keep_best` by shards of users (every user's bids in the items' order), `settle` by items. Prices and
bids are float32 >= 0; such numbers order as their bits do, so a held bid is one uint64: bits of the bid, then the edge.
A score array is float32, or the bits of float16 as uint16; `score_of` decodes.
"""

from typing import Any

import numba as nb
import numpy as np

from .block_state import Bids, Rows, Scratch, State
from .intrinsics import read_ahead, score_of

KERNEL: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}
"""Nothing is allocated, so arrays need no reference counts: kept, they are a third of the time of short calls."""

BLOCK = 8192
"""Room for items that bid at the same prices."""

SHARDS = 16
"""Parts of the users whose bids are handled apart."""

KEEP = 64
"""Longest short list."""

LONG = 128
"""Items with at most so many edges have no short list: they read their row."""

PROBES = 16
"""Most probes of the search for a threshold: with values tied or very uneven there may be none."""

AHEAD = 8
"""Bids between asking for what a bid needs of memory and using it."""


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
def next_below(value: np.float32) -> np.float32:
    """The next smaller float32 of one above 0; below 0 for 0."""
    if value <= 0.0:
        return np.float32(-1.0)
    return np.uint32(np.float32(value).view(np.uint32) - np.uint32(1)).view(np.float32)


@nb.njit(**KERNEL)
def probe(low: np.float32, high: np.float32, share: float, turn: int) -> np.float32:
    """A value between low and high: by interpolation (`share` of the way) and by halving, in turns."""
    return np.float32(low + (high - low) * np.float32(share if turn % 2 == 0 else 0.5))


@nb.njit(**KERNEL)
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


@nb.njit(**KERNEL)
def where_between(values: np.ndarray, count: int, low: Any, high: Any, out: np.ndarray) -> int:
    """Writes the places of values[:count] with low < value <= high into out (int32), ascending; returns how many.

    Eight are compared before one is written, five times as quick: where a place goes hangs on all places before it,
    and a processor does not like to read past a write whose address it does not know yet. Spoils 8 entries more of `out`.
    """
    found: Any = nb.int64(0)
    whole = count - count % 8
    for a in range(0, whole, 8):
        k1 = nb.int64((values[a] > low) & (values[a] <= high))
        k2 = k1 + nb.int64((values[a + 1] > low) & (values[a + 1] <= high))
        k3 = k2 + nb.int64((values[a + 2] > low) & (values[a + 2] <= high))
        k4 = k3 + nb.int64((values[a + 3] > low) & (values[a + 3] <= high))
        k5 = k4 + nb.int64((values[a + 4] > low) & (values[a + 4] <= high))
        k6 = k5 + nb.int64((values[a + 5] > low) & (values[a + 5] <= high))
        k7 = k6 + nb.int64((values[a + 6] > low) & (values[a + 6] <= high))
        k8 = k7 + nb.int64((values[a + 7] > low) & (values[a + 7] <= high))
        out[found], out[found + k1], out[found + k2], out[found + k3] = a, a + 1, a + 2, a + 3
        out[found + k4], out[found + k5], out[found + k6], out[found + k7] = a + 4, a + 5, a + 6, a + 7
        found += k8
    for a in range(whole, count):
        out[found] = a
        found += nb.int64((values[a] > low) & (values[a] <= high))
    return found


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


@nb.njit(**KERNEL)
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


@nb.njit(**KERNEL)
def sift_down(heap: np.ndarray, at: int, key: np.uint64) -> None:
    """Puts `key` into the min-heap at `at` or below it. In place. The smaller child is found without a branch."""
    child = 2 * at + 1
    while child + 1 < heap.size:
        child += nb.int64(heap[child + 1] < heap[child])
        if key < heap[child]:
            break
        heap[at] = heap[child]
        at, child = child, 2 * child + 1
    if child + 1 == heap.size and heap[child] < key:
        heap[at] = heap[child]
        at = child
    heap[at] = key


@nb.njit(**KERNEL)
def make_heap(bids: np.ndarray) -> None:
    """Makes a min-heap of a user's bids. In place."""
    for root in range(bids.size // 2 - 1, -1, -1):
        sift_down(bids, root, bids[root])


@nb.njit(**KERNEL)
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


@nb.njit(**KERNEL)
def read_short(state: State, i: int, own: Scratch) -> int:
    """The offers of item i's short list that are worth more than 0, into `own`; returns how many."""
    listed, listed_score, count = state.short[i], state.short_score[i], state.short_count[i]
    for a in range(count):
        own.score[a] = listed_score[3 * a + 2] - state.price[listed[3 * a + 1]]
    kept = where_between(own.score, count, np.float32(0.0), np.float32(np.inf), own.picked)
    for k in range(kept):
        own.net[k] = own.score[own.picked[k]]
    for k in range(kept):
        a = own.picked[k]
        own.place[k], own.user[k], own.score[k] = listed[3 * a], listed[3 * a + 1], listed_score[3 * a + 2]
    return kept


@nb.njit(**KERNEL)
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


@nb.njit(**KERNEL)
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
                limit, ties = next_best(own.net, count, np.float32(0.0), positive, listed), True
        state.short_rest[i] = limit
    kept = where_between(own.net, count, next_below(limit) if ties else limit, np.float32(np.inf), own.place)
    for k in range(kept):  # a place is never before its rank: nothing is overwritten that is still to be read
        a = own.place[k]
        own.net[k], own.user[k], own.score[k] = own.net[a], rows.user[first + a], score_of(rows.score[first + a])
    return kept


@nb.njit(**KERNEL)
def by_place(own: Scratch, count: int) -> None:
    """Sorts the offers by their place in the row (insertion sort: they nearly are)."""
    for a in range(1, count):
        net, score, place, user, at = own.net[a], own.score[a], own.place[a], own.user[a], a
        while at > 0 and own.place[at - 1] > place:
            own.net[at], own.score[at] = own.net[at - 1], own.score[at - 1]
            own.place[at], own.user[at] = own.place[at - 1], own.user[at - 1]
            at -= 1
        own.net[at], own.score[at], own.place[at], own.user[at] = net, score, place, user


@nb.njit(**KERNEL)
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


@nb.njit(**KERNEL)
def keep_short(state: State, i: int, own: Scratch, count: int, least: np.float32, told_apart: bool) -> None:
    """Makes item i's short list of the offers not taken: those above its limit, then some of those at it.

    Offers above `least` are taken, and no others unless some were told apart from others as good.
    """
    listed, listed_score, rest = state.short[i], state.short_score[i], state.short_rest[i]
    if told_apart:
        kept = 0
        for above in (True, False):
            for a in range(count):
                eligible = own.net[a] > rest if above else (own.net[a] == rest and kept < KEEP // 2)
                if own.taken[a] == 0 and eligible:
                    own.picked[kept] = a
                    kept += 1
    else:
        kept = where_between(own.net, count, rest, least, own.picked)
        if kept < KEEP // 2 and rest > 0.0:
            kept += where_between(own.net, count, next_below(rest), rest, own.picked[kept:])
            kept = min(kept, KEEP // 2)
    for k in range(kept):
        a = own.picked[k]
        listed[3 * k], listed[3 * k + 1] = own.place[a], own.user[a]
        listed_score[3 * k + 2] = own.score[a]
    state.short_count[i] = kept


@nb.njit(**KERNEL)
def take_best(state: State, own: Scratch, count: int, missing: int, rest: np.float32) -> tuple[np.float32, bool]:
    """Sets own.taken[:count] to 1 for the `missing` offers of largest net value, for all if they are fewer, else to 0.

    Returns the largest net value of those left out, at least `rest`, and whether others of that value were taken.
    """
    least, above, wanted = rest, count_above(own.net, count, rest), min(missing, count)
    if above > missing:
        least = next_best(own.net, count, rest, above, missing)
        above = count_above(own.net, count, least)
    if above < wanted:
        by_place(own, count)
    for a in range(count):
        own.taken[a] = own.net[a] > least
    if above < wanted:
        take_ties(state, own, count, least, wanted - above)
    return least, above < wanted


@nb.njit(**KERNEL)
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
            short = rest <= 0.0 or count_above(own.net, count, next_below(rest)) >= missing
        if not short:
            read += rows.indptr[i + 1] - first + 1
            count = read_row(rows, state, i, missing, bids.guess[0], own)
            rest = state.short_rest[i]
        least, told_apart = take_best(state, own, count, missing, rest if rest < np.inf else np.float32(0.0))
        byte, chosen = (first >> 3) + i, where_between(own.taken, count, 0, 1, own.picked)
        for k in range(chosen):
            a = own.picked[k]
            place, user, score = own.place[a], own.user[a], own.score[a]
            bids.made_user[made], bids.made_edge[made] = user, first + place
            bids.made_bid[made], bids.made_dear[made] = score - least, min(score - least + eps, score)
            state.held[byte + (place >> 3)] |= np.uint8(1 << (place & 7))
            cut[state.shard_of[user >> 6] + 1] += 1
            made += 1
        state.load[i] += chosen
        if rest < np.inf:
            keep_short(state, i, own, count, least, told_apart)
    sort_by_shard(state, bids, bids.start[ends[0]], made, cut)
    return read


@nb.njit(**KERNEL)
def sort_by_shard(state: State, bids: Bids, begin: int, end: int, cut: np.ndarray) -> None:
    """Puts the bids made from `begin` to `end` in order of shards, else as they are; cut[s + 1] counts those of shard s."""
    cut[0], at = begin, begin
    for s in range(SHARDS):  # where the next bid of shard s goes stands in cut[s + 1], which ends up as its end
        cut[s + 1], at = at, at + cut[s + 1]
    for k in range(begin, end):
        user = bids.made_user[k]
        shard = state.shard_of[user >> 6]
        to = cut[shard + 1]
        cut[shard + 1] = to + 1
        bids.user[to], bids.edge[to] = user, bids.made_edge[k]
        bids.bid[to], bids.dear[to] = bids.made_bid_bits[k], bids.made_dear_bits[k]


@nb.njit(**KERNEL)
def keep_best(rows: Rows, state: State, bids: Bids, turn: int, parts: int) -> None:
    """The users of every `parts`-th shard from `turn` on keep their best bids; writes who lost which edge of which user."""
    up, price_bits = np.uint64(32), state.price_bits
    for s in range(turn, SHARDS, parts):
        for part in range(bids.cut.shape[0]):
            losses, last = bids.cut[part, s], bids.cut[part, s + 1] - 1
            for k in range(losses, last + 1):
                far, near = bids.user[min(k + 2 * AHEAD, last)], bids.user[min(k + AHEAD, last)]
                read_ahead(state.slot_count, far)
                read_ahead(state.slot_start, far)
                read_ahead(price_bits, far)
                read_ahead(state.slot, state.slot_start[near])
                read_ahead(state.slot, state.slot_start[near] + state.slot_count[near])
                user, edge, dear = bids.user[k], bids.edge[k], bids.dear[k]
                count, start, end = state.slot_count[user], state.slot_start[user], state.slot_start[user + 1]
                if count < end - start:
                    bid = max(bids.bid[k], price_bits[user])
                    state.slot[start + count] = (np.uint64(bid) << up) | np.uint64(edge)
                    state.slot_count[user] = count + 1
                    if count + 1 == end - start:
                        make_heap(state.slot[start:end])
                        price_bits[user] = np.uint32(state.slot[start] >> up)
                    continue
                lost = edge
                if dear > price_bits[user]:
                    lost = np.uint32(state.slot[start] & np.uint64(0xFFFFFFFF))
                    sift_down(state.slot[start:end], 0, (np.uint64(dear) << up) | np.uint64(edge))
                    price_bits[user] = np.uint32(state.slot[start] >> up)
                bids.loser[losses], bids.lost[losses] = item_of(rows.indptr, nb.int64(lost)), lost
                bids.lost_user[losses] = user
                losses += 1
            bids.stop[part, s] = losses


@nb.njit(**KERNEL)
def settle(rows: Rows, state: State, bids: Bids, turn: int, parts: int, items: np.ndarray) -> int:
    """Takes lost edges from every `parts`-th 64 items, in the bids' order, however they were cut into parts.

    Writes the items that do not wait yet into items (int32, in no order); returns how many.
    """
    losers = 0
    for s in range(SHARDS):
        for part in range(bids.cut.shape[0]):
            last = bids.stop[part, s] - 1
            for k in range(bids.cut[part, s], last + 1):
                ahead, edge = bids.loser[min(k + AHEAD, last)], nb.int64(bids.lost[min(k + AHEAD, last)])
                read_ahead(state.held, (rows.indptr[ahead] >> 3) + ahead + ((edge - rows.indptr[ahead]) >> 3))
                read_ahead(rows.score, edge)
                if state.short_rest[ahead] < np.inf:
                    read_ahead(state.short[ahead], 3 * state.short_count[ahead])
                i = bids.loser[k]
                if parts > 1 and (i >> 6) % parts != turn:
                    continue
                place = nb.int64(bids.lost[k]) - rows.indptr[i]
                state.load[i] -= 1
                state.held[(rows.indptr[i] >> 3) + i + (place >> 3)] &= ~np.uint8(1 << (place & 7))
                if state.short_rest[i] < np.inf:
                    at = state.short_count[i]
                    if at < KEEP:
                        state.short[i, 3 * at], state.short[i, 3 * at + 1] = place, bids.lost_user[k]
                        state.short_score[i, 3 * at + 2] = score_of(rows.score[bids.lost[k]])
                        state.short_count[i] = at + 1
                    else:
                        state.short_rest[i] = np.inf
                if state.queued[i] == 0:
                    state.queued[i] = 1
                    items[losers] = i
                    losers += 1
    return losers


@nb.njit(**KERNEL)
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
        losers = own.items[: settle(rows, state, bids, 0, 1, own.items)]
        losers.sort()
        enqueue(state, losers)
    return read
