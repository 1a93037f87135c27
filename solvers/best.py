"""The best chosen edges and the best prices of a solve so far; they may come from different steps."""

import numpy as np

from .certificate import certify, relative_gap, total_score, upper_bound
from .problem import Problem
from .step import Step

OPTIMAL_GAP = 1e-9
"""A gap this small is rounding in sums of float32 scores: the allocation counts as optimal."""


def worth(problem: Problem, chosen: np.ndarray) -> tuple[int, float]:
    """How good an allocation is: places that floors ask for and that it fills, then the sum of its scores."""
    filled = 0 if problem.floor is None else int(np.minimum(problem.item_load(chosen), problem.floor).sum())
    return filled, total_score(problem, chosen)


class Best:
    """Certifies steps and keeps the best of them: first by the value, and the lowest bound of all prices seen."""

    def __init__(self, problem: Problem, gap: float) -> None:
        self.problem, self.asked = problem, max(gap, OPTIMAL_GAP)
        self.chosen: np.ndarray | None = None
        self.prices: np.ndarray | None = None
        self.value, self.bound = -1.0, np.inf

    def add(self, step: Step) -> None:
        """Takes over what is better in a step. Raises AllocationError if it breaks a limit."""
        certificate = certify(self.problem, step.chosen, step.prices)
        if certificate.value > self.value:
            self.value, self.chosen = certificate.value, step.chosen
        self._offer(certificate.bound, step.prices)

    def add_prices(self, prices: np.ndarray) -> None:
        """Takes over prices that come without an allocation, if their bound is lower."""
        self._offer(upper_bound(self.problem, prices), prices)

    def _offer(self, bound: float, prices: np.ndarray) -> None:
        if bound < self.bound:
            self.bound, self.prices = bound, prices

    @property
    def gap(self) -> float:
        """(bound - value) / bound."""
        return relative_gap(self.value, self.bound)

    @property
    def reached(self) -> bool:
        """Whether the gap asked for is certified."""
        return self.gap <= self.asked

    @property
    def figures(self) -> dict[str, float | int]:
        """Value, bound, gap and number of matches so far."""
        matches = 0 if self.chosen is None else self.chosen.size
        return {"value": self.value, "bound": self.bound, "gap": self.gap, "matches": matches}
