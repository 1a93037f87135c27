"""The linear program: fractional by HiGHS or PDLP, then rounded to whole matches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .cheap_prices import certificate_prices, closed_user_prices
from .floors import floors_to_meet, serve_floors
from .lp_model import LpModel, LpPoint, Pdlp, highs, lp_model
from .problem import Problem
from .start import taken_in_order
from .step import Goal, Step

SAME_FRACTION = 1e-6
"""Fractions nearer than this count as equal when they are rounded."""


@dataclass(frozen=True)
class Lp:
    """The linear program, exact by HiGHS ("lp") or approximate by PDLP ("pdlp"); its duals are the user prices.

    The matrix is totally unimodular, so a vertex is whole already: HiGHS's dual simplex ends in one, and is exact up to
    its tolerance of 1e-10 of the largest score. PDLP, a first-order method, ends near the optimum at fractions that are
    rounded: edges by falling fraction, then score, each where both sides have places left. It is run again and again,
    each time from the last point to a tenth of the tolerance, until the gap asked for is certified or the last
    tolerance is reached; rounding leaves about 1e-4, 2e-3 where many scores are equal.

    Promises no gap. HiGHS: 5 us an edge at 300 k edges, 8 at 1 M, more above, and 800 bytes an edge; one answer, at the
    end or at the time limit (then the edges by score). PDLP: 5 to 7 us and 310 bytes an edge to a gap of 1e-3. Neither
    can be interrupted inside, and neither takes a start. Notes of each step: `fractional_value`, `iterations`.

    method           "highs" or "pdlp"
    first_tolerance  relative tolerance of PDLP's first answer
    last_tolerance   and of its last
    threads          threads of PDLP, whose answer depends on how many; those of `solve` are not used

    Source: Huangfu and Hall, "Parallelizing the dual revised simplex method" (2018); Applegate et al., "Practical
    large-scale linear programming using primal-dual hybrid gradient" (2021).
    """

    method: str = "highs"
    first_tolerance: float = 1e-3
    last_tolerance: float = 1e-6
    threads: int = 1

    promises: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.method not in ("highs", "pdlp") or not 0 < self.last_tolerance <= self.first_tolerance:
            raise ValueError(f"{self}: expected method 'highs' or 'pdlp' and 0 < last_tolerance <= first_tolerance")
        if self.threads < 1:
            raise ValueError(f"{self}: expected at least 1 thread")

    @property
    def name(self) -> str:
        """The solver's name: "lp" by HiGHS, "pdlp" by PDLP."""
        return "lp" if self.method == "highs" else "pdlp"

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        """HiGHS: one answer. PDLP: one for each tolerance."""
        least = None if problem.floor is None else floors_to_meet(problem)
        model = lp_model(problem, least)
        if model.edge.size == 0:
            yield Step(np.zeros(0, np.int64), closed_user_prices(problem))
            return
        if self.method == "highs":
            yield rounded(problem, model, highs(model, goal.clock.left), least)
            return
        code, tolerance = Pdlp(model), self.first_tolerance
        while True:
            yield rounded(problem, model, code.run(tolerance, self.threads, goal.clock.left), least)
            if tolerance <= self.last_tolerance or goal.clock.stop:
                return
            tolerance = max(tolerance / 10, self.last_tolerance)


def pdlp() -> Lp:
    """`Lp` by PDLP with its defaults."""
    return Lp(method="pdlp")


def rounded(problem: Problem, model: LpModel, point: LpPoint, least: np.ndarray | None) -> Step:
    """Whole matches, the largest fractions first, that meet the floors `least`; duals, clipped to >= 0, as prices."""
    fraction = np.round(point.x / SAME_FRACTION)
    chosen = taken_in_order(problem, model.edge, np.lexsort((-model.score, -fraction)))
    if least is not None and (problem.item_load(chosen) < least).any():
        held = np.zeros(problem.edges, np.uint8)
        held[chosen] = 1
        serve_floors(problem, least, held)
        chosen = np.flatnonzero(held)
    notes = {"fractional_value": float(model.score @ point.x) * model.unit, "iterations": point.iterations}
    price = np.maximum(point.dual, 0.0) * model.unit
    users, groups = np.split(price[problem.items :], [problem.users])
    prices, closed = certificate_prices(problem, users, groups)
    if closed is not None and problem.group_limit is not None:
        closed = np.where(problem.group_limit > 0, groups, closed)
    return Step(chosen, prices, notes, closed)
