"""An earlier allocation as the start of a solve: its matches and prices, carried over by outside ids."""

from dataclasses import dataclass

import numpy as np

from .allocation import Allocation
from .best import floors_met
from .cheap_prices import closed_user_prices
from .errors import ProblemError
from .floors import floors_to_meet, serve_floors
from .ids import find_rows
from .problem import Problem
from .start_kernels import carry_edges, find_edges, fit, keep_within
from .threads import cores
from .workers import Workers

MANY = 200_000
"""Matches from which on it takes longer to carry them over than to wake a thread."""


@dataclass(frozen=True, eq=False)
class Start:
    """Matches and prices of an earlier allocation, as edges and users of the problem at hand.

    chosen        int64[matches], ascending, feasible
    prices        float64[users], 0 for users that the earlier problem did not have
    group_prices  float64[groups], 0 for (user, creator) limits that the earlier problem did not have; or None
    """

    chosen: np.ndarray
    prices: np.ndarray
    group_prices: np.ndarray | None = None


def start_from(problem: Problem, earlier: Allocation) -> Start:
    """Where a solve of `problem` can start from `earlier`, an allocation of this or of an overlapping problem.

    Matches whose item, user or edge is gone are left out, and so are those of the lowest scores over a limit; floors
    that could be met are. O(matches) time and memory. Raises ProblemError for anything but an Allocation.
    """
    if not isinstance(earlier, Allocation):
        raise ProblemError(
            f"start is {type(earlier).__name__}, expected an Allocation (of solve_near: its .allocation)"
        )
    if earlier.problem is problem:
        return Start(_with_floors(problem, earlier.chosen), earlier.user_prices, earlier.group_prices)
    before = earlier.problem
    item_rows = rows_among(problem.item_ids, problem.items, before.item_ids, before.items)
    user_rows = rows_among(problem.user_ids, problem.users, before.user_ids, before.users)
    edge = _carried(problem, earlier, item_rows, user_rows)
    prices = np.zeros(problem.users)
    prices[user_rows[user_rows >= 0]] = earlier.user_prices[user_rows >= 0]
    prices = np.maximum(prices, closed_user_prices(problem))
    chosen = _with_floors(problem, within_limits(problem, edge))
    return Start(chosen, prices, _group_prices(problem, earlier, user_rows))


def _carried(problem: Problem, earlier: Allocation, item_rows: np.ndarray, user_rows: np.ndarray) -> np.ndarray:
    """Edges of the earlier matches that `problem` has too, int64, in their order; the rows: new ones of old ones."""
    before, chosen, workers = earlier.problem, earlier.chosen.astype(np.int64, copy=False), Workers(cores())
    same_edges = _same_memory(before.indptr, problem.indptr) and _same_memory(before.user, problem.user)
    if same_edges and before.item_ids is problem.item_ids and before.user_ids is problem.user_ids:
        return chosen
    old, new, out = (before.indptr, before.user), (problem.indptr, problem.user), np.empty(chosen.size, np.int64)
    parts = [(old, new, chosen, item_rows, user_rows, *ends, out) for ends in workers.ranges(chosen.size)]
    workers.run(carry_edges, parts, small=chosen.size < MANY)
    return out[out >= 0] if out.min(initial=0) < 0 else out


def _same_memory(one: np.ndarray, other: np.ndarray) -> bool:
    return one.ctypes.data == other.ctypes.data and one.shape == other.shape and one.dtype == other.dtype


def _with_floors(problem: Problem, chosen: np.ndarray) -> np.ndarray:
    """The same matches, changed until they fill as many floor places as any can; else a solve could end short of them."""
    met = floors_met(problem, chosen)
    if met is None or problem.floor is None or (met == problem.floor).all():
        return chosen
    least = floors_to_meet(problem)
    if met.sum() >= least.sum():
        return chosen
    held = np.zeros(problem.edges, np.uint8)
    held[chosen] = 1
    serve_floors(problem, least, held)
    return np.flatnonzero(held)


