"""Numba kernels of the auction with floors and (user, creator) limits: items bid for the places of users.

User u keeps its bids in a min-heap in the slots slot_start[u] onwards. An edge costs what its user costs, the lowest
bid held once all places are taken, or what its group costs, the lowest bid held of the group once its limit is reached,
whichever is more. A bid displaces the lowest of its group where that is full, else the lowest of the user. All of a
group's bids are the user's, so a full group costs at least as much as its full user, and no edge ever gets cheaper.
"""

from typing import NamedTuple

import numba as nb
import numpy as np


class Rows(NamedTuple):
    """Edges by item and what limits them, read-only.

    indptr int64[items + 1], user int32[edges], score float32[edges], demand int32[items], least int32[items] (floors
    that can all be met at once), capacity int32[users], group int32[edges] (-1: none; size 0: no groups),
    group_limit int32[groups], slot_start int64[users + 1]: where in the slots each user's bids stand
    """

    indptr: np.ndarray
    user: np.ndarray
    score: np.ndarray
    demand: np.ndarray
    least: np.ndarray
    capacity: np.ndarray
    group: np.ndarray
    group_limit: np.ndarray
    slot_start: np.ndarray


class State(NamedTuple):
    """What the kernels change in place, so that a call continues where the last one stopped.

    user_cost float64[users] and group_cost float64[groups], infinite without places; held uint8[edges]; load
    int64[items]; group_load int64[groups]. Bids: slot_count int64[users], slot_bid float64[slots], slot_edge
    int64[slots]. Items that wait: the ring queue int32[items] from ends[0], ends[1] of them (int64[2]); queued
    uint8[items].
    """

    user_cost: np.ndarray
    group_cost: np.ndarray
    held: np.ndarray
    load: np.ndarray
    group_load: np.ndarray
    slot_count: np.ndarray
    slot_bid: np.ndarray
    slot_edge: np.ndarray
    queue: np.ndarray
    queued: np.ndarray
    ends: np.ndarray


FEW = 16
"""Bisection for a threshold ends when no more values than this are between its ends."""

HALVINGS = 12
"""Most halvings of that bisection: values tied or very uneven are left to quickselect."""


@nb.njit(cache=True, nogil=True)
def group_of(group: np.ndarray, e: int) -> int:
    """Group of the edge, -1 if it has none."""
    return group[e] if group.size > 0 else -1


@nb.njit(cache=True, nogil=True)
def push_up(bid: np.ndarray, edge: np.ndarray, start: int, count: int, new_bid: float, new_edge: int) -> None:
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
def replace_at(  # noqa: PLR0917
    bid: np.ndarray, edge: np.ndarray, start: int, count: int, at: int, new_bid: float, new_edge: int
) -> None:
    """Puts a higher bid in the place of the bid at start + at of the min-heap from `start`. In place: bid, edge."""
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


@nb.njit(cache=True, nogil=True)
def lowest_of_group(bid: np.ndarray, edge: np.ndarray, start: int, count: int, group: np.ndarray, g: int) -> int:
    """Where in the heap of `count` bids from `start` the lowest of group g stands, equal bids by edge number."""
    lowest = -1
    for at in range(count):
        if group[edge[start + at]] != g:
            continue
        if lowest >= 0:
            least, least_edge = bid[start + lowest], edge[start + lowest]
            if bid[start + at] > least or (bid[start + at] == least and edge[start + at] > least_edge):
                continue
        lowest = at
    return lowest


@nb.njit(cache=True, nogil=True)
def place_bid(  # noqa: PLR0917
    e: int,
    u: int,
    new_bid: float,
    slot_start: np.ndarray,
    capacity: np.ndarray,
    group: np.ndarray,
    group_limit: np.ndarray,
    held: np.ndarray,
    slot_count: np.ndarray,
    slot_bid: np.ndarray,
    slot_edge: np.ndarray,
    user_cost: np.ndarray,
    group_load: np.ndarray,
    group_cost: np.ndarray,
) -> int:
    """User u takes the bid on its edge e, above the edge's cost; returns the edge that lost its place, -1 if none did.

    The arrays are those of Rows and, in place, of State: given one by one, as each access to a tuple costs time.
    """
    g, start, lost = group_of(group, e), slot_start[u], -1
    inside = g >= 0 and group_load[g] >= group_limit[g]
    if slot_count[u] < capacity[u] and not inside:
        push_up(slot_bid, slot_edge, start, slot_count[u], new_bid, e)
        slot_count[u] += 1
    else:
        at = lowest_of_group(slot_bid, slot_edge, start, slot_count[u], group, g) if inside else 0
        lost = slot_edge[start + at]
        replace_at(slot_bid, slot_edge, start, slot_count[u], at, new_bid, e)
        held[lost] = 0
        other = group_of(group, lost)
        if other >= 0:
            group_load[other] -= 1
            group_cost[other] = 0.0
    held[e] = 1
    if g >= 0:
        group_load[g] += 1
        if group_load[g] == group_limit[g]:
            group_cost[g] = slot_bid[start + lowest_of_group(slot_bid, slot_edge, start, slot_count[u], group, g)]
    if slot_count[u] == capacity[u]:
        user_cost[u] = slot_bid[start]
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
    """The k-th largest (k from 1) of values[:count], which stay in order; overwrites `scratch` (as long as values).

    Bisection by counting, which the processor does many at a time, until few are left for quickselect.
    """
    low, high = values[0], values[0]
    for j in range(count):
        low, high = min(low, values[j]), max(high, values[j])
    low = np.nextafter(low, -np.inf)
    at_least, above = count, 0  # at_least values are > low, `above` values are > high
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
def offers(rows: Rows, state: State, i: int, above: float, net: np.ndarray, edge: np.ndarray) -> int:
    """Writes score - cost of the edges of item i where > above and not held into net, their numbers into edge.

    Returns how many.
    """
    user, score, group, held = rows.user, rows.score, rows.group, state.held  # each access to a tuple costs time
    user_cost, group_cost = state.user_cost, state.group_cost
    count, grouped = 0, group.size > 0
    for e in range(rows.indptr[i], rows.indptr[i + 1]):
        cost = user_cost[user[e]]
        if grouped and group[e] >= 0:
            cost = max(cost, group_cost[group[e]])
        worth = np.float64(score[e]) - cost
        if worth > above and held[e] == 0:
            net[count] = worth
            edge[count] = e
            count += 1
    return count


