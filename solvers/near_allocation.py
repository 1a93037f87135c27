"""The answer under a limit on changes: what changed, what could not be kept, and what stability cost."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .allocation import Allocation, Status
from .certificate import relative_gap


@dataclass(frozen=True, eq=False)
class NearAllocation:
    """An allocation near an earlier one, with its own certificate; `str()` says it in sentences.

    allocation    the matches; its bound and prices are those of the problem without the limit on changes
    most_changes  how many matches may be new
    changed       how many are: matches that the earlier allocation did not have, never over `most_changes`
    kept          matches of the earlier allocation that this one has too
    dropped       matches of the earlier allocation that are still candidates and were given up
    gone          matches of the earlier allocation that are candidates no more and could not be kept
    bound         no allocation with at most `most_changes` new matches is worth more (where there are floors: none that
                  fills as many of each item's floor places)
    penalty       what a new match was charged in the best bound: what one more change would bring
    status        why the search stopped
    seconds       wall time
    history       what `on_step` was told, step by step
    """

    allocation: Allocation
    most_changes: int
    changed: int
    kept: int
    dropped: int
    gone: int
    bound: float
    penalty: float
    status: Status
    seconds: float
    history: tuple[dict[str, Any], ...] = ()

    @property
    def value(self) -> float:
        """Sum of the scores of the matches."""
        return self.allocation.value

    def pairs(self) -> dict[str, np.ndarray]:
        """The matches as columns `item`, `user` (outside ids) and `score`, see `Allocation.pairs`."""
        return self.allocation.pairs()

    @property
    def gap(self) -> float:
        """(bound - value) / bound: at most this share of the optimum under the limit on changes is missing."""
        return relative_gap(self.value, self.bound)

    @property
    def cost(self) -> float:
        """What stability cost at most: the bound without the limit on changes, less the value."""
        return max(0.0, self.allocation.bound - self.value)

    @property
    def cost_share(self) -> float:
        """The cost as a share of the bound without the limit on changes."""
        return self.allocation.gap

    def __repr__(self) -> str:
        figures = f"changed={self.changed} of at most {self.most_changes}, kept={self.kept}, gap={self.gap:.2e}"
        return (
            f"NearAllocation({self.status.value}, value={self.value:.6g}, {figures}, cost_share={self.cost_share:.2e})"
        )

    def __str__(self) -> str:
        return (
            f"{self.changed} of {self.allocation.matches} matches are new, at most {self.most_changes} may be. "
            f"{self.kept} are kept, {self.dropped} given up, {self.gone} no longer possible. "
            f"Without the limit on changes the score could be {self.cost:.6g} higher at most ({self.cost_share:.2%})."
        )
