"""`solve`: one driver for every solver. It certifies each step, keeps the best, and decides when to stop."""

import difflib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from .allocation import Allocation, Status
from .best import OPTIMAL_GAP, Best
from .certificate import check_prices
from .errors import ProblemError, SolverError
from .interrupt import interruptible
from .problem import Problem
from .start import Start, start_from
from .step import Clock, Goal, Solver, Step
from .threads import cores

SOLVERS = {
    "auction": ("auction", "Auction"),
    "min-cost-flow": ("min_cost_flow", "MinCostFlow"),
    "lp": ("lp", "Lp"),
    "pdlp": ("lp", "pdlp"),
    "greedy": ("greedy", "Greedy"),
    "first-come": ("first_come", "FirstCome"),
    "local": ("local", "Local"),
    "fair-rec": ("fair_rec", "FairRec"),
    "max-min": ("max_min", "MaxMin"),
    "mirror-descent": ("mirror_descent", "MirrorDescent"),
    "device-auction": ("device_auction", "DeviceAuction"),
}
"""Name of each solver, its module and what makes its options there."""


def solve(
    problem: Problem,
    solver: str | Solver = "auction",
    *,
    gap: float = 1e-3,
    time_limit: float | None = None,
    start: Allocation | None = None,
    start_prices: np.ndarray | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    threads: int = 0,
    throw: bool = False,
) -> Allocation:
    """An allocation of `problem` with its certificate.

    solver        name of a solver (see SOLVERS) or an options object such as `Auction(...)`
    gap           stop once (bound - value) / bound is certified to be at most this
    time_limit    seconds after which the best allocation so far is returned
    start         an earlier Allocation, of this problem or of one with some of the same ids. Its matches that are still
                  possible and its prices are certified as step 1; the solve ends there if they reach the gap
    start_prices  float64[users] >= 0, in place of the prices of `start`; a hint that solvers may use. The certificate
                  never trusts them
    on_step       called after each step with a dict: step, solver, value, bound, gap, matches (the best so far),
                  seconds, and what the solver adds (such as eps). The answer keeps them as `history`
    threads       most threads to use, 0: all cores. The answer does not depend on it
    throw         raise SolverError with the status sentence where the gap was not certified

    Ctrl-C ends the solve with status `interrupted` and the best allocation so far: solvers hand it back as they do at a
    time limit. A second Ctrl-C does not wait for them (KeyboardInterrupt if there is no allocation yet).
    Raises ProblemError for an unknown solver name, a gap outside 0..1, a time limit or threads below 0, a start that is no
    Allocation, or prices that are not finite and >= 0; SolverError where a solver has no answer.
    """
    chosen_solver = make_solver(solver)
    check_asked(problem, gap, time_limit, threads)
    threads = threads or cores()
    clock, best, history = Clock(time_limit), Best(problem, gap, threads), []
    begin, goal = _where_to_start(problem, gap, clock, start, start_prices)
    goal = replace(goal, threads=threads)
    try:
        with interruptible(clock):
            if start_prices is not None and goal.start_prices is not None:
                best.add_prices(goal.start_prices)
            for number, step in enumerate(_steps(chosen_solver, problem, goal, begin), start=1):
                best.add(step)
                told = {"step": number, "solver": chosen_solver.name, **step.notes, **best.figures}
                history.append(told | {"seconds": clock.seconds})
                if on_step is not None:
                    on_step(history[-1])
                if best.reached or clock.stop:
                    break
    except KeyboardInterrupt:
        clock.interrupted = True
    return _answer(best, chosen_solver, clock, tuple(history), throw)


def check_asked(problem: Problem, gap: float, time_limit: float | None, threads: int) -> None:
    """Raises ProblemError for what no solve can be asked."""
    if not isinstance(problem, Problem):
        raise ProblemError(f"problem is {type(problem).__name__}, expected a Problem, as Problem.from_edges makes it")
    check_limits(gap, time_limit)
    if not (isinstance(threads, Integral) and threads >= 0):
        raise ProblemError(f"threads is {threads!r}, expected 0 (all cores) or more")


def check_limits(gap: float, time_limit: float | None) -> None:
    """Raises ProblemError for a gap outside 0..1 or a time limit below 0."""
    if not (isinstance(gap, Real) and 0 <= gap <= 1):
        raise ProblemError(f"gap is {gap!r}, expected a number from 0 to 1")
    if time_limit is not None and not (isinstance(time_limit, Real) and time_limit >= 0):
        raise ProblemError(f"time_limit is {time_limit!r}, expected seconds >= 0 or None")


def make_solver(solver: str | Solver) -> Solver:
    """The options object of a name; an options object is returned as it is. Raises ProblemError for anything else."""
    if not isinstance(solver, str):
        if isinstance(solver, type) or not hasattr(solver, "steps"):
            raise ProblemError(f"solver is {solver!r}, expected a name or an options object such as Auction()")
        return solver
    if solver not in SOLVERS:
        nearest = difflib.get_close_matches(solver, SOLVERS, n=1, cutoff=0.0)[0]
        raise ProblemError(f"unknown solver {solver!r}: did you mean {nearest!r}? There are {', '.join(SOLVERS)}")
    module, options = SOLVERS[solver]
    made: Solver = getattr(importlib.import_module(f".{module}", __package__), options)()
    return made


def _where_to_start(
    problem: Problem, gap: float, clock: Clock, start: Allocation | None, start_prices: np.ndarray | None
) -> tuple[Start | None, Goal]:
    begin = None if start is None else start_from(problem, start)
    prices = None if begin is None else begin.prices
    if start_prices is not None:
        prices = check_prices(problem, start_prices)
    chosen = begin.chosen if begin is not None and begin.chosen.size else None
    return begin, Goal(gap, clock, prices, chosen)


def _steps(solver: Solver, problem: Problem, goal: Goal, begin: Start | None) -> Iterator[Step]:
    """The start as a step of its own, if it has matches, then those of the solver."""
    if begin is not None and goal.start_chosen is not None:
        yield Step(begin.chosen, begin.prices, {"solver": "start"}, begin.group_prices)
    yield from solver.steps(problem, goal)


def _answer(best: Best, solver: Solver, clock: Clock, history: tuple[dict[str, Any], ...], throw: bool) -> Allocation:
    if best.chosen is None or best.prices is None:
        if clock.interrupted:
            raise KeyboardInterrupt
        raise SolverError(f"{solver.name} gave no allocation")
    status = _status(best, solver, clock)
    if throw and not best.reached:
        raise SolverError(f"{solver.name}: {status.sentence} The gap is {best.gap:.2e}, asked for {best.asked:.2e}.")
    answer = best.problem, best.chosen, best.prices, solver.name, status, best.bound, clock.seconds
    return Allocation(*answer, group_prices=best.group_prices, history=history)


def _status(best: Best, solver: Solver, clock: Clock) -> Status:
    if best.gap <= OPTIMAL_GAP:
        return Status.OPTIMAL
    if best.reached:
        return Status.WITHIN_GAP
    if clock.interrupted:
        return Status.INTERRUPTED
    if clock.out_of_time:
        return Status.TIME_LIMIT
    return Status.STEP_LIMIT if solver.promises else Status.FEASIBLE
