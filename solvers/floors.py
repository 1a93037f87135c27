"""Floors, the fewest users each item should get: which of them can be met at once, and meeting them."""

from dataclasses import replace

import numpy as np

from .floor_kernels import Limits, Places, Search, meet_floors, seat_held, take_free
from .network_flow import best_flow, flow_scale, integer_worth
from .places_left import group_arrays, place_starts
from .problem import Problem

SCORE_BITS = 40
"""Precision of the scores that decide which floors are met where not all can be."""


def floors_to_meet(problem: Problem, *, best_shares: bool = True) -> np.ndarray:
    """The floors that can all be met at once, int32[items], each at most the problem's.

    What is missing in all is as little as can be. Of the ways to distribute it among the items that compete for too few
    places: the one of the highest score, or with `best_shares` False just any. All zeros for a problem without floors.
    Reads the edges a few times; `best_shares`, where not all floors can be met, takes an exact min-cost flow over the
    items that compete: 2 to 10 us and 100 bytes an edge, and no way to stop it.
    """
    if problem.floor is None or not problem.floor.any():
        return np.zeros(problem.items, np.int32)
    limits, places = _limits(problem, problem.floor), _places(problem, np.zeros(problem.edges, np.uint8))
    take_free(limits, places)
    search = _search(problem)
    if meet_floors(limits, places, search) == 0:
        return problem.floor
    least = places.load.astype(np.int32)
    if best_shares:
        rivals = np.flatnonzero(search.level >= 0)
        least[rivals] = _best_shares(problem, problem.floor, rivals, int(places.load[rivals].sum()))
    return least


def serve_floors(problem: Problem, least: np.ndarray, held: np.ndarray) -> None:
    """Raises each item to `least` users (int32[items]), changing held in place.

    held: uint8[edges], 1 where chosen, feasible. Items with more than their floor may lose users, none falls below it.
    Floors that cannot all be met are missed by as little in all as can be.
    """
    limits, places = _limits(problem, least), _places(problem, held)
    seat_held(limits, places)
    if (places.load < least).any():
        meet_floors(limits, places, _search(problem))


def _best_shares(problem: Problem, floor: np.ndarray, rivals: np.ndarray, places: int) -> np.ndarray:
    """How many of exactly `places` users each of the items `rivals` gets where the score is highest, int64[rivals]."""
    length = np.diff(problem.indptr)[rivals]
    indptr = np.zeros(rivals.size + 1, np.int64)
    np.cumsum(length, out=indptr[1:])
    edge = np.repeat(problem.indptr[rivals] - indptr[:-1], length) + np.arange(indptr[-1])
    user, score, group = problem.user[edge], problem.score[edge], None
    if problem.group is not None:
        group = problem.group[edge]
    part = replace(problem, indptr=indptr, user=user, score=score, demand=floor[rivals], group=group)
    worth = integer_worth(part, flow_scale(part, SCORE_BITS))
    used = best_flow(part, worth, np.zeros(rivals.size, np.int64), int(part.demand.sum(dtype=np.int64)) - places)
    return part.item_load(np.flatnonzero(used))


def _limits(problem: Problem, least: np.ndarray) -> Limits:
    group, group_limit = group_arrays(problem)
    arrays = problem.indptr, problem.user, group, least, problem.capacity, group_limit
    views = tuple(array.view() for array in arrays)
    for view in views:
        view.setflags(write=False)  # one type of arrays, one compilation
    return Limits(*views)


def _places(problem: Problem, held: np.ndarray) -> Places:
    slot_start = place_starts(problem)
    slots = int(slot_start[-1])
    return Places(
        held=held,
        load=np.zeros(problem.items, np.int64),
        group_load=np.zeros(problem.groups, np.int64),
        slot_start=slot_start,
        slot_count=np.zeros(problem.users, np.int64),
        slot_edge=np.zeros(slots, np.int64),
        slot_item=np.zeros(slots, np.int32),
    )


def _search(problem: Problem) -> Search:
    return Search(
        level=np.zeros(problem.items, np.int64),
        user_seen=np.zeros(problem.users, np.int64),
        group_seen=np.zeros(problem.groups, np.int64),
        queue=np.zeros(problem.items, np.int64),
        next_edge=np.zeros(problem.items, np.int64),
        slot=np.zeros(problem.items, np.int64),
        edge=np.zeros(problem.items, np.int64),
    )
