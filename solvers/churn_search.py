"""The search behind `solve_near`: charges on new matches.

With K changes allowed, any charge c >= 0 on each new match and any prices p,

    D(p; scores less c where the match is new) + c K

bounds what is possible, by Lagrangian duality. So the problem is solved again and again with another charge, each time
where the lines of a solution with too many changes and of one with few enough cross. What has too many changes gives up
its lowest new matches; what has changes left spends them by exchanges (see local.py).

Source: Handler and Zang, "A dual algorithm for the constrained shortest path problem" (1980).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .allocation import Allocation, Status
from .best import OPTIMAL_GAP, floors_met, worth
from .certificate import relative_gap, total_score, upper_bound
from .churn_kernels import charge
from .local import Search
from .near_allocation import NearAllocation
from .problem import Problem
from .solve import solve
from .start import taken_in_order, within_limits
from .step import Clock, Solver

ROUNDS = 25
"""Most charges tried."""

PASSES = 5
"""Most passes of exchanges at one charge."""


@dataclass(frozen=True, eq=False)
class _Point:
    """The answer at one charge: its value without the charge, and how many of its matches are new."""

    penalty: float
    value: float
    changed: int


@dataclass(eq=False)
class ChurnSearch:
    """The search over charges: the best allocation within the limit and the lowest bound so far.

    before   int64, edges that the earlier allocation chose, ascending
    most     how many other edges may be chosen
    asked    the gap to reach
    chosen   int64[matches], the best allocation within the limit
    bound    the lowest bound, with its `penalty` and the answer `bounding` whose prices give it
    first    the answer without a charge, and `last`, the latest
    """

    problem: Problem
    before: np.ndarray
    most: int
    solver: str | Solver
    asked: float
    clock: Clock
    on_step: Callable[[dict[str, Any]], None] | None = None
    threads: int = 0
    bound: float = field(init=False, default=np.inf)
    penalty: float = field(init=False, default=0.0)
    first: Allocation | None = field(init=False, default=None)
    last: Allocation | None = field(init=False, default=None)
    bounding: Allocation | None = field(init=False, default=None)
    history: list[dict[str, Any]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.fresh = np.ones(self.problem.edges, np.uint8)
        self.fresh[self.before] = 0
        self.chosen = within_limits(self.problem, self.before)

    def run(self, start: Allocation | None) -> None:
        """Tries charges until the gap is reached, the lines cross where they did, or the clock says stop."""
        high = _Point(np.inf, total_score(self.problem, self.chosen), 0)
        low = self.try_charge(0.0, start)
        while low.changed > self.most and not self.done and len(self.history) < ROUNDS:
            penalty = self._highest if self.most == 0 and high.penalty == np.inf else _crossing(low, high)
            if penalty is None:
                break
            point = self.try_charge(penalty)
            low, high = (point, high) if point.changed > self.most else (low, point)
        if low.changed > self.most:
            self.spend()

    def try_charge(self, penalty: float, start: Allocation | None = None) -> _Point:
        """Solves with new matches charged, and keeps what is better than before."""
        charged = self.charged(penalty)
        prices = None if self.last is None else self.last.user_prices
        begin: dict[str, Any] = {"start": start, "start_prices": prices, "threads": self.threads}
        self.last = solve(charged, self.solver, gap=self.asked / 4, time_limit=self.clock.left, **begin)
        self.first = self.first or self.last
        self.clock.interrupted |= self.last.status is Status.INTERRUPTED
        bound = self.last.bound + penalty * self.most
        if bound < self.bound:
            self.bound, self.penalty, self.bounding = bound, penalty, self.last
        point = _Point(penalty, total_score(self.problem, self.last.chosen), self.changes(self.last.chosen))
        self.offer(self.last.chosen if point.changed <= self.most else self.trimmed(self.last.chosen))
        self.tell(penalty)
        return point

    def charged(self, penalty: float) -> Problem:
        """The problem with new matches charged."""
        if penalty == 0.0:
            return self.problem
        score = np.empty(self.problem.edges, np.float32)
        charge(self.problem.score32(), self.fresh, penalty, score)
        score.setflags(write=False)
        return replace(self.problem, score=score)

    def changes(self, chosen: np.ndarray) -> int:
        """How many of these matches are new."""
        return int(self.fresh[chosen].sum(dtype=np.int64))

    def trimmed(self, chosen: np.ndarray) -> np.ndarray:
        """The matches without the lowest new ones over the limit, and earlier ones where that leaves places."""
        new = chosen[self.fresh[chosen] == 1]
        new = new[np.argsort(-self.problem.score[new], kind="stable")][: self.most]
        known = chosen[self.fresh[chosen] == 0]
        others = within_limits(self.problem, np.setdiff1d(self.before, known, assume_unique=True))
        edge = np.concatenate([known, new, others])
        rank = np.repeat([0, 1, 2], [known.size, new.size, others.size])
        by_edge = np.argsort(edge)
        edge, rank = edge[by_edge], rank[by_edge]
        return taken_in_order(self.problem, edge, np.lexsort((-self.problem.score[edge], rank)))

    def spend(self) -> None:
        """Exchanges on the best allocation within its changes left: first charged, then less and less.

        Where the gap is reached already, only changes that are left are spent.
        """
        if self.gap <= OPTIMAL_GAP or (self.done and self.changes(self.chosen) == self.most):
            return
        for penalty in (0.0,) if self.done else (self.penalty, self.penalty / 8, 0.0):
            search = Search(self.charged(penalty), self.chosen, self.fresh, self.most - self.changes(self.chosen))
            for _ in range(PASSES):
                if self.clock.stop or search.run(self.clock)[0] == 0:
                    break
            self.offer(search.chosen)
        self.tell(self.penalty)

    def offer(self, chosen: np.ndarray) -> None:
        """Takes over an allocation within the limit if it is better."""
        if worth(self.problem, chosen) > worth(self.problem, self.chosen):
            self.chosen = chosen

    def tell(self, penalty: float) -> None:
        """A step for the history and for `on_step`."""
        figures = {"value": total_score(self.problem, self.chosen), "bound": self.bound, "gap": self.gap}
        counts = {"matches": self.chosen.size, "changed": self.changes(self.chosen)}
        head = {"step": len(self.history) + 1, "solver": "" if self.last is None else self.last.solver}
        step = {**head, "penalty": penalty, **figures, **counts, "seconds": self.clock.seconds}
        self.history.append(step)
        if self.on_step is not None:
            self.on_step(step)

    @property
    def gap(self) -> float:
        """(bound - value) / bound under the limit on changes."""
        return relative_gap(total_score(self.problem, self.chosen), self.bound)

    @property
    def done(self) -> bool:
        """Whether the gap is reached or the clock says stop."""
        return self.gap <= max(self.asked, OPTIMAL_GAP) or self.clock.stop

    @property
    def status(self) -> Status:
        """Why the search ended."""
        return self._status(self.gap)

    def _status(self, gap: float) -> Status:
        if gap <= OPTIMAL_GAP:
            return Status.OPTIMAL
        if gap <= self.asked:
            return Status.WITHIN_GAP
        if self.clock.interrupted:
            return Status.INTERRUPTED
        return Status.TIME_LIMIT if self.clock.out_of_time else Status.FEASIBLE

    @property
    def _highest(self) -> float:
        return float(self.problem.score.max(initial=0.0))

    def answer(self, gone: int) -> NearAllocation:
        """What was found; `gone` earlier matches are candidates no more."""
        assert self.first is not None and self.bounding is not None
        changed, seconds = self.changes(self.chosen), self.clock.seconds
        bound = self.first.bound
        if self.problem.floor is not None:  # bounds so far are for the floor places that other allocations fill
            bound = self._bound(self.first, 0.0)
            self.bound = self._bound(self.bounding, self.penalty)
            self.bound, self.penalty = min((self.bound, self.penalty), (bound, 0.0))
        gap = relative_gap(total_score(self.problem, self.chosen), bound)
        found = replace(self.first, problem=self.problem, chosen=self.chosen, bound=bound, seconds=seconds)
        kept = self.chosen.size - changed
        return NearAllocation(
            allocation=replace(found, status=self._status(gap), history=tuple(self.history)),
            most_changes=self.most,
            changed=changed,
            kept=kept,
            dropped=self.before.size - kept,
            gone=gone,
            bound=self.bound,
            penalty=self.penalty,
            status=self.status,
            seconds=seconds,
            history=tuple(self.history),
        )

    def _bound(self, solved: Allocation, penalty: float) -> float:
        """The bound by an answer's prices for allocations that fill the floor places that the best one fills."""
        least = floors_met(self.problem, self.chosen)
        problem, prices = self.charged(penalty), solved.user_prices
        return upper_bound(problem, prices, group_prices=solved.group_prices, least=least) + penalty * self.most


def _crossing(low: _Point, high: _Point) -> float | None:
    """The charge at which two answers are worth the same, or one between theirs; None where there is none left."""
    penalty = (low.value - high.value) / (low.changed - high.changed)
    if low.penalty < penalty < high.penalty and not np.isclose(penalty, [low.penalty, high.penalty], atol=0).any():
        return penalty
    if np.isinf(high.penalty) or np.isclose(penalty, [low.penalty, high.penalty], rtol=1e-4, atol=0).any():
        return None
    return (low.penalty + high.penalty) / 2 if high.penalty - low.penalty > 1e-6 * high.penalty else None
