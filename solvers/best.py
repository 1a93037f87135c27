"""The best chosen edges and the best prices of a solve so far; they may come from different steps."""

import numpy as np

from .certificate import certify, relative_gap, total_score, upper_bound
from .problem import Problem
from .step import Step

OPTIMAL_GAP = 1e-9
"""A gap this small is rounding in sums of float32 scores: the allocation counts as optimal."""


def worth(problem: Problem, chosen: np.ndarray) -> tuple[int, float]:
    """How good an allocation is: places that floors ask for and that it fills, then the sum of its scores."""
    least = floors_met(problem, chosen)
    return 0 if least is None else int(least.sum()), total_score(problem, chosen)


def floors_met(problem: Problem, chosen: np.ndarray) -> np.ndarray | None:
    """min(floor, users in `chosen`) of each item, int64[items]; None for a problem without floors."""
    return None if problem.floor is None else np.minimum(problem.floor, problem.item_load(chosen))


class Best:
    """Certifies steps and keeps the best of them: the most floor places, then the value, and the lowest bound.

    With floors the bound is for allocations that give each item what the best one gives it, up to its floor; so it is
    computed anew where a step fills other floor places.
    """

    def __init__(self, problem: Problem, gap: float, threads: int | None = None) -> None:
        self.problem, self.asked, self.threads = problem, max(gap, OPTIMAL_GAP), threads
        self.chosen: np.ndarray | None = None
        self.prices: np.ndarray | None = None
        self.group_prices: np.ndarray | None = None
        self.value, self.bound = -1.0, np.inf
        self._least: np.ndarray | None = None

    def add(self, step: Step) -> None:
        """Takes over what is better in a step. Raises AllocationError if it breaks a limit."""
        certificate = certify(self.problem, step.chosen, step.prices, step.group_prices, threads=self.threads)
        bound, least = certificate.bound, floors_met(self.problem, step.chosen)
        if self.chosen is None or self._better(certificate.value, least):
            self.value, self.chosen = certificate.value, step.chosen
            self._ask_for(least)
        elif not _same(least, self._least):
            bound = self._bound(step.prices, step.group_prices, self._least)
        self._offer(bound, step.prices, step.group_prices)

    def add_prices(self, prices: np.ndarray) -> None:
        """Takes over user prices that come without an allocation, if their bound is lower."""
        self._offer(self._bound(prices, None, self._least), prices, None)

    def _bound(self, prices: np.ndarray, group_prices: np.ndarray | None, least: np.ndarray | None) -> float:
        return upper_bound(self.problem, prices, group_prices=group_prices, least=least, threads=self.threads)

    def _better(self, value: float, least: np.ndarray | None) -> bool:
        if least is None or self._least is None:
            return value > self.value
        return (int(least.sum()), value) > (int(self._least.sum()), self.value)

    def _ask_for(self, least: np.ndarray | None) -> None:
        if not _same(least, self._least) and self.prices is not None:
            self.bound = self._bound(self.prices, self.group_prices, least)
        self._least = least

    def _offer(self, bound: float, prices: np.ndarray, group_prices: np.ndarray | None) -> None:
        if bound < self.bound:
            self.bound, self.prices, self.group_prices = bound, prices, group_prices

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


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))
