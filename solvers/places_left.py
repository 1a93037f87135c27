"""How many places a set of chosen edges leaves: what kernels that add matches start from."""

from typing import NamedTuple

import numpy as np

from .problem import Problem

CHUNK = 1 << 24
"""Edges counted at once: NumPy counts in copies of 8 bytes an edge."""


class PlacesLeft(NamedTuple):
    """Places left of each item, user and (user, creator) group: int64[items], int64[users], int64[groups]."""

    item: np.ndarray
    user: np.ndarray
    group: np.ndarray


def group_arrays(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """The problem's `group` and `group_limit`, or two arrays of size 0: kernels take no None."""
    if problem.group is None or problem.group_limit is None:
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    return problem.group, problem.group_limit


def places_left(problem: Problem, held: np.ndarray, most: np.ndarray | None = None) -> PlacesLeft:
    """What the edges in `held` (uint8[edges], 1 where chosen) leave of `most` (int[items]; None: demand) and of limits.

    Below 0 where an item already has more than `most`.
    """
    chosen = np.flatnonzero(held)
    group, group_limit = group_arrays(problem)
    inside = group[chosen] if group.size else group
    return PlacesLeft(
        (problem.demand if most is None else most) - problem.item_load(chosen),
        problem.capacity - np.bincount(problem.user[chosen], minlength=problem.users),
        group_limit - np.bincount(inside[inside >= 0], minlength=group_limit.size),
    )


def place_starts(problem: Problem) -> np.ndarray:
    """int64[users + 1]: room for each user's matches, at most its capacity and its edges, one user after the other."""
    edges = np.zeros(problem.users, np.int64)
    for first in range(0, problem.edges, CHUNK):
        edges += np.bincount(problem.user[first : first + CHUNK], minlength=problem.users)
    starts = np.zeros(problem.users + 1, np.int64)
    np.cumsum(np.minimum(problem.capacity, edges), out=starts[1:])
    return starts
