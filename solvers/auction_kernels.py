"""Numba kernels of the auction: bidders with a demand bid for the places of owners.

Items bid for user places in a forward round, users bid for item places in a reverse round; the kernels only know
bidders, owners and edges sorted by bidder. Owner o keeps its bids in a min-heap in slots slot_start[o] onwards;
`slot_edge` says which edge made each bid. `price[o]` is the lowest bid held once all places are taken.
"""

from typing import NamedTuple

import numba as nb
import numpy as np


class Rows(NamedTuple):
    """Edges by bidder, read-only: bidder b owns the edges indptr[b] to indptr[b + 1].

    indptr int64[bidders + 1], owner int32[edges], score float32[edges], demand int32[bidders], capacity int32[owners]
    """

    indptr: np.ndarray
    owner: np.ndarray
    score: np.ndarray
    demand: np.ndarray
    capacity: np.ndarray


class State(NamedTuple):
    """What the kernels change in place, so that a call continues where the last one stopped.

    price float64[owners], infinite for owners without places; held uint8[edges]; load int64[bidders].
    Bids in min-heaps: slot_start int64[owners + 1] (fixed), slot_count int64[owners], slot_bid float64[slots],
    slot_edge int64[slots].
    Bidders that wait: the ring queue int32[bidders] from ends[0], ends[1] of them (int64[2]); queued uint8[bidders].
    Short lists: short_edge int32[bidders, KEEP], the first short_count[b] (int32) are edges that b does not hold, as
    places in its row; every other edge not held is worth at most short_rest[b] (float64, infinite: there is no list).
    Where no row is longer than LONG, short_edge has no rows.
    """

    price: np.ndarray
    held: np.ndarray
    load: np.ndarray
    slot_start: np.ndarray
    slot_count: np.ndarray
    slot_bid: np.ndarray
    slot_edge: np.ndarray
    queue: np.ndarray
    queued: np.ndarray
    ends: np.ndarray
    short_edge: np.ndarray
    short_count: np.ndarray
    short_rest: np.ndarray


KEEP = 64
"""Longest short list."""

LONG = 128
"""Bidders with at most so many edges have no short list: they read their row."""

FEW = 16
"""Bisection for a threshold ends when no more values than this are between its ends."""

HALVINGS = 12
"""Most halvings of that bisection: values tied or very uneven are left to quickselect."""


@nb.njit(cache=True, nogil=True)
def heap_push(bid: np.ndarray, edge: np.ndarray, start: int, count: int, new_bid: float, new_edge: int) -> None:
    """Adds a bid to the min-heap of `count` bids from `start`; equal bids by edge number. In place: bid, edge."""
    at = count
    while at > 0:
        parent = (at - 1) // 2
        above, above_edge = bid[start + parent], edge[start + parent]
        if above < new_bid or (above == new_bid and above_edge < new_edge):
            break
        bid[start + at], edge[start + at] = above, above_edge
        at = parent
    bid[start + at], edge[start + at] = new_bid, new_edge


@nb.njit(cache=True, nogil=True)
def heap_replace_lowest(
    bid: np.ndarray, edge: np.ndarray, start: int, count: int, new_bid: float, new_edge: int
) -> int:
    """Puts a bid in the place of the lowest of the min-heap from `start`; returns the edge that lost. In place."""
    lost = edge[start]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= count:
            break
        low, low_edge = bid[start + child], edge[start + child]
        if child + 1 < count:
            other, other_edge = bid[start + child + 1], edge[start + child + 1]
            if other < low or (other == low and other_edge < low_edge):
                child, low, low_edge = child + 1, other, other_edge
        if new_bid < low or (new_bid == low and new_edge < low_edge):
            break
        bid[start + at], edge[start + at] = low, low_edge
        at = child
    bid[start + at], edge[start + at] = new_bid, new_edge
    return lost


@nb.njit(cache=True, nogil=True)
def quickselect(values: np.ndarray, count: int, k: int) -> float:
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
def kth_largest(values: np.ndarray, count: int, k: int, scratch: np.ndarray) -> float:
    """The k-th largest (k from 1) of values[:count] > 0, which stay in order; overwrites `scratch` (as long as values).

    Bisection by counting, which the processor does many at a time, until few are left for quickselect.
    """
    high = 0.0
    for j in range(count):
        high = max(high, values[j])
    low, at_least, above = 0.0, count, 0  # at_least values are > low, `above` values are > high
    for _ in range(HALVINGS):
        if at_least - above <= FEW:
            break
        middle = 0.5 * (low + high)
        larger = 0
        for j in range(count):
            larger += values[j] > middle
        if larger >= k:
            low, at_least = middle, larger
        else:
            high, above = middle, larger
    inside = 0
    for j in range(count):
        if low < values[j] <= high:
            scratch[inside] = values[j]
            inside += 1
    return quickselect(scratch, inside, k - above)


