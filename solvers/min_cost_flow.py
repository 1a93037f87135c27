"""Min-cost flow by OR-Tools behind a validating wrapper: the exact solver, and the bar for the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .cheap_prices import closed_user_prices
from .errors import ProblemError, SolverError
from .min_cost_flow_kernels import lowest_prices
from .problem import INT32_MAX, Problem
from .step import Goal, Step

PRICE_PASSES = 1000
"""Reads of all edges after which price recovery stops; measured instances need under 20."""


@dataclass(frozen=True)
class MinCostFlow:
    """OR-Tools' SimpleMinCostFlow on integer scores: optimal up to half a unit of the scale an edge.

    Items supply what they want, users pass on what they take, and an arc around all users (worth 0) lets an item stay
    short. Scores are multiplied by a power of two and rounded; the largest becomes at most 2^`score_bits`, less where
    the number of nodes could overflow 64-bit arithmetic (from about a million nodes). float32 scores within 2^16 of
    the largest are then exact.

    About 2 us and 100 bytes an edge, and no way to stop it early: the time limit is only seen when it is done. Takes no
    start prices. Its prices are the lowest that certify the flow, found by shortest paths in the residual graph.

    score_bits  bits of the largest integer score

    Source: Goldberg, "An efficient implementation of a scaling minimum-cost flow algorithm" (1997).
    """

    score_bits: int = 40

    name: ClassVar[str] = "min-cost-flow"
    promises: ClassVar[bool] = False

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        """One answer."""
        scale = self.scale(problem)
        worth = np.rint(problem.reachable_scores().astype(np.float64) * scale).astype(np.int64)
        held = _flow(problem, worth)
        chosen = np.flatnonzero(held)
        prices = _prices(problem, worth, held, chosen) / scale
        yield Step(chosen, np.maximum(prices, closed_user_prices(problem)))

    def scale(self, problem: Problem) -> float:
        """The power of two that scores are multiplied by."""
        highest = float(problem.reachable_scores().max(initial=0.0))
        if highest == 0.0:
            return 1.0
        nodes = problem.items + problem.users + 1
        bits = min(self.score_bits, 60 - int(np.ceil(np.log2(nodes + 1))))
        return float(2.0 ** (bits - np.ceil(np.log2(highest))))


def _flow(problem: Problem, worth: np.ndarray) -> np.ndarray:
    """uint8[edges], 1 where the optimal flow uses the edge."""
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow  # not at the top: it takes 0.2 s

    items, users, edges = problem.items, problem.users, problem.edges
    if edges + items + users > INT32_MAX:
        raise ProblemError(f"{edges} edges, {items} items and {users} users, min-cost-flow takes {INT32_MAX} in all")
    item_node, user_node = np.arange(items, dtype=np.int32), np.arange(items, items + users, dtype=np.int32)
    sink = items + users
    flow = SimpleMinCostFlow()
    arcs = flow.add_arcs_with_capacity_and_unit_cost(
        np.concatenate([np.repeat(item_node, np.diff(problem.indptr)), user_node, item_node]),
        np.concatenate([problem.user + np.int32(items), np.full(users + items, sink, np.int32)]),
        np.concatenate([np.ones(edges, np.int64), problem.capacity, problem.demand]),
        np.concatenate([-worth, np.zeros(users + items, np.int64)]),
    )
    supply = np.concatenate([problem.demand, np.zeros(users, np.int64), [-problem.demand.sum(dtype=np.int64)]])
    flow.set_nodes_supplies(np.arange(sink + 1, dtype=np.int32), supply)
    status = flow.solve()
    if status != flow.OPTIMAL:
        raise SolverError(f"min-cost-flow ended with {status.name} on {problem}, expected OPTIMAL")
    used = flow.flows(arcs[:edges]).astype(np.uint8)
    used[worth == 0] = 0
    return used


def _prices(problem: Problem, worth: np.ndarray, held: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Integer prices of the flow, int64[users]."""
    by_user = np.argsort(problem.user[chosen], kind="stable")
    holder = problem.item_of(chosen)[by_user]
    holder_start = np.zeros(problem.users + 1, np.int64)
    np.cumsum(np.bincount(problem.user[chosen], minlength=problem.users), out=holder_start[1:])
    price = np.zeros(problem.users, np.int64)
    budget = PRICE_PASSES * (problem.edges + problem.items)
    edges = problem.indptr, problem.user, worth, problem.demand
    lowest_prices(*edges, held, holder_start, holder, price, budget)
    return price