def rows_among(ids: np.ndarray | None, rows: int, given: np.ndarray | None, count: int) -> np.ndarray:
    """Row of each of the `count` ids in `given` among the `rows` ids in `ids`, int64[count]; -1 where it is unknown.

    None for either: the row numbers are the ids.
    """
    if (ids is None and given is None) or (ids is not None and given is not None and np.array_equal(ids, given)):
        out = np.arange(count)
        out[rows:] = -1
        return out
    ids = np.arange(rows) if ids is None else ids
    given = np.arange(count) if given is None else given
    if (ids.dtype.kind == "U") != (given.dtype.kind == "U"):
        return np.full(count, -1)
    return find_rows(given, ids, np.argsort(ids, kind="stable"))


def matched_edges(problem: Problem, item: np.ndarray, user: np.ndarray) -> np.ndarray:
    """Edge of each pair of an item row and a user row, int64[pairs]; -1 where a row is -1 or the pair is no edge."""
    out = np.empty(item.size, np.int64)
    find_edges(problem.indptr, problem.user, item.astype(np.int64), user.astype(np.int64), out)
    return out


def within_limits(problem: Problem, edge: np.ndarray) -> np.ndarray:
    """The edges (int64[n], each once) that are worth something and keep every limit, highest scores first; ascending."""
    rows = problem.indptr, problem.user, problem.stored_score()
    limits = problem.demand, problem.capacity
    if problem.group is None and fit(edge, rows, limits, np.zeros(problem.users, np.int32)):
        return edge
    edge = np.sort(edge)
    score = problem.score[edge]
    if problem.floor is None:  # an edge worth nothing can still serve a floor
        edge, score = edge[score > 0], score[score > 0]
    return taken_in_order(problem, edge, np.argsort(-score, kind="stable"))


def taken_in_order(problem: Problem, edge: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Takes edge[order[0]], edge[order[1]] and so on while the item, the user and the group have places; ascending.

    edge: int64[n], ascending, each once; order: int64[n].
    """
    item, user = problem.item_of(edge), problem.user[edge].astype(np.int64)
    group, group_left = np.full(edge.size, -1), np.zeros(0, np.int64)
    if problem.group is not None and problem.group_limit is not None:
        group, group_left = problem.group[edge].astype(np.int64), problem.group_limit.astype(np.int64)
    left = problem.demand.astype(np.int64), problem.capacity.astype(np.int64), group_left
    kept = np.zeros(edge.size, np.bool_)
    keep_within(order, item, user, group, left[0], left[1], left[2], kept)
    return edge[kept]


def _group_prices(problem: Problem, earlier: Allocation, user_rows: np.ndarray) -> np.ndarray | None:
    """The prices of the same (user, creator) limits in `earlier`; `user_rows` are its users' rows in `problem`."""
    before = earlier.problem
    if problem.group is None or earlier.group_prices is None:
        return None
    creators = 0 if problem.creator_ids is None else problem.creator_ids.size
    known = 0 if before.creator_ids is None else before.creator_ids.size
    creator_rows = rows_among(problem.creator_ids, creators, before.creator_ids, known)
    user, creator = _users_and_creators(problem)
    old_user, old_creator = _users_and_creators(before)
    key = user * max(creators, 1) + creator
    old_key = user_rows[old_user] * max(creators, 1) + creator_rows[old_creator]
    place = rows_among(key, key.size, old_key, old_key.size)
    prices = np.zeros(problem.groups)
    found = (place >= 0) & (user_rows[old_user] >= 0) & (creator_rows[old_creator] >= 0)
    prices[place[found]] = earlier.group_prices[found]
    return prices


def _users_and_creators(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the user and the creator of each group, int64[groups] each."""
    user, creator = np.zeros(problem.groups, np.int64), np.zeros(problem.groups, np.int64)
    if problem.group is not None and problem.creator is not None:
        inside = np.flatnonzero(problem.group >= 0)
        user[problem.group[inside]] = problem.user[inside]
        creator[problem.group[inside]] = problem.creator[problem.item_of(inside)]
    return user, creator
