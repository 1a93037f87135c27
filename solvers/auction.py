"""The auction: items bid for the places of users, at prices that end up as the certificate."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from .block_run import BlockRun
from .limited_auction import limited_steps
from .problem import Problem
from .scaled_auction import scaled_steps
from .step import Goal, Step
from .workers import Workers

USUAL_GAP, USUAL_EPS, POWER = 1.2e-3, 0.1, 0.75
"""On the measured families an eps of 0.1 of the mean score ends at gaps of 4e-4 to 1e-3, and gap ~ eps^(1 / POWER)."""

SMALLEST_FIRST_EPS = 0.02
"""Share of the mean score with which even an exact solve begins."""

LEAST_EPS = 3e-5
"""Below this share of the mean score the auction with eps-scaling takes over."""


@dataclass(frozen=True)
class Auction:
    """Bertsekas' transportation auction; the default solver.

    An item bids for all its missing places at once: for the users of largest score - price, up to the price at which
    the next best user would do as well. A user keeps its best Q bids; its price is the lowest of them once it is full,
    0 before. A bid that displaces another raises it by eps more, which loses at most eps a match: at the end
    value >= optimum - eps * matches. Blocks of up to 8,192 items bid at the same prices on all threads, then users
    choose, which gives the same allocation, byte for byte, on any number of threads. Items with identical rows bid as
    one. The first eps follows from the gap asked for; the next steps start from zero prices with a smaller one. At last,
    or after `passes` reads of all edges (many almost equal scores and few places: a price war takes score range / eps
    rounds), the auction goes on in float64 on one thread with eps-scaling and reverse rounds.

    Guarantees any gap above rounding (about 1e-9): eps shrinks until it is certified. Time is 2 reads of the edges where
    capacities bind softly, 5 to 10 where demand is 99 % of supply. Memory with the problem (8 bytes an edge): 1 bit an
    edge, 8 bytes a place, 8 a match, 768 an item (short lists, so that bidding again does not re-read the row). The last
    resort takes 17 to 34 bytes an edge more. Problems with floors or (user, creator) limits: see `limited_steps`.
    From an earlier answer (`start=`) the first step keeps the matches that are still right at its prices and repairs the
    rest; if that does not reach the gap, the auction starts from zero prices as if it had none. Prices alone only give
    a bound. Stops short only at `max_steps`: then ask for a wider gap.

    first_eps    largest eps of the first step, as a share of the mean positive score; with limits: its eps
    shrink       factor from one step's eps to the next
    max_steps    most steps after the first
    passes       most reads of all edges before the last resort; not used with limits
    warm_passes  most reads of all edges by bids from an earlier answer's prices; not used with limits
    threads      in place of those given to `solve`, 0: as many; with limits there is one

    Source: Bertsekas and Castanon, "The auction algorithm for the transportation problem" (1989) and "A forward/reverse
    auction algorithm for asymmetric assignment problems" (1992).
    """

    first_eps: float = 0.1
    shrink: float = 0.2
    max_steps: int = 30
    passes: float = 60.0
    warm_passes: float = 10.0
    threads: int = 0

    name: ClassVar[str] = "auction"
    promises: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive = self.first_eps > 0 and self.passes > 0 and self.warm_passes > 0
        if not (positive and 0 < self.shrink < 1 and self.max_steps >= 0 and _is_count(self.threads)):
            raise ValueError(
                f"{self}: expected first_eps > 0, passes > 0, warm_passes > 0, 0 < shrink < 1, "
                "max_steps >= 0, threads a whole number >= 0"
            )

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        """Answers for smaller and smaller eps, and now and then how far a long one has come."""
        if problem.group is not None or problem.floor is not None:
            yield from limited_steps(problem, goal, self)
            return
        run = BlockRun(problem, goal.clock, Workers(self.threads or goal.threads))
        share = min(self.first_eps, max(USUAL_EPS * (goal.gap / USUAL_GAP) ** POWER, SMALLEST_FIRST_EPS))
        if goal.start_prices is not None and goal.start_chosen is not None:
            yield from run.warm(goal.start_prices, goal.start_chosen, share, self.warm_passes)
            if goal.clock.stop:
                return
        budget = self.passes
        for step in range(self.max_steps + 1):
            yield from run.cold(share, budget)
            share, budget = share * self.shrink, budget - run.passes
            if goal.clock.stop:
                return
            if budget <= 0 or share < LEAST_EPS or run.finest_eps(share) >= run.eps:
                run.forget()
                left = self.max_steps - step - 1
                yield from scaled_steps(problem, goal, run.prices, run.eps * self.shrink, self.shrink, left)
                return


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0
