"""Numba kernels that meet floors by augmenting paths: an item short of users takes one, whose holder takes another..."""

from typing import NamedTuple

import numba as nb
import numpy as np


class Limits(NamedTuple):
    """Edges by item and what limits them, read-only.

    indptr int64[items + 1], user int32[edges], group int32[edges] (-1: none; size 0: no groups), least int32[items],
    capacity int32[users], group_limit int32[groups]
    """

    indptr: np.ndarray
    user: np.ndarray
    group: np.ndarray
    least: np.ndarray
    capacity: np.ndarray
    group_limit: np.ndarray


class Places(NamedTuple):
    """Who holds what, changed in place.

    held uint8[edges], load int64[items], group_load int64[groups]; user u is held through the edges slot_edge (int64)
    by the items slot_item (int32) at slot_start[u] (int64[users + 1]) onwards, slot_count[u] (int64[users]) of them.
    """

    held: np.ndarray
    load: np.ndarray
    group_load: np.ndarray
    slot_start: np.ndarray
    slot_count: np.ndarray
    slot_edge: np.ndarray
    slot_item: np.ndarray


class Search(NamedTuple):
    """Scratch of the search, any content before.

    level int64[items], chain length at which an item is reached, -1: not, or in vain; user_seen int64[users] and
    group_seen int64[groups], number of the round that reached it (0 before); queue int64[items], items reached in
    order; next_edge int64[items], first edge not tried in vain; slot int64[items], the place through which the present
    chain reaches an item, -1 where it starts; edge int64[items], the edge that would take that place over.
    """

    level: np.ndarray
    user_seen: np.ndarray
    group_seen: np.ndarray
    queue: np.ndarray
    next_edge: np.ndarray
    slot: np.ndarray
    edge: np.ndarray


@nb.njit(cache=True, nogil=True)
def group_of(group: np.ndarray, e: int) -> int:
    """Group of the edge, -1 if it has none."""
    return group[e] if group.size > 0 else -1


@nb.njit(cache=True, nogil=True)
def has_room(limits: Limits, places: Places, e: int) -> bool:
    """Whether the edge's user and its group both have a place left."""
    u, g = limits.user[e], group_of(limits.group, e)
    return places.slot_count[u] < limits.capacity[u] and (g < 0 or places.group_load[g] < limits.group_limit[g])


@nb.njit(cache=True, nogil=True)
def take(limits: Limits, places: Places, i: int, e: int) -> None:
    """Item i takes edge e, whose user and group have room."""
    u, g = limits.user[e], group_of(limits.group, e)
    at = places.slot_start[u] + places.slot_count[u]
    places.slot_edge[at], places.slot_item[at] = e, i
    places.slot_count[u] += 1
    places.load[i] += 1
    places.held[e] = 1
    if g >= 0:
        places.group_load[g] += 1


@nb.njit(cache=True, nogil=True)
def seat_held(limits: Limits, places: Places) -> None:
    """Enters the edges in `places.held` into loads and slots (all 0 before)."""
    for i in range(limits.least.size):
        for e in range(limits.indptr[i], limits.indptr[i + 1]):
            if places.held[e] == 1:
                take(limits, places, i, e)


@nb.njit(cache=True, nogil=True)
def take_free(limits: Limits, places: Places) -> None:
    """Each item below its floor takes edges with room, each from another place of its row on so that they spread."""
    for i in range(limits.least.size):
        first, length = limits.indptr[i], limits.indptr[i + 1] - limits.indptr[i]
        for step in range(length):
            if places.load[i] >= limits.least[i]:
                break
            e = first + (i * 40_503 + step) % length
            if places.held[e] == 0 and has_room(limits, places, e):
                take(limits, places, i, e)


@nb.njit(cache=True, nogil=True)
def blocked_by(limits: Limits, places: Places, e: int) -> int:
    """What an edge without room must displace: a holder in its group (2), any of its user (1); 0: there is none."""
    g = group_of(limits.group, e)
    if places.held[e] == 1 or limits.capacity[limits.user[e]] == 0 or (g >= 0 and limits.group_limit[g] == 0):
        return 0
    return 2 if g >= 0 and places.group_load[g] >= limits.group_limit[g] else 1


