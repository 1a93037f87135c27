"""Numba kernels of local search: edges taken where places are free, or in exchange for lower ones while that gains."""

from typing import NamedTuple

import numba as nb
import numpy as np

ROUNDING = 1e-12
"""A gain counts if it is larger than this share of the score taken."""


class Graph(NamedTuple):
    """The problem, read-only: indptr int64[items + 1], user int32[edges], score float32[edges], floor int32[items].

    group: int32[edges], -1 for none; of length 0 where no edge has one. fresh: uint8[edges], 1 where taking the edge
    counts as a change; of length 0 where changes are not counted.
    """

    indptr: np.ndarray
    user: np.ndarray
    score: np.ndarray
    floor: np.ndarray
    group: np.ndarray
    fresh: np.ndarray


class Places(NamedTuple):
    """Who holds what; all written in place.

    held        uint8[edges], 1 where chosen
    load        int64[items], matches of each item
    item_left   int64[items], and user_left int64[users], group_left int64[groups]: places left
    slot_start  int64[users + 1]: user u holds slot_edge[slot_start[u]:][: slot_count[u]], in no order
    slot_edge   int64[slots], and slot_item int64[slots], the items of these edges
    slot_count  int64[users]
    changes     int64[1], how many more fresh edges may be taken
    """

    held: np.ndarray
    load: np.ndarray
    item_left: np.ndarray
    user_left: np.ndarray
    group_left: np.ndarray
    slot_start: np.ndarray
    slot_edge: np.ndarray
    slot_item: np.ndarray
    slot_count: np.ndarray
    changes: np.ndarray


class Guess(NamedTuple):
    """What a freed place would earn and cost as last seen; written in place. A wrong guess costs time, not correctness.

    item_refill  float64[items], score of the item's best edge that could be taken in place of one; -1: none
    user_refill  int64[users], the user's best edge whose item has places left, -1: none; user_refill_item int64[users]
    user_cost    float64[users], least loss from giving up one of the user's places, less what its item takes instead
    """

    item_refill: np.ndarray
    user_refill: np.ndarray
    user_refill_item: np.ndarray
    user_cost: np.ndarray


@nb.njit(cache=True, nogil=True)
def open_for(graph: Graph, places: Places, e: int) -> bool:
    """Whether the user of edge e, not held, has a place left for it, within its group's limit too."""
    group = graph.group[e] if graph.group.size > 0 else -1
    return places.held[e] == 0 and places.user_left[graph.user[e]] > 0 and (group < 0 or places.group_left[group] > 0)


@nb.njit(cache=True, nogil=True)
def affordable(graph: Graph, places: Places, e: int) -> bool:
    """Whether edge e may be taken as far as changes are limited."""
    return graph.fresh.size == 0 or graph.fresh[e] == 0 or places.changes[0] > 0


@nb.njit(cache=True, nogil=True)
def take(graph: Graph, places: Places, e: int, i: int) -> float:
    """Item i takes edge e; returns its score."""
    u = graph.user[e]
    at = places.slot_start[u] + places.slot_count[u]
    places.slot_edge[at], places.slot_item[at] = e, i
    places.slot_count[u] += 1
    places.held[e] = 1
    places.load[i] += 1
    places.item_left[i] -= 1
    places.user_left[u] -= 1
    if graph.group.size > 0 and graph.group[e] >= 0:
        places.group_left[graph.group[e]] -= 1
    if graph.fresh.size > 0:
        places.changes[0] -= graph.fresh[e]
    return np.float64(graph.score[e])


@nb.njit(cache=True, nogil=True)
def give_up(graph: Graph, places: Places, e: int, i: int) -> float:
    """Item i gives up edge e; returns its score."""
    u = graph.user[e]
    first = places.slot_start[u]
    last = first + places.slot_count[u] - 1
    at = first
    while places.slot_edge[at] != e:
        at += 1
    places.slot_edge[at], places.slot_item[at] = places.slot_edge[last], places.slot_item[last]
    places.slot_count[u] -= 1
    places.held[e] = 0
    places.load[i] -= 1
    places.item_left[i] += 1
    places.user_left[u] += 1
    if graph.group.size > 0 and graph.group[e] >= 0:
        places.group_left[graph.group[e]] += 1
    if graph.fresh.size > 0:
        places.changes[0] += graph.fresh[e]
    return np.float64(graph.score[e])


