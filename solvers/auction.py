"""The auction: items bid for the places of users, at prices that end up as the certificate."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from .auction_kernels import Rows
from .auction_round import Round, rows_by_item, rows_by_user
from .cheap_prices import closed_user_prices
from .first_come import fill
from .problem import Problem
from .step import Clock, Goal, Step


@dataclass(frozen=True)
class Auction:
    """Bertsekas' transportation auction with eps-scaling, forward and reverse; the default solver.

    An item bids for all its missing places at once: for the users of largest score - price, up to the price at which
    the next best user would do as well. A user keeps its best Q bids; its price is the lowest of them once it is full,
    0 before. A bid that displaces another raises it by eps more, which loses at most eps a match. From zero prices
    that is all (step 1). If the gap is not reached, the next step bids again from the prices found with a smaller eps;
    users whose start price was too high end up with free places, and a reverse round, in which users bid for items,
    brings their prices down. At the end of each step value >= optimum - eps * matches.

    Guarantees any gap above rounding (about 1e-9): eps shrinks until it is certified. Deterministic, one thread. Time
    is 4 to 8 reads of the edges where capacities bind softly, and grows with (score range / eps) where many equal items
    fight for the same users. Memory: 9 bytes an edge with the problem, 16 a place, 256 an item (short lists), and 17 an
    edge more from step 2 on.
    Start prices make step 1 cheaper and better the nearer they are; if the work exceeds `warm_passes`, the auction
    starts from zero as if it had none. Stops short only at `max_steps`: then ask for a wider gap.

    first_eps    eps of the first step from zero prices, as a share of the mean positive score
    warm_eps     the same from given prices
    shrink       factor from one step's eps to the next
    max_steps    most steps after the first
    warm_passes  most reads of all edges that starting from given prices may cost

    Source: Bertsekas and Castanon, "The auction algorithm for the transportation problem" (1989) and "A forward/reverse
    auction algorithm for asymmetric assignment problems" (1992).
    """

    first_eps: float = 0.1
    warm_eps: float = 0.02
    shrink: float = 0.2
    max_steps: int = 30
    warm_passes: float = 40.0

    name: ClassVar[str] = "auction"
    promises: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (self.first_eps > 0 and self.warm_eps > 0 and 0 < self.shrink < 1 and self.max_steps >= 0):
            raise ValueError(f"{self}: expected first_eps > 0, warm_eps > 0, shrink between 0 and 1, max_steps >= 0")

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        """One answer for each eps, smaller and smaller."""
        house = _House(problem, goal.clock)
        if goal.start_prices is not None:
            budget = self.warm_passes * (problem.edges + problem.items)
            yield from self._scale(house, goal.start_prices, self.warm_eps, budget)
        yield from self._scale(house, house.closed, self.first_eps, np.inf)

    def _scale(self, house: "_House", prices: np.ndarray, first_eps: float, budget: float) -> Iterator[Step]:
        eps = first_eps * house.mean_score
        for _ in range(self.max_steps + 1):
            if eps < house.least_eps:
                return
            held, prices, read = house.step(prices, eps, budget)
            budget -= read
            if budget <= 0 and not house.clock.stop:
                return
            yield Step(np.flatnonzero(held), prices, {"eps": eps})
            if house.clock.stop:
                return
            eps *= self.shrink


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
