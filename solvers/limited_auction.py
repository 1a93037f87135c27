"""The auction where items have floors or users take only so much of one creator; `Auction` calls it for these."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from .first_come import fill
from .floors import floors_to_meet, serve_floors
from .limited_auction_round import LimitedRound, limited_rows
from .min_cost_flow import MinCostFlow
from .network_flow import open_scores
from .problem import Problem
from .step import Goal, Step

BACK_OFF = 3.0
"""Each step starts from the costs of the last less so many of its eps: low enough that users seldom stay too dear."""

MOST_PASSES = 300
"""Reads of all edges after which min-cost flow takes over: about as much work as that."""

MOST_READS = 20_000_000
"""Edges that may be read before that however small the problem is, about 0.2 seconds."""

TRIES = 4
"""Rounds of a step from costs a little below the last; the next starts from zero."""

FLOW_EDGES, FLOW_SECONDS = 50_000_000, 2e-5
"""Min-cost flow is left out above so many edges (100 bytes each) or with less time left than this an edge."""


class EpsScale(Protocol):
    """What of `Auction`'s options counts here: eps of the first step, as a share of the mean score, and the next."""

    @property
    def first_eps(self) -> float:
        """Eps of the first step, as a share of the mean positive score."""
        ...

    @property
    def shrink(self) -> float:
        """Factor from one step's eps to the next."""
        ...

    @property
    def max_steps(self) -> int:
        """Most steps after the first."""
        ...


def limited_steps(problem: Problem, goal: Goal, options: EpsScale) -> Iterator[Step]:
    """One answer for each eps, smaller and smaller, that meets as many floor places as can be met; the last is exact.

    The forward auction of `Auction` with two more rules. An item below its floor bids for the users it needs even at a
    loss; the floors are those of `floors_to_meet`, which can all be met, so prices stay finite. A bid for an edge whose
    (user, creator) group is full displaces one of that group. At the end of a step value >= optimum - eps * matches.

    The first step starts from zero costs (or the given prices), later ones a little below the costs of the last; where
    users or groups with free places then still cost something, the step is done again from lower costs, at last from
    zero. Price wars, as many equal items with floors start them, cost (score range / eps) reads: past `MOST_PASSES` (past
    a tenth where not all floors can be met, so that items fight for every place) the exact min-cost flow ends the
    matter, unless it is too large or too slow for the time left. One thread. 10 bytes an edge with the problem (12 with
    float16 scores, which are copied as float32), 4 more with groups, 32 a place; min-cost flow 100 an edge.
    """
    house = _House(problem, goal)
    eps, costs = options.first_eps * house.mean_score, (np.zeros(problem.users), np.zeros(problem.groups))
    if goal.start_prices is not None:
        costs = np.maximum(0.0, goal.start_prices - BACK_OFF * eps), costs[1]
    for _ in range(options.max_steps + 1):
        if eps < house.least_eps:
            break
        bids = house.bid(costs, eps)
        if bids.unfinished and not goal.clock.stop:
            yield MinCostFlow().step(problem, house.least)
            return
        yield house.step(bids, eps)
        if goal.clock.stop:
            return
        costs = bids.costs_below(BACK_OFF * eps)
        eps *= options.shrink
    if house.flow_fits:
        yield MinCostFlow().step(problem, house.least)


class _House:
    """The rows of a problem, the scale of its scores, and how many edges were read."""

    def __init__(self, problem: Problem, goal: Goal) -> None:
        self.problem, self.clock, self.read = problem, goal.clock, 0
        self.least = floors_to_meet(problem, best_shares=self.flow_fits)
        contested = problem.floor is not None and bool((self.least < problem.floor).any())
        self.most = max(MOST_PASSES * (problem.edges + problem.items) // (10 if contested else 1), MOST_READS)
        self.rows = limited_rows(problem, self.least)
        score = open_scores(problem)
        positive = int(np.count_nonzero(score))
        self.mean_score = float(score.sum(dtype=np.float64)) / positive if positive else 1.0
        self.least_eps = 4.0 * float(np.spacing(np.float64(score.max(initial=0.0))))

    @property
    def flow_fits(self) -> bool:
        """Whether there is memory and time for min-cost flow."""
        left = self.clock.left
        return self.problem.edges <= FLOW_EDGES and (left is None or left > FLOW_SECONDS * self.problem.edges)

    def bid(self, costs: tuple[np.ndarray, np.ndarray], eps: float) -> LimitedRound:
        """A round from these costs, or from lower ones where those leave free places too dear.

        Unfinished where the clock says stop, or where so much was read that min-cost flow should take over and can.
        """
        for tries in range(TRIES + 1):
            bids = LimitedRound(self.rows, *costs)
            if self.flow_fits:
                self.read += bids.run(eps, self.clock, self.most - self.read)
            if not (bids.unfinished and self.flow_fits):  # while it ran, the time for min-cost flow may have passed
                bids.run(eps, self.clock, np.inf)
            if bids.unfinished or bids.too_dear(self.problem) <= 0.1 * eps * bids.state.load.sum():
                break
            zero = np.zeros(self.problem.users), np.zeros(self.problem.groups)
            costs = bids.costs_below(BACK_OFF * eps) if tries < TRIES - 1 else zero
        return bids

    def step(self, bids: LimitedRound, eps: float) -> Step:
        """The round's answer; one that the clock stopped gets its floors met and its free places filled."""
        held = bids.state.held
        if bids.unfinished:
            serve_floors(self.problem, self.least, held)
            fill(self.problem, held)
        prices, group_prices = bids.prices(self.problem)
        return Step(np.flatnonzero(held), prices, {"eps": eps}, group_prices)