@nb.njit(cache=True, nogil=True)
def best_open(graph: Graph, places: Places, i: int) -> int:
    """Item i's best edge of score > 0 (>= 0 below its floor) that could be taken; -1: none."""
    score, user, held, user_left = graph.score, graph.user, places.held, places.user_left  # a call an edge costs more
    best, found = np.float64(-1.0 if places.load[i] < graph.floor[i] else 0.0), -1
    for e in range(graph.indptr[i], graph.indptr[i + 1]):
        if score[e] <= best or user_left[user[e]] == 0 or held[e] == 1:
            continue
        if open_for(graph, places, e) and affordable(graph, places, e):
            best, found = np.float64(score[e]), e
    return found


@nb.njit(cache=True, nogil=True)
def cheapest_slot(graph: Graph, places: Places, guess: Guess, u: int, group: int) -> int:
    """Slot of user u (of one group, if group >= 0) that costs least to give up; -1 where floors hold all of them."""
    least, found = np.inf, -1
    for at in range(places.slot_start[u], places.slot_start[u] + places.slot_count[u]):
        e, i = places.slot_edge[at], places.slot_item[at]
        if group >= 0 and graph.group[e] != group:
            continue
        refill = guess.item_refill[i]
        if refill < 0.0 and places.load[i] <= graph.floor[i]:
            continue
        cost = np.float64(graph.score[e]) - max(0.0, refill)
        if cost < least:
            least, found = cost, at
    return found


@nb.njit(cache=True, nogil=True)
def set_user_cost(graph: Graph, places: Places, guess: Guess, u: int) -> None:
    """Brings guess.user_cost[u] up to date with the user's slots."""
    at = cheapest_slot(graph, places, guess, u, -1)
    guess.user_cost[u] = np.inf
    if at >= 0:
        refill = max(0.0, guess.item_refill[places.slot_item[at]])
        guess.user_cost[u] = np.float64(graph.score[places.slot_edge[at]]) - refill


@nb.njit(cache=True, nogil=True)
def look_around(graph: Graph, places: Places, guess: Guess) -> None:
    """Guesses everything anew: two reads of the edges at most."""
    guess.user_refill[:] = -1
    for i in range(places.load.size):
        if places.item_left[i] == 0:
            continue
        for e in range(graph.indptr[i], graph.indptr[i + 1]):
            u = graph.user[e]
            known = guess.user_refill[u]
            if places.held[e] == 0 and graph.score[e] > (0.0 if known < 0 else graph.score[known]):
                guess.user_refill[u], guess.user_refill_item[u] = e, i
    for i in range(places.load.size):
        found = best_open(graph, places, i)
        guess.item_refill[i] = graph.score[found] if found >= 0 else -1.0
    for u in range(places.slot_count.size):
        set_user_cost(graph, places, guess, u)


@nb.njit(cache=True, nogil=True)
def cheapest_of_item(graph: Graph, places: Places, guess: Guess, i: int) -> tuple[int, float]:
    """The held edge of item i that costs least to give up, less what its user takes instead, and that cost."""
    least, found = np.inf, -1
    for e in range(graph.indptr[i], graph.indptr[i + 1]):
        if places.held[e] == 1:
            refill = guess.user_refill[graph.user[e]]
            cost = np.float64(graph.score[e]) - (graph.score[refill] if refill >= 0 else 0.0)
            if cost < least:
                least, found = cost, e
    return found, least


@nb.njit(cache=True, nogil=True)
def move(graph: Graph, places: Places, trail: np.ndarray, e: int, i: int, taken: int) -> float:
    """Takes edge e for item i (taken = 1) or gives it up (0), noted in the trail; returns what that gains.

    trail: int64[1 + moves, 3], written in place: its first entry counts the moves, each later row is (e, i, taken).
    """
    trail[0, 0] += 1
    at = trail[0, 0]
    trail[at, 0], trail[at, 1], trail[at, 2] = e, i, taken
    return take(graph, places, e, i) if taken == 1 else -give_up(graph, places, e, i)


@nb.njit(cache=True, nogil=True)
def take_back(graph: Graph, places: Places, trail: np.ndarray) -> None:
    """Undoes the moves of the trail, the last first."""
    for at in range(trail[0, 0], 0, -1):
        if trail[at, 2] == 1:
            give_up(graph, places, trail[at, 0], trail[at, 1])
        else:
            take(graph, places, trail[at, 0], trail[at, 1])


