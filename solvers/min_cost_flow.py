"""Min-cost flow by OR-Tools behind a validating wrapper: the exact solver, and the bar for the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .cheap_prices import certificate_prices
from .floors import floors_to_meet
from .min_cost_flow_kernels import keep_worth, lowest_prices
from .network_flow import best_flow, flow_scale, integer_worth
from .problem import Problem
from .step import Goal, Step

PRICE_PASSES = 1000
"""Reads of all edges after which price recovery stops; measured instances need under 20."""


@dataclass(frozen=True)
class MinCostFlow:
    """OR-Tools' SimpleMinCostFlow on integer scores: optimal up to half a unit of the scale an edge.

    Items supply what they want, users pass on what they take, and an arc around all users (worth 0) lets an item stay
    short. Each (user, creator) limit is a node before its user; a floor narrows the arc around. Where not all floors
    can be met, the floors missed are as few as can be, and the score is the highest with so few (see `floors.py`).
    Scores are multiplied by a power of two and rounded; the largest becomes at most 2^`score_bits`, less where
    the number of nodes could overflow 64-bit arithmetic (from about a million nodes). float32 scores within 2^16 of
    the largest are then exact.

    About 2 us and 100 bytes an edge, and no way to stop it early: the time limit is only seen when it is done. Takes no
    start prices. Its prices are the lowest that certify the flow, found by shortest paths in the residual graph.

    score_bits  bits of the largest integer score, 1 to 60

    Source: Goldberg, "An efficient implementation of a scaling minimum-cost flow algorithm" (1997).
    """

    score_bits: int = 40

    name: ClassVar[str] = "min-cost-flow"
    promises: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 1 <= self.score_bits <= 60:
            raise ValueError(f"{self}: expected score_bits from 1 to 60")

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        """One answer."""
        yield self.step(problem, floors_to_meet(problem))

    def step(self, problem: Problem, least: np.ndarray) -> Step:
        """The optimum in which each item has at least `least` users (int32[items], floors that can all be met)."""
        scale = self.scale(problem)
        worth = integer_worth(problem, scale)
        held = best_flow(problem, worth, least)
        keep_worth(held, worth, problem.indptr, least)
        chosen = np.flatnonzero(held)
        price, cost = _prices(problem, worth, held, chosen)
        prices, group_prices = certificate_prices(problem, price / scale, cost / scale)
        return Step(chosen, prices, group_prices=group_prices)

    def scale(self, problem: Problem) -> float:
        """The power of two that scores are multiplied by."""
        return flow_scale(problem, self.score_bits)


def _prices(problem: Problem, worth: np.ndarray, held: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integer prices of the flow, int64[users], and what an edge of each group costs, int64[groups]."""
    by_user = np.argsort(problem.user[chosen], kind="stable")
    holder = problem.item_of(chosen)[by_user]
    holder_start = np.zeros(problem.users + 1, np.int64)
    np.cumsum(np.bincount(problem.user[chosen], minlength=problem.users), out=holder_start[1:])
    group, full = np.zeros(0, np.int32), np.zeros(0, np.uint8)
    if problem.group is not None and problem.group_limit is not None:
        inside = problem.group[chosen]
        load = np.bincount(inside[inside >= 0], minlength=problem.groups)
        group, full = problem.group, (load >= problem.group_limit).astype(np.uint8)
    price, cost = np.zeros(problem.users, np.int64), np.zeros(problem.groups, np.int64)
    budget = PRICE_PASSES * (problem.edges + problem.items)
    edges = problem.indptr, problem.user, worth, problem.demand, group, full
    lowest_prices(*edges, held, holder_start, holder, price, cost, budget)
    return price, cost