@nb.njit(cache=True, nogil=True)
def bidder_of(indptr: np.ndarray, edge: int) -> int:
    """The bidder whose row holds this edge (binary search)."""
    low, high = 0, indptr.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if indptr[middle] <= edge:
            low = middle
        else:
            high = middle
    return low


@nb.njit(cache=True, nogil=True)
def enqueue(queue: np.ndarray, queued: np.ndarray, ends: np.ndarray, bidder: int) -> None:
    """Lets the bidder wait at the end of the queue, unless it waits already."""
    if queued[bidder] == 0:
        queued[bidder] = 1
        queue[(ends[0] + ends[1]) % queue.size] = bidder
        ends[1] += 1


@nb.njit(cache=True, nogil=True)
def dequeue(queue: np.ndarray, queued: np.ndarray, ends: np.ndarray) -> int:
    """The bidder that waited longest."""
    bidder = queue[ends[0]]
    ends[0] = (ends[0] + 1) % queue.size
    ends[1] -= 1
    queued[bidder] = 0
    return bidder


@nb.njit(cache=True, nogil=True)
def note_loss(loser: int, place: int, short_edge: np.ndarray, short_count: np.ndarray, short_rest: np.ndarray) -> None:
    """Adds the place in its row of an edge the bidder lost to its short list, or gives the list up where it is full."""
    if short_rest[loser] == np.inf:
        return
    if short_count[loser] < KEEP:
        short_edge[loser, short_count[loser]] = place
        short_count[loser] += 1
    else:
        short_rest[loser] = np.inf


@nb.njit(cache=True, nogil=True)
def longest_row(indptr: np.ndarray) -> int:
    """Edges of the bidder with the most."""
    longest = 0
    for b in range(indptr.size - 1):
        longest = max(longest, indptr[b + 1] - indptr[b])
    return longest


@nb.njit(cache=True, nogil=True)
def offers(  # noqa: PLR0917
    first: int,
    last: int,
    owner: np.ndarray,
    score: np.ndarray,
    price: np.ndarray,
    held: np.ndarray,
    net: np.ndarray,
    edge: np.ndarray,
) -> int:
    """Writes score - price of the edges first to last where > 0 and not held into net, their numbers into edge.

    Returns how many.
    """
    count = 0
    for e in range(first, last):
        worth = np.float64(score[e]) - price[owner[e]]
        if worth > 0.0 and held[e] == 0:
            net[count] = worth
            edge[count] = e
            count += 1
    return count


@nb.njit(cache=True, nogil=True)
def short_offers(  # noqa: PLR0917
    bidder: int,
    first: int,
    owner: np.ndarray,
    score: np.ndarray,
    price: np.ndarray,
    short_edge: np.ndarray,
    listed: int,
    net: np.ndarray,
    edge: np.ndarray,
) -> int:
    """As `offers`, from the `listed` edges of the bidder's short list; its row starts at `first`."""
    count = 0
    for at in range(listed):
        e = first + short_edge[bidder, at]
        worth = np.float64(score[e]) - price[owner[e]]
        if worth > 0.0:
            net[count] = worth
            edge[count] = e
            count += 1
    return count


@nb.njit(cache=True, nogil=True)
def keep_short(  # noqa: PLR0917
    bidder: int,
    first: int,
    net: np.ndarray,
    edge: np.ndarray,
    count: int,
    rest: float,
    held: np.ndarray,
    short_edge: np.ndarray,
) -> int:
    """Makes the short list of the best offers not taken that are worth `rest` or more; returns its length.

    Half of it stays free for edges the bidder will lose.
    """
    kept = 0
    for above in (True, False):
        for j in range(count):
            if (net[j] > rest) != above or net[j] < rest or held[edge[j]] == 1:
                continue
            if kept == KEEP // 2:
                return kept
            short_edge[bidder, kept] = edge[j] - first
            kept += 1
    return kept


