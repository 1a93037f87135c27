"""First come, first served: the paper's sequential store, and the way to fill what an interrupted solver left empty."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .cheap_prices import lowest_held
from .first_come_kernels import take_by_item
from .problem import Problem
from .step import Goal, Step


@dataclass(frozen=True)
class FirstCome:
    """Items in row order (upload order) each take their best users among those with places left, ties by user row.

    No guarantee: late items find the good users gone (0.47 to 0.8 of the optimum on the measured families). One pass,
    O(edges) time, 1 byte an edge of scratch. Takes no start prices; its bound is loose.
    """

    name: ClassVar[str] = "first-come"
    promises: ClassVar[bool] = False

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        """One answer, offered with two sets of prices: the driver keeps the lower bound."""
        held = np.zeros(problem.edges, np.uint8)
        fill(problem, held)
        chosen = np.flatnonzero(held)
        yield Step(chosen, lowest_held(problem, chosen))
        yield Step(chosen, np.zeros(problem.users))


def fill(problem: Problem, held: np.ndarray) -> None:
    """Gives short items, in row order, their best users with places left. Sets held (uint8[edges]) in place."""
    chosen = np.flatnonzero(held)
    item_left = problem.demand - problem.item_load(chosen)
    user_left = problem.capacity - np.bincount(problem.user[chosen], minlength=problem.users)
    take_by_item(problem.indptr, problem.user, problem.score, item_left, user_left, held)
