"""The linear program of a problem, and the two codes that solve it. Scores are scaled to at most 1."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import SolverError
from .problem import Problem

TOLERANCE = 1e-10
"""What HiGHS allows a dual to be wrong by, as a share of the largest score; its least, and no slower than its default."""


@dataclass(frozen=True, eq=False)
class LpModel:
    """maximise score @ x subject to lower <= matrix @ x <= upper and 0 <= x <= 1; one column an edge worth something.

    edge          int64[columns], the problem's number of each column's edge
    score         float64[columns], divided by `unit`, the largest of them
    matrix        scipy.sparse.csc_array of ones, rows = items, then users, then groups; two or three entries a column
    lower, upper  float64[rows]; lower is -inf but for items with a floor
    """

    edge: np.ndarray
    score: np.ndarray
    unit: float
    matrix: Any
    lower: np.ndarray
    upper: np.ndarray


@dataclass(frozen=True, eq=False)
class LpPoint:
    """An end or a stop of a code: x float64[columns], dual float64[rows] (what a unit of `upper` is worth), iterations.

    Nothing is promised about either: a code may stop early or within tolerances.
    """

    x: np.ndarray
    dual: np.ndarray
    iterations: int


def lp_model(problem: Problem, floor: np.ndarray | None) -> LpModel:
    """The program of `problem`; `floor` int[items], floors that can all be met at once, or None."""
    from scipy.sparse import csc_array

    score = problem.reachable_scores()
    useful = score > 0
    if floor is not None:  # an edge worth nothing can still serve a floor
        useful |= np.repeat(floor > 0, np.diff(problem.indptr))
    edge = np.flatnonzero(useful)
    unit = float(score.max(initial=0.0)) or 1.0
    rows, starts = _entries(problem, edge)
    limits = [problem.demand, problem.capacity]
    limits += [] if problem.group_limit is None else [problem.group_limit]
    upper = np.concatenate(limits).astype(np.float64)
    lower = np.full(upper.size, -np.inf)
    if floor is not None:
        lower[: problem.items][floor > 0] = floor[floor > 0]
    matrix = csc_array((np.ones(rows.size), rows, starts), shape=(upper.size, edge.size))
    return LpModel(edge, score[edge].astype(np.float64) / unit, unit, matrix, lower, upper)


def _entries(problem: Problem, edge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the ones, column by column, int32[entries], and where each column starts, int32[columns + 1]."""
    rows = [problem.item_of(edge), problem.user[edge] + np.int64(problem.items)]
    if problem.group is not None:
        group = problem.group[edge].astype(np.int64)
        rows.append(np.where(group >= 0, group + problem.items + problem.users, -1))
    table = np.stack(rows, axis=1).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum((table >= 0).sum(axis=1))]).astype(np.int32)
    return table[table >= 0], starts


def highs(model: LpModel, time_left: float | None) -> LpPoint:
    """HiGHS's dual simplex, through SciPy, which carries its own copy. Zeros where it stopped before it had a point.

    Without presolve, which finds nothing to remove here and takes 15 times as long as the rest where one row is long.
    """
    from scipy.optimize import linprog
    from scipy.sparse import vstack

    floored = np.flatnonzero(np.isfinite(model.lower))
    matrix, upper = model.matrix, model.upper
    if floored.size:
        matrix = vstack([matrix, -model.matrix.tocsr()[floored]]).tocsc()
        upper = np.concatenate([upper, -model.lower[floored]])
    options: dict[str, Any] = {"presolve": False, "dual_feasibility_tolerance": TOLERANCE}
    options |= {} if time_left is None else {"time_limit": max(time_left, 1e-3)}
    done = linprog(-model.score, A_ub=matrix, b_ub=upper, bounds=(0, 1), method="highs-ds", options=options)
    if done.status in (2, 3):
        raise SolverError(
            f"lp: HiGHS calls the linear program infeasible or unbounded, expected neither: {done.message}"
        )
    x, dual = done.x, done.ineqlin.marginals
    x = np.zeros(model.edge.size) if x is None else np.asarray(x)
    dual = np.zeros(upper.size) if dual is None else -np.asarray(dual)
    return LpPoint(x, dual[: model.upper.size], int(done.nit))


class Pdlp:
    """OR-Tools' PDLP: each `run` continues from where the last one ended."""

    def __init__(self, model: LpModel) -> None:
        from ortools.pdlp.python import pdlp

        self._pdlp, self._model = pdlp, model
        self._program = pdlp.QuadraticProgram()
        self._program.resize_and_initialize(model.edge.size, model.upper.size)
        self._program.objective_vector = -model.score
        self._program.constraint_matrix = model.matrix
        self._program.constraint_lower_bounds = model.lower
        self._program.constraint_upper_bounds = model.upper
        self._program.variable_lower_bounds = np.zeros(model.edge.size)
        self._program.variable_upper_bounds = np.ones(model.edge.size)
        self._last: Any = None

    def run(self, tolerance: float, threads: int, time_left: float | None) -> LpPoint:
        """The point at which the relative errors of both sides and of the gap are at most `tolerance`."""
        from ortools.pdlp import solvers_pb2

        params = solvers_pb2.PrimalDualHybridGradientParams(num_threads=threads)
        criteria = params.termination_criteria
        criteria.simple_optimality_criteria.eps_optimal_relative = tolerance
        criteria.simple_optimality_criteria.eps_optimal_absolute = tolerance
        if time_left is not None:
            criteria.time_sec_limit = max(time_left, 1e-3)
        self._last = self._pdlp.primal_dual_hybrid_gradient(self._program, params, self._start())
        log = self._last.solve_log
        return LpPoint(np.array(self._last.primal_solution), -np.array(self._last.dual_solution), log.iteration_count)

    def _start(self) -> Any:
        if self._last is None:
            return None
        start = self._pdlp.PrimalAndDualSolution()
        start.primal_solution, start.dual_solution = self._last.primal_solution, self._last.dual_solution
        return start
