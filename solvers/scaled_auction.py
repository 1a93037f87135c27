"""The auction with eps-scaling, forward and reverse, in float64 on one thread: for gaps the block auction cannot reach."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from .auction_kernels import Rows
from .auction_round import Round, rows_by_item, rows_by_user
from .cheap_prices import closed_user_prices
from .first_come import fill
from .problem import Problem
from .step import Clock, Goal, Step

WARM_PASSES = 40.0
"""Most reads of all edges that starting from given prices may cost."""


def scaled_steps(
    problem: Problem, goal: Goal, prices: np.ndarray, eps: float, shrink: float, most: int
) -> Iterator[Step]:
    """Answers for smaller and smaller eps: first from these prices, then from zero if that costs too much.

    The next step bids again from the prices found with a smaller eps; users whose start price was too high end up with
    free places, and a reverse round, in which users bid for items, brings their prices down. At the end of each step
    value >= optimum - eps * matches, so any gap above rounding is reached. `shrink`: from one step's eps to the next;
    `most`: steps of either. 26 bytes an edge with the problem, 16 a place, 256 an item.
    """
    house = _House(problem, goal.clock)
    yield from _scale(house, prices, eps, WARM_PASSES * (problem.edges + problem.items), shrink, most)
    if not goal.clock.stop:
        yield from _scale(house, house.closed, max(eps, 0.1 * house.mean_score), np.inf, shrink, most)


def _scale(house: "_House", prices: np.ndarray, eps: float, budget: float, shrink: float, most: int) -> Iterator[Step]:
    for _ in range(most + 1):
        if eps < house.least_eps:
            return
        held, prices, read = house.step(prices, eps, budget)
        budget -= read
        if budget <= 0 and not house.clock.stop:
            return
        yield Step(np.flatnonzero(held), prices, {"eps": eps})
        if house.clock.stop:
            return
        eps *= shrink


@dataclass(eq=False)
class _House:
    """The rows of a problem for both directions and the scales of its scores."""

    problem: Problem
    clock: Clock
    mean_score: float = field(init=False)
    least_eps: float = field(init=False)
    closed: np.ndarray = field(init=False)
    _by_user: tuple[Rows, np.ndarray] | None = None

    def __post_init__(self) -> None:
        score = self.problem.reachable_scores()
        positive = int(np.count_nonzero(score))
        self.mean_score = float(score.sum(dtype=np.float64)) / positive if positive else 1.0
        self.least_eps = 4.0 * float(np.spacing(np.float64(score.max(initial=0.0))))
        self.closed = closed_user_prices(self.problem)

    def step(self, prices: np.ndarray, eps: float, budget: float) -> tuple[np.ndarray, np.ndarray, float]:
        """A forward round from `prices`, then a reverse round if needed: held edges, user prices, edges read."""
        forward = Round(rows_by_item(self.problem), prices)
        forward.call(np.flatnonzero((self.problem.demand > 0) & (np.diff(self.problem.indptr) > 0)))
        read = forward.run(eps, self.clock, budget)
        held, price = forward.state.held, np.where(self.problem.capacity > 0, forward.state.price, self.closed)
        if forward.unfinished:
            if self.clock.stop:
                fill(self.problem, held)
            return held, price, read
        load = np.bincount(self.problem.user[held == 1], minlength=self.problem.users)
        too_dear = np.flatnonzero((load < self.problem.capacity) & (price > 0))
        if too_dear.size:
            price, more = self._reverse(held, price, too_dear, eps, budget - read)
            read += more
        return held, price, read

    def _reverse(
        self, held: np.ndarray, price: np.ndarray, too_dear: np.ndarray, eps: float, budget: float
    ) -> tuple[np.ndarray, float]:
        """Users with free places at a price bid for items until their places are taken or free of charge.

        Changes `held` in place; returns the new prices and the edges read.
        """
        if self._by_user is None:
            self._by_user = rows_by_user(self.problem)
        rows, edge = self._by_user
        reverse = Round(rows, np.zeros(self.problem.items))
        reverse.seat(held[edge], price)
        reverse.call(too_dear)
        read = reverse.run(eps, self.clock, budget)
        held[edge] = reverse.state.held
        return (price if reverse.unfinished else reverse.bidder_prices()), read