@nb.njit(cache=True, nogil=True)
def run_auction(rows: Rows, state: State, eps: float, budget: int) -> int:  # noqa: PLR0912, PLR0915
    """Lets waiting bidders bid until none waits or `budget` edges were read; returns the edges read.

    A bidder that misses m places bids on the m owners of largest net value score - price; each bid leaves it the
    (m + 1)-th net value (or 0), less eps > 0 where a held bid must be displaced. No bid exceeds the score, so nobody
    pays for nothing and an owner all want alike ends at exactly that score. Prices only rise and net values only fall,
    so a short list does as well as the row while its m-th offer is worth at least what the other edges were.
    """
    indptr, owner, score, demand, capacity = rows
    price, held, load = state.price, state.held, state.load  # arrays taken out once: each access to a tuple costs
    queue, queued, ends = state.queue, state.queued, state.ends
    short_edge, short_count, short_rest = state.short_edge, state.short_count, state.short_rest
    slot_start, slot_count, slot_bid, slot_edge = state.slot_start, state.slot_count, state.slot_bid, state.slot_edge
    longest = longest_row(indptr)
    net, scratch, edge = np.empty(longest), np.empty(longest), np.empty(longest, np.int64)
    read = 0
    while ends[1] > 0 and read < budget:
        b = dequeue(queue, queued, ends)
        missing = demand[b] - load[b]
        if missing <= 0:
            continue
        first, last = indptr[b], indptr[b + 1]
        rest, count = short_rest[b], 0
        short = rest < np.inf
        if short:
            read += short_count[b] + 1
            count = short_offers(b, first, owner, score, price, short_edge, short_count[b], net, edge)
            short = rest <= (kth_largest(net, count, missing, scratch) if count >= missing else 0.0)
        if not short:
            read += last - first + 1
            count = offers(first, last, owner, score, price, held, net, edge)
            rest = np.inf
            if last - first > LONG:
                listed = missing + KEEP // 2
                rest = kth_largest(net, count, listed + 1, scratch) if count > listed else 0.0
            short_rest[b] = rest
        least = kth_largest(net, count, missing + 1, scratch) if count > missing else 0.0
        if short:
            least = max(least, rest)
        load[b] += min(missing, count)
        for turn in range(3):  # better than `least`; worth it with a free place; worth it with a bid to displace
            for j in range(count):
                if missing == 0:
                    break
                if net[j] < least or (net[j] > least) != (turn == 0):
                    continue
                e = edge[j]
                o = owner[e]
                free = slot_count[o] < capacity[o]
                if held[e] == 1 or (turn == 1 and not free):
                    continue
                bid, start = np.float64(score[e]) - least, slot_start[o]
                if free:
                    heap_push(slot_bid, slot_edge, start, slot_count[o], max(bid, price[o]), e)
                    slot_count[o] += 1
                else:
                    bid = min(bid + eps, np.float64(score[e]))
                    lost = heap_replace_lowest(slot_bid, slot_edge, start, slot_count[o], bid, e)
                    loser = bidder_of(indptr, lost)
                    held[lost] = 0
                    load[loser] -= 1
                    note_loss(loser, lost - indptr[loser], short_edge, short_count, short_rest)
                    enqueue(queue, queued, ends, loser)
                if slot_count[o] == capacity[o]:
                    price[o] = slot_bid[start]
                held[e] = 1
                missing -= 1
        if rest < np.inf:
            short_count[b] = keep_short(b, first, net, edge, count, rest, held, short_edge)
    return read


@nb.njit(cache=True, nogil=True)
def by_owner(
    indptr: np.ndarray, owner: np.ndarray, score: np.ndarray, out_start: np.ndarray, out: tuple[np.ndarray, ...]
) -> None:
    """The edges sorted by owner, then bidder (counting sort).

    Writes out_start int64[owners + 1] and out = (bidder int32, score float32, edge int64), each [edges].
    """
    for e in range(owner.size):
        out_start[owner[e] + 1] += 1
    for o in range(out_start.size - 1):
        out_start[o + 1] += out_start[o]
    bidder, sorted_score, edge = out
    for b in range(indptr.size - 1):
        for e in range(indptr[b], indptr[b + 1]):
            at = out_start[owner[e]]
            out_start[owner[e]] += 1
            bidder[at], sorted_score[at], edge[at] = b, score[e], e
    for o in range(out_start.size - 1, 0, -1):
        out_start[o] = out_start[o - 1]
    out_start[0] = 0


@nb.njit(cache=True, nogil=True)
def seat_holders(rows: Rows, state: State, paid: np.ndarray) -> None:
    """Gives the edges in state.held their places: each bids its score less paid[bidder] (float64[bidders])."""
    for b in range(rows.demand.size):
        for e in range(rows.indptr[b], rows.indptr[b + 1]):
            if state.held[e] == 1:
                o = rows.owner[e]
                bid = max(0.0, np.float64(rows.score[e]) - paid[b])
                heap_push(state.slot_bid, state.slot_edge, state.slot_start[o], state.slot_count[o], bid, e)
                state.slot_count[o] += 1
                state.load[b] += 1
    for o in range(rows.capacity.size):
        full = 0 < state.slot_count[o] == rows.capacity[o]
        if rows.capacity[o] > 0:
            state.price[o] = state.slot_bid[state.slot_start[o]] if full else 0.0


@nb.njit(cache=True, nogil=True)
def last_place_worth(rows: Rows, state: State, out: np.ndarray) -> None:
    """What one more place of each bidder is worth: writes out float64[bidders].

    The lowest score - price it holds where its demand is met, 0 where it is not, the best on offer where that is 0.
    """
    for b in range(rows.demand.size):
        out[b] = 0.0
        if state.load[b] < rows.demand[b]:
            continue
        best, lowest = 0.0, np.inf
        for e in range(rows.indptr[b], rows.indptr[b + 1]):
            worth = max(0.0, np.float64(rows.score[e]) - state.price[rows.owner[e]])
            if state.held[e] == 1:
                lowest = min(lowest, worth)
            best = max(best, worth)
        out[b] = best if rows.demand[b] == 0 else lowest