@nb.njit(cache=True, nogil=True)
def plan(net: np.ndarray, count: int, missing: int, forced: int, scratch: np.ndarray) -> tuple[int, float, bool]:
    """How many of the offers net[:count] an item takes, the net value its bids leave it, and if bids end at the score.

    It misses `missing` users, `forced` of them for its floor. Offers worth more than 0 it takes as far as it misses
    users, and bids until the next best, or nothing, does as well. Where its floor makes it take others too, it bids
    until the best of the rest is as bad; if there is no rest, just enough.
    """
    positive = 0
    for j in range(count):
        positive += net[j] > 0.0
    if positive > forced or forced == 0:
        level = kth_largest(net, count, missing + 1, scratch) if positive > missing else 0.0
        return min(missing, positive), level, True
    if count > forced:
        return forced, kth_largest(net, count, forced + 1, scratch), False
    worst = 0.0
    for j in range(count):
        worst = min(worst, net[j])
    return count, worst, False


@nb.njit(cache=True, nogil=True)
def enqueue(queue: np.ndarray, queued: np.ndarray, ends: np.ndarray, i: int) -> None:
    """Lets the item wait at the end of the queue, unless it waits already."""
    if queued[i] == 0:
        queued[i] = 1
        queue[(ends[0] + ends[1]) % queue.size] = i
        ends[1] += 1


@nb.njit(cache=True, nogil=True)
def dequeue(queue: np.ndarray, queued: np.ndarray, ends: np.ndarray) -> int:
    """The item that waited longest."""
    i = queue[ends[0]]
    ends[0] = (ends[0] + 1) % queue.size
    ends[1] -= 1
    queued[i] = 0
    return i


@nb.njit(cache=True, nogil=True)
def run_limited(rows: Rows, state: State, eps: float, budget: int) -> int:
    """Lets waiting items bid until none waits or `budget` edges were read; returns the edges read.

    Each bid leaves the item what its next best offer would, less eps > 0 where it must displace another. Bids end at
    the score, so that users all want alike end at exactly that price; only bids for a floor may go beyond.
    """
    indptr, user, score, demand, least, capacity, group, group_limit, slot_start = rows
    user_cost, group_cost, held, load, group_load, slot_count, slot_bid, slot_edge, queue, queued, ends = state
    prices = held, slot_count, slot_bid, slot_edge, user_cost, group_load, group_cost
    longest = 0
    for i in range(load.size):
        longest = max(longest, indptr[i + 1] - indptr[i])
    net, scratch, edge = np.empty(longest), np.empty(longest), np.empty(longest, np.int64)
    read = 0
    while ends[1] > 0 and read < budget:
        i = dequeue(queue, queued, ends)
        missing, forced = demand[i] - load[i], max(0, least[i] - load[i])
        if missing <= 0:
            continue
        read += indptr[i + 1] - indptr[i] + 1
        count = offers(rows, state, i, -np.inf if forced > 0 else 0.0, net, edge)
        wanted, level, capped = plan(net, count, missing, forced, scratch)
        for turn in range(3):  # better than `level`; as good with a free place; as good with a bid to displace
            for j in range(count):
                if wanted == 0:
                    break
                e = edge[j]
                if net[j] < level or (net[j] > level) != (turn == 0) or held[e] == 1:
                    continue
                u, g = user[e], group_of(group, e)
                cost, free = user_cost[u], slot_count[u] < capacity[u]
                if g >= 0:
                    cost = max(cost, group_cost[g])
                    free = free and group_load[g] < group_limit[g]
                if turn == 1 and not free:
                    continue
                most = np.float64(score[e])
                bid = max(most - level, cost)
                if not free:
                    bid = min(bid + eps, most) if capped else bid + eps
                    bid = max(bid, np.nextafter(cost, np.inf))
                lost = place_bid(e, u, bid, slot_start, capacity, group, group_limit, *prices)
                if lost >= 0:
                    loser = int(np.searchsorted(indptr, lost, side="right")) - 1
                    load[loser] -= 1
                    enqueue(queue, queued, ends, loser)
                load[i] += 1
                wanted -= 1
    return read
