"""The candidates as a network for OR-Tools' min-cost flow, behind checks that keep it from crashing the process."""

import numpy as np

from .errors import ProblemError, SolverError
from .ids import INT32_MAX
from .problem import Problem


def flow_scale(problem: Problem, score_bits: int) -> float:
    """The power of two by which scores become integers of at most `score_bits` bits that cannot overflow the solver."""
    highest = float(open_scores(problem).max(initial=0.0))
    if highest == 0.0:
        return 1.0
    nodes = problem.items + problem.users + problem.groups + 2
    bits = min(score_bits, 60 - int(np.ceil(np.log2(nodes))))
    return float(2.0 ** (bits - np.ceil(np.log2(highest))))


def integer_worth(problem: Problem, scale: float) -> np.ndarray:
    """int64[edges]: the scores times `scale`, rounded; 0 where item, user or group cannot take part."""
    return np.rint(open_scores(problem).astype(np.float64) * scale).astype(np.int64)


def open_scores(problem: Problem) -> np.ndarray:
    """The scores, 0 where the item wants nobody or the user or the (user, creator) group has no place."""
    scores = problem.reachable_scores()
    if problem.group is None or problem.group_limit is None or (problem.group_limit > 0).all():
        return scores
    closed = (problem.group >= 0) & (problem.group_limit == 0)[problem.group]
    return np.where(closed, scores.dtype.type(0.0), scores)


def best_flow(problem: Problem, worth: np.ndarray, least: np.ndarray, most_missing: int | None = None) -> np.ndarray:
    """The edges of most worth in all, at most `demand` and at least `least` of each item: uint8[edges], 1 where used.

    worth         int64[edges], not negative
    least         int[items], floors that can all be met at once
    most_missing  places of the demand that may stay empty over all items together; None: any number

    Items supply what they want; user nodes, and before them a node for each (user, creator) limit, pass on what they
    take; arcs around all users let an item stay short, down to `least`. About 2 us and 100 bytes an edge. Raises
    ProblemError for more arcs than the solver takes, SolverError where it finds no optimum.
    """
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow  # not at the top: it takes 0.2 s

    tail, head, room, cost = _arcs(problem, worth, least, most_missing)
    if tail.size > INT32_MAX:
        raise ProblemError(f"{problem} makes {tail.size} arcs, min-cost-flow takes {INT32_MAX}")
    flow = SimpleMinCostFlow()
    arcs = flow.add_arcs_with_capacity_and_unit_cost(tail.astype(np.int32), head.astype(np.int32), room, cost)
    sink = problem.items + problem.users + problem.groups
    supply = np.zeros(sink + (1 if most_missing is None else 2), np.int64)
    supply[: problem.items] = problem.demand
    supply[sink] = -supply.sum()
    flow.set_nodes_supplies(np.arange(supply.size, dtype=np.int32), supply)
    status = flow.solve()
    if status != flow.OPTIMAL:
        raise SolverError(f"min-cost-flow ended with {status.name} on {problem}, expected OPTIMAL")
    return flow.flows(arcs[: problem.edges]).astype(np.uint8)


def _arcs(problem: Problem, worth: np.ndarray, least: np.ndarray, most_missing: int | None) -> list[np.ndarray]:
    """Tail, head, capacity and cost of each arc, int64, edges first. Nodes: items, users, groups, sink, then around."""
    items, users, edges = problem.items, problem.users, problem.edges
    sink = items + users + problem.groups
    around = sink if most_missing is None else sink + 1
    item, user, group = np.split(np.arange(sink), [items, items + users])
    end, group_end, limit = problem.user.astype(np.int64) + items, np.zeros(0, np.int64), np.zeros(0, np.int64)
    if problem.group is not None and problem.group_limit is not None:
        inside = np.flatnonzero(problem.group >= 0)
        group_end, limit = np.full(group.size, sink), problem.group_limit
        group_end[problem.group[inside]] = end[inside]
        end[inside] = group[problem.group[inside]]
    tail = [np.repeat(item, np.diff(problem.indptr)), user, item, group]
    head = [end, np.full(users, sink), np.full(items, around), group_end]
    room = [np.ones(edges, np.int64), problem.capacity, problem.demand.astype(np.int64) - least, limit]
    if most_missing is not None:
        tail, head, room = [*tail, np.array([around])], [*head, np.array([sink])], [*room, np.array([most_missing])]
    arcs = [np.concatenate(parts) for parts in (tail, head, room)]
    return [*arcs, np.concatenate([-worth, np.zeros(arcs[0].size - edges, np.int64)])]
