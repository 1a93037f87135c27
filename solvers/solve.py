"""`solve`: one driver for every solver. It certifies each step, keeps the best, and decides when to stop."""

import difflib
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .allocation import Allocation, Status
from .certificate import certify, check_prices, relative_gap, upper_bound
from .errors import ProblemError, SolverError
from .problem import Problem
from .step import Clock, Goal, Solver, Step

OPTIMAL_GAP = 1e-9
"""A gap this small is rounding in sums of float32 scores: the allocation counts as optimal."""

SOLVERS = {
    "auction": ("auction", "Auction"),
    "min-cost-flow": ("min_cost_flow", "MinCostFlow"),
    "greedy": ("greedy", "Greedy"),
    "first-come": ("first_come", "FirstCome"),
}
"""Name of each solver, its module and its class of options."""


def solve(
    problem: Problem,
    solver: str | Solver = "auction",
    *,
    gap: float = 1e-3,
    time_limit: float | None = None,
    start_prices: np.ndarray | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    throw: bool = False,
) -> Allocation:
    """An allocation of `problem` with its certificate.

    solver        "auction", "min-cost-flow", "greedy", "first-come" or an options object such as `Auction(...)`
    gap           stop once (bound - value) / bound is certified to be at most this
    time_limit    seconds after which the best allocation so far is returned
    start_prices  float64[users] >= 0, as from an earlier `Allocation.user_prices`; a hint that solvers may use. The
                  certificate never trusts them
    on_step       called after each step with a dict: step, value, bound, gap, seconds and what the solver adds (eps)
    throw         raise SolverError with the status sentence where the gap was not certified

    Ctrl-C ends the solve with status `interrupted` and the best allocation so far (KeyboardInterrupt if there is none).
    Raises ProblemError for an unknown solver name, a gap outside 0..1, or prices that are not finite and >= 0.
    """
    chosen_solver = make_solver(solver)
    if not 0 <= gap <= 1:
        raise ProblemError(f"gap is {gap}, expected a number from 0 to 1")
    if start_prices is not None:
        start_prices = check_prices(problem, start_prices)
    goal = Goal(gap, Clock(time_limit), start_prices)
    best = _Best(problem, gap)
    if start_prices is not None:
        best.offer_prices(upper_bound(problem, start_prices), start_prices)
    try:
        for number, step in enumerate(chosen_solver.steps(problem, goal), start=1):
            best.add(step)
            if on_step is not None:
                on_step({"step": number, **step.notes, **best.figures, "seconds": goal.clock.seconds})
            if best.reached or goal.clock.stop:
                break
    except KeyboardInterrupt:
        if best.chosen is None:
            raise
        goal.clock.interrupted = True
    return _answer(best, chosen_solver, goal.clock, throw)


def make_solver(solver: str | Solver) -> Solver:
    """The options object of a name; an options object is returned as it is."""
    if not isinstance(solver, str):
        return solver
    if solver not in SOLVERS:
        nearest = difflib.get_close_matches(solver, SOLVERS, n=1, cutoff=0.0)[0]
        raise ProblemError(f"unknown solver {solver!r}: did you mean {nearest!r}? There are {', '.join(SOLVERS)}")
    module, options = SOLVERS[solver]
    made: Solver = getattr(importlib.import_module(f".{module}", __package__), options)()
    return made


class _Best:
    """The best chosen edges and the best prices so far; they may come from different steps."""

    def __init__(self, problem: Problem, gap: float) -> None:
        self.problem, self.asked = problem, max(gap, OPTIMAL_GAP)
        self.chosen: np.ndarray | None = None
        self.prices: np.ndarray | None = None
        self.value, self.bound = -1.0, np.inf

    def add(self, step: Step) -> None:
        certificate = certify(self.problem, step.chosen, step.prices)
        if certificate.value > self.value:
            self.value, self.chosen = certificate.value, step.chosen
        self.offer_prices(certificate.bound, step.prices)

    def offer_prices(self, bound: float, prices: np.ndarray) -> None:
        if bound < self.bound:
            self.bound, self.prices = bound, prices

    @property
    def gap(self) -> float:
        return relative_gap(self.value, self.bound)

    @property
    def reached(self) -> bool:
        return self.gap <= self.asked

    @property
    def figures(self) -> dict[str, float]:
        return {"value": self.value, "bound": self.bound, "gap": self.gap}


def _answer(best: _Best, solver: Solver, clock: Clock, throw: bool) -> Allocation:
    if best.chosen is None or best.prices is None:
        raise SolverError(f"{solver.name} gave no allocation")
    status = _status(best, solver, clock)
    if throw and not best.reached:
        raise SolverError(f"{solver.name}: {status.sentence} The gap is {best.gap:.2e}, asked for {best.asked:.2e}.")
    return Allocation(best.problem, best.chosen, best.prices, solver.name, status, best.bound, clock.seconds)


def _status(best: _Best, solver: Solver, clock: Clock) -> Status:
    if best.gap <= OPTIMAL_GAP:
        return Status.OPTIMAL
    if best.reached:
        return Status.WITHIN_GAP
    if clock.interrupted:
        return Status.INTERRUPTED
    if clock.out_of_time:
        return Status.TIME_LIMIT
    return Status.STEP_LIMIT if solver.promises else Status.FEASIBLE
