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

    price float64[owners], held uint8[edges], load int64[bidders]; bids in min-heaps: slot_start int64[owners + 1]
    (fixed), slot_count int64[owners], slot_bid float64[slots], slot_edge int64[slots]; bidders that wait: the ring
    queue int32[bidders] from ends[0], ends[1] of them (int64[2]), and queued uint8[bidders] marks them
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


SMALL = 16
"""Up to this k the k-th largest is found by one pass with insertion, above it by quickselect."""


@nb.njit(cache=True, nogil=True)
def heap_push(state: State, owner: int, new_bid: float, new_edge: int) -> None:
    """Adds a bid to the owner's min-heap, which has a free slot; equal bids by edge number."""
    bid, edge, start = state.slot_bid, state.slot_edge, state.slot_start[owner]
    at = state.slot_count[owner]
    while at > 0:
        parent = (at - 1) // 2
        above, above_edge = bid[start + parent], edge[start + parent]
        if above < new_bid or (above == new_bid and above_edge < new_edge):
            break
        bid[start + at], edge[start + at] = above, above_edge
        at = parent
    bid[start + at], edge[start + at] = new_bid, new_edge
    state.slot_count[owner] += 1


@nb.njit(cache=True, nogil=True)
def heap_replace_lowest(state: State, owner: int, new_bid: float, new_edge: int) -> int:
    """Puts a bid in the place of the owner's lowest; returns the edge that lost."""
    bid, edge = state.slot_bid, state.slot_edge
    start, count = state.slot_start[owner], state.slot_count[owner]
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
def kth_by_insertion(values: np.ndarray, count: int, k: int, scratch: np.ndarray) -> float:
    """The k-th largest of values[:count] in one pass, quick for small k; overwrites scratch[:k]."""
    scratch[:k] = -np.inf
    for j in range(count):
        value = values[j]
        if value > scratch[k - 1]:
            at = k - 1
            while at > 0 and scratch[at - 1] < value:
                scratch[at] = scratch[at - 1]
                at -= 1
            scratch[at] = value
    return scratch[k - 1]


@nb.njit(cache=True, nogil=True)
def kth_largest(values: np.ndarray, count: int, k: int, scratch: np.ndarray) -> float:
    """The k-th largest (k from 1) of values[:count], which stay in order; overwrites `scratch` (as long as values)."""
    if k <= SMALL:
        return kth_by_insertion(values, count, k, scratch)
    scratch[:count] = values[:count]
    low, high = 0, count - 1
    while low < high:
        pivot = scratch[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while scratch[left] > pivot:
                left += 1
            while scratch[right] < pivot:
                right -= 1
            if left <= right:
                scratch[left], scratch[right] = scratch[right], scratch[left]
                left += 1
                right -= 1
        if k - 1 <= right:
            high = right
        elif k - 1 >= left:
            low = left
        else:
            break
    return scratch[k - 1]


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
def enqueue(state: State, bidder: int) -> None:
    """Lets the bidder wait at the end of the queue, unless it waits already."""
    if state.queued[bidder] == 0:
        state.queued[bidder] = 1
        state.queue[(state.ends[0] + state.ends[1]) % state.queue.size] = bidder
        state.ends[1] += 1


@nb.njit(cache=True, nogil=True)
def dequeue(state: State) -> int:
    """The bidder that waited longest."""
    bidder = state.queue[state.ends[0]]
    state.ends[0] = (state.ends[0] + 1) % state.queue.size
    state.ends[1] -= 1
    state.queued[bidder] = 0
    return bidder


@nb.njit(cache=True, nogil=True)
def longest_row(indptr: np.ndarray) -> int:
    """Edges of the bidder with the most."""
    longest = 0
    for b in range(indptr.size - 1):
        longest = max(longest, indptr[b + 1] - indptr[b])
    return longest


@nb.njit(cache=True, nogil=True)
def offers(rows: Rows, state: State, bidder: int, net: np.ndarray, edge: np.ndarray) -> int:
    """Writes net values > 0 of the edges not held, and their numbers, into net and edge; returns how many."""
    count = 0
    for e in range(rows.indptr[bidder], rows.indptr[bidder + 1]):
        worth = np.float64(rows.score[e]) - state.price[rows.owner[e]]
        if worth > 0.0 and state.held[e] == 0:
            net[count] = worth
            edge[count] = e
            count += 1
    return count


@nb.njit(cache=True, nogil=True)
def place_bid(rows: Rows, state: State, edge: int, bid: float, eps: float) -> None:
    """Takes a free place of the edge's owner at `bid`, or displaces its lowest at `bid` + eps, at most the score."""
    owner = rows.owner[edge]
    if state.slot_count[owner] < rows.capacity[owner]:
        heap_push(state, owner, max(bid, state.price[owner]), edge)
    else:
        lost = heap_replace_lowest(state, owner, min(bid + eps, np.float64(rows.score[edge])), edge)
        loser = bidder_of(rows.indptr, lost)
        state.held[lost] = 0
        state.load[loser] -= 1
        enqueue(state, loser)
    state.held[edge] = 1
    if state.slot_count[owner] == rows.capacity[owner]:
        state.price[owner] = state.slot_bid[state.slot_start[owner]]


@nb.njit(cache=True, nogil=True)
def run_auction(rows: Rows, state: State, eps: float, budget: int) -> int:
    """Lets waiting bidders bid until none waits or `budget` edges were read; returns the edges read.

    A bidder that misses m places bids on the m owners of largest net value score - price, ties first to owners with a
    free place; each bid leaves it the (m + 1)-th net value (or 0), less eps > 0 where a held bid must be displaced.
    No bid exceeds the score, so nobody pays for nothing and an owner all want alike ends at exactly that score.
    """
    longest = longest_row(rows.indptr)
    net, scratch = np.empty(longest, np.float64), np.empty(max(longest, SMALL), np.float64)
    edge = np.empty(longest, np.int64)
    read = 0
    while state.ends[1] > 0 and read < budget:
        b = dequeue(state)
        missing = rows.demand[b] - state.load[b]
        read += rows.indptr[b + 1] - rows.indptr[b] + 1
        count = offers(rows, state, b, net, edge) if missing > 0 else 0
        least = kth_largest(net, count, missing + 1, scratch) if count > missing else 0.0
        for turn in range(3):  # better than the threshold; on it with a free place; on it with a bid to displace
            for j in range(count):
                if missing == 0:
                    break
                if net[j] < least or (net[j] > least) != (turn == 0) or state.held[edge[j]] == 1:
                    continue
                owner = rows.owner[edge[j]]
                if turn == 1 and state.slot_count[owner] == rows.capacity[owner]:
                    continue
                place_bid(rows, state, edge[j], np.float64(rows.score[edge[j]]) - least, eps)
                state.load[b] += 1
                missing -= 1
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
                heap_push(state, rows.owner[e], max(0.0, np.float64(rows.score[e]) - paid[b]), e)
                state.load[b] += 1
    for o in range(rows.capacity.size):
        full = 0 < state.slot_count[o] == rows.capacity[o]
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
