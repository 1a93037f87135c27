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
    """Scratch of the search. What was reached in vain can never lead anywhere again and stays marked.

    item_seen int64[items], user_seen int64[users], group_seen int64[groups]: number of the search that reached it, all
    0 before, DEAD once a search from there failed; queue int64[items], items reached in order; slot int64[items], the
    place through which an item was reached; edge int64[items], the edge that would take it over.
    """

    item_seen: np.ndarray
    user_seen: np.ndarray
    group_seen: np.ndarray
    queue: np.ndarray
    slot: np.ndarray
    edge: np.ndarray


DEAD = np.int64(2**62)
"""Mark of what no search needs to look at again."""


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
def move_along(limits: Limits, places: Places, search: Search, i: int) -> None:
    """Item i gives up the place through which the search reached it to the item before it, and so on to the start."""
    indptr = limits.indptr
    while search.slot[i] >= 0:
        at, e = search.slot[i], search.edge[i]
        lost = places.slot_edge[at]
        before = np.searchsorted(indptr, e, side="right") - 1
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
def search_from(limits: Limits, places: Places, search: Search, start: int, number: int) -> int:
    """Finds `start` one more user by a shortest chain of items that pass one on, and moves along it.

    A chain ends at a place that is free or at an item that has more than its floor. A full group passes on only its
    own places. Returns 0, or, where there is no such chain, how many items of search.queue were reached.
    """
    queue, item_seen = search.queue, search.item_seen
    queue[0], item_seen[start], search.slot[start] = start, number, -1
    first, last = 0, 1
    while first < last:
        i = queue[first]
        first += 1
        for e in range(limits.indptr[i], limits.indptr[i + 1]):
            u, g = limits.user[e], group_of(limits.group, e)
            if places.held[e] == 1 or limits.capacity[u] == 0 or (g >= 0 and limits.group_limit[g] == 0):
                continue
            if has_room(limits, places, e):
                take(limits, places, i, e)
                move_along(limits, places, search, i)
                return 0
            inside = g >= 0 and places.group_load[g] >= limits.group_limit[g]
            if search.user_seen[u] >= number or (inside and search.group_seen[g] >= number):
                continue
            if inside:
                search.group_seen[g] = number
            else:
                search.user_seen[u] = number
            for at in range(places.slot_start[u], places.slot_start[u] + places.slot_count[u]):
                j = places.slot_item[at]
                if item_seen[j] >= number or (inside and group_of(limits.group, places.slot_edge[at]) != g):
                    continue
                item_seen[j], search.slot[j], search.edge[j] = number, at, e
                if places.load[j] > limits.least[j]:
                    move_along(limits, places, search, j)
                    return 0
                queue[last] = j
                last += 1
    return last


@nb.njit(cache=True, nogil=True)
def mark_dead(limits: Limits, search: Search, reached: int, number: int) -> None:
    """Marks all that a failed search reached: nothing there will ever be free, and later chains stay outside."""
    for at in range(reached):
        i = search.queue[at]
        search.item_seen[i] = DEAD
        for e in range(limits.indptr[i], limits.indptr[i + 1]):
            u, g = limits.user[e], group_of(limits.group, e)
            if search.user_seen[u] == number:
                search.user_seen[u] = DEAD
            if g >= 0 and search.group_seen[g] == number:
                search.group_seen[g] = DEAD


@nb.njit(cache=True, nogil=True)
def meet_floors(limits: Limits, places: Places, search: Search) -> int:
    """Raises the load of each item towards its floor until the sum of what is missing is as small as it can be.

    Items above their floor may lose users, down to the floor. Returns what is missing; where that is not 0,
    search.item_seen is DEAD for the items among which it could be distributed otherwise.
    """
    number, missing = 0, 0
    for i in range(limits.least.size):
        while places.load[i] < limits.least[i] and search.item_seen[i] != DEAD:
            number += 1
            reached = search_from(limits, places, search, i, number)
            if reached > 0:
                mark_dead(limits, search, reached, number)
        missing += max(0, limits.least[i] - places.load[i])
    return missing
