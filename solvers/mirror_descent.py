"""Dual mirror descent: items arrive one by one, and prices learn from every one of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .cheap_prices import lowest_held, lowest_held_groups
from .first_come import fill
from .mirror_descent_kernels import descend
from .places_left import group_arrays, places_left
from .problem import Problem
from .reachable import reachable
from .step import Goal, Step


@dataclass(frozen=True)
class MirrorDescent:
    """A peer from a paper: items in row order take their best users by score - price > 0 among those with places left.

    After each item the price of user u goes by one step of dual descent towards rho_u = capacity / items matches an item:
    price <- max(0, price + step_u x (taken - rho_u)). The mirror map is the weighted square (additive steps; multiplicative
    ones cannot leave a price of 0), step_u = rate x mean score / sqrt(capacity).

    Where items are drawn independently from one distribution, and capacities grow with their number T, the value falls
    short of the optimum by O(sqrt T) in the mean (Theorem 1), so the share that is lost goes to 0. Nothing is promised for
    other orders than a random one.

    What differs from the paper: an item takes a set of users at once; one that meets a full user takes the next best
    instead of nothing; the number of items and the mean score are known beforehand; prices start from `start_prices` where
    the solve has them, else from 0; with `top_up` short items take, once all have arrived, users with places left, first
    come, first served. Keeps (user, creator) limits, for which there are no prices, and ignores floors.

    rate    of a user's step, as above; 0: prices never move
    top_up  False: what the prices kept back stays free, as online it must

    One pass, O(edges) time, 1 byte an edge of scratch and 32 a user; `top_up` is another. Its user prices are the means
    over all items, whose bound is that of the paper's proof, or the lowest score that each full user holds.

    Source: Balseiro, Lu, Mirrokni, "Dual Mirror Descent for Online Allocation Problems", ICML 2020, Algorithm 1.
    """

    rate: float = 2.0
    top_up: bool = True

    name: ClassVar[str] = "mirror-descent"
    promises: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.rate < np.inf:
            raise ValueError(f"{self}: expected a finite rate >= 0")

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        """One answer, offered with two sets of prices: the driver keeps the lower bound."""
        held, capacity = np.zeros(problem.edges, np.uint8), problem.capacity.astype(np.float64)
        step = self.rate * reachable(problem).score / np.sqrt(np.maximum(capacity, 1.0))
        line = np.zeros((problem.users, 4))
        line[:, 0] = 0.0 if goal.start_prices is None else goal.start_prices
        line[:, 1] = step * np.minimum(capacity / max(problem.items, 1), 1.0)
        edges = problem.indptr, problem.user, problem.score32(), group_arrays(problem)[0]
        descend(*edges, step, line, *places_left(problem, held), held)
        if self.top_up:
            fill(problem, held)
        chosen = np.flatnonzero(held)
        prices = lowest_held(problem, chosen)
        yield Step(chosen, prices, group_prices=lowest_held_groups(problem, chosen, prices))
        yield Step(chosen, np.maximum(line[:, 2] / max(problem.items, 1), 0.0))