@nb.njit(cache=True, nogil=True)
def move_along(limits: Limits, places: Places, search: Search, i: int) -> None:
    """Item i gives up the place through which the chain reaches it to the item before it, and so on to the start."""
    while search.slot[i] >= 0:
        at, e = search.slot[i], search.edge[i]
        lost = places.slot_edge[at]
        before = np.searchsorted(limits.indptr, e, side="right") - 1
        for edge, change in ((lost, -1), (e, 1)):
            g = group_of(limits.group, edge)
            if g >= 0:
                places.group_load[g] += change
        places.held[lost], places.held[e] = 0, 1
        places.slot_edge[at], places.slot_item[at] = e, before
        places.load[i] -= 1
        places.load[before] += 1
        i = before


@nb.njit(cache=True, nogil=True)
def find_levels(limits: Limits, places: Places, search: Search, number: int) -> bool:
    """Levels of the items by breadth first from all that are short, up to the end of the shortest chains.

    A chain ends at a place that is free or at an item that has more than its floor. Returns whether there is one.
    """
    level, queue, last, first, end = search.level, search.queue, 0, 0, np.int64(2**62)
    for i in range(limits.least.size):
        level[i] = -1
        if places.load[i] < limits.least[i]:
            level[i], queue[last] = 0, i
            last += 1
    while first < last and level[queue[first]] <= end:
        i = queue[first]
        first += 1
        for e in range(limits.indptr[i], limits.indptr[i + 1]):
            blocked = blocked_by(limits, places, e)
            u, g = limits.user[e], group_of(limits.group, e)
            if blocked == 0 or search.user_seen[u] == number or (blocked == 2 and search.group_seen[g] == number):
                continue
            if has_room(limits, places, e):
                end = level[i]
            elif blocked == 2:
                search.group_seen[g] = number
            else:
                search.user_seen[u] = number
            for at in range(places.slot_start[u], places.slot_start[u] + places.slot_count[u]):
                j = places.slot_item[at]
                if level[j] >= 0 or (blocked == 2 and group_of(limits.group, places.slot_edge[at]) != g):
                    continue
                level[j], queue[last] = level[i] + 1, j
                last += 1
                if places.load[j] > limits.least[j]:
                    end = level[i]
    return bool(end < 2**62)


@nb.njit(cache=True, nogil=True)
def next_holder(limits: Limits, places: Places, search: Search, e: int, level: int) -> int:
    """Slot of an item of this level that the edge e can displace, -1 if there is none."""
    blocked = blocked_by(limits, places, e)
    u, g = limits.user[e], group_of(limits.group, e)
    if blocked == 0:
        return -1
    for at in range(places.slot_start[u], places.slot_start[u] + places.slot_count[u]):
        inside = blocked == 1 or group_of(limits.group, places.slot_edge[at]) == g
        if inside and search.level[places.slot_item[at]] == level:
            return at
    return -1


@nb.njit(cache=True, nogil=True)
def take_one(limits: Limits, places: Places, search: Search, start: int) -> bool:
    """Item `start` gets one more user over a chain of rising levels, depth first; returns whether there was one."""
    i = start
    search.slot[i] = -1
    while True:
        at = -1
        while search.next_edge[i] < limits.indptr[i + 1]:
            e = search.next_edge[i]
            if blocked_by(limits, places, e) > 0 and has_room(limits, places, e):
                take(limits, places, i, e)
                move_along(limits, places, search, i)
                return True
            at = next_holder(limits, places, search, e, search.level[i] + 1)
            if at >= 0:
                break
            search.next_edge[i] += 1
        if at >= 0:
            j = places.slot_item[at]
            search.slot[j], search.edge[j] = at, search.next_edge[i]
            if places.load[j] > limits.least[j]:
                move_along(limits, places, search, j)
                return True
            i = j
            continue
        search.level[i] = -1
        if i == start:
            return False
        i = np.searchsorted(limits.indptr, search.edge[i], side="right") - 1


@nb.njit(cache=True, nogil=True)
def meet_floors(limits: Limits, places: Places, search: Search) -> int:
    """Raises the load of each item towards its floor until the sum of what is missing is as small as it can be.

    Items above their floor may lose users, down to the floor. Rounds of shortest chains, as Dinic's maximum flow.
    Returns what is missing; if anything is, search.level is >= 0 for the items it could be distributed among otherwise.
    """
    number = 1
    while find_levels(limits, places, search, number):
        number += 1
        search.next_edge[:] = limits.indptr[:-1]
        for i in range(limits.least.size):
            while places.load[i] < limits.least[i] and search.level[i] == 0:
                take_one(limits, places, search, i)
    missing = 0
    for i in range(limits.least.size):
        missing += max(0, limits.least[i] - places.load[i])
    return missing