@nb.njit(cache=True, nogil=True)
def asked_of_user(graph: Graph, places: Places, guess: Guess, e: int) -> tuple[int, int]:
    """The edge that edge e's user gives up for it, and its item; -1 where it has a place, -2 where floors hold all."""
    if open_for(graph, places, e):
        return -1, -1
    group = graph.group[e] if graph.group.size > 0 else -1
    if group >= 0 and places.group_left[group] > 0:
        group = -1
    at = cheapest_slot(graph, places, guess, graph.user[e], group)
    if at < 0:
        return -2, -2
    return places.slot_edge[at], places.slot_item[at]


@nb.njit(cache=True, nogil=True)
def refill_user(graph: Graph, places: Places, guess: Guess, trail: np.ndarray, u: int) -> float:
    """User u, who lost a place, takes its best edge if that is still possible; returns the gain."""
    e, i = guess.user_refill[u], guess.user_refill_item[u]
    if e >= 0 and places.item_left[i] > 0 and open_for(graph, places, e) and affordable(graph, places, e):
        return move(graph, places, trail, e, i, 1)
    guess.user_refill[u] = -1
    return 0.0


@nb.njit(cache=True, nogil=True)
def refill_item(graph: Graph, places: Places, guess: Guess, trail: np.ndarray, i: int) -> float:
    """Item i, which lost a user, takes its best edge that is free; returns the gain."""
    if places.item_left[i] == 0:
        return 0.0
    e = best_open(graph, places, i)
    guess.item_refill[i] = graph.score[e] if e >= 0 else -1.0
    return move(graph, places, trail, e, i, 1) if e >= 0 else 0.0


@nb.njit(cache=True, nogil=True)
def exchange(graph: Graph, places: Places, guess: Guess, e: int, i: int, own: int) -> float:
    """Item i takes edge e, giving up its edge `own` (-1: it has a place left), and what the user gives up for it.

    The item and the user that lost a place refill it where they can. Undone if nothing is gained, a floor is broken or
    there are too many changes; returns the gain.
    """
    other, loser = asked_of_user(graph, places, guess, e)
    if other == -2:
        return 0.0
    enough = min(places.load[loser], graph.floor[loser]) if loser >= 0 else 0
    trail, gain = np.zeros((6, 3), np.int64), 0.0
    if own >= 0:
        gain += move(graph, places, trail, own, i, 0)
    if other >= 0:
        gain += move(graph, places, trail, other, loser, 0)
    gain += move(graph, places, trail, e, i, 1)
    if own >= 0:
        gain += refill_user(graph, places, guess, trail, graph.user[own])
    if other >= 0:
        gain += refill_item(graph, places, guess, trail, loser)
    kept = gain > ROUNDING * np.float64(graph.score[e]) and (loser < 0 or places.load[loser] >= enough)
    kept = kept and places.changes[0] >= 0
    if not kept:
        take_back(graph, places, trail)
    for at in range(1, trail[0, 0] + 1):
        set_user_cost(graph, places, guess, graph.user[trail[at, 0]])
    return gain if kept else 0.0


@nb.njit(cache=True, nogil=True)
def polish_rows(graph: Graph, places: Places, guess: Guess, first: int, last: int) -> tuple[int, float]:
    """Lets items first to last - 1 in turn take every edge that gains; returns the number of moves and their gain."""
    moves, total = 0, 0.0
    score, user, held, user_left, user_cost = graph.score, graph.user, places.held, places.user_left, guess.user_cost
    for i in range(first, last):
        own, own_cost = cheapest_of_item(graph, places, guess, i)
        if places.item_left[i] == 0 and own < 0:
            continue
        full, short = places.item_left[i] == 0, places.load[i] < graph.floor[i]
        for e in range(graph.indptr[i], graph.indptr[i + 1]):
            worth = np.float64(score[e])
            # A user with places, whose group alone may stand in the way, is looked at slot by slot.
            loss = (own_cost if full else 0.0) + (0.0 if user_left[user[e]] > 0 else user_cost[user[e]])
            if held[e] == 1 or (not short and (worth <= 0.0 or worth - loss <= ROUNDING * worth)):
                continue
            if short and not full and open_for(graph, places, e) and affordable(graph, places, e):
                total += take(graph, places, e, i)
                set_user_cost(graph, places, guess, user[e])
                moves += 1
            elif worth > 0.0 and worth - loss > ROUNDING * worth:
                gain = exchange(graph, places, guess, e, i, own if full else -1)
                moves, total = moves + (gain > 0.0), total + gain
            own, own_cost = cheapest_of_item(graph, places, guess, i)
            full, short = places.item_left[i] == 0, places.load[i] < graph.floor[i]
    return moves, total
