"""Trees and experts together: the mean of their calibrated logits, calibrated once more."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .calibration import Platt
from .cross_ranker import CrossRanker, fit_cross
from .expert_ranker import ExpertRanker, fit_experts
from .options import RankerOptions
from .ranker import Ranker, RankerRows, check_names, fitted, read_stored


@dataclass(frozen=True, eq=False, kw_only=True)
class BlendRanker(Ranker):
    """``cross`` and ``experts`` are of the same heads and features."""

    kind = "both"
    cross: CrossRanker
    experts: ExpertRanker

    def logits(self, values: np.ndarray) -> np.ndarray:
        """float64[n, heads] of float32[n, features]."""
        return _mean(
            (self.cross.scaling, self.cross.logits(values)), (self.experts.scaling, self.experts.logits(values))
        )

    def save(self, folder: Path) -> None:
        """Write each part into a folder of its own, then the header."""
        for part in (self.cross, self.experts):
            (folder / part.kind).mkdir(exist_ok=True)
            part.save(folder / part.kind)
        self._save(folder, {}, {})

    @classmethod
    def load(cls, folder: Path) -> "BlendRanker":
        """Read what ``save`` wrote; runs no code from the files. Raises OSError, ValueError when they are damaged."""
        stored = read_stored(folder, cls.kind)
        cross, experts = CrossRanker.load(folder / CrossRanker.kind), ExpertRanker.load(folder / ExpertRanker.kind)
        for part in (cross, experts):
            check_names(part.names, stored.common["names"])
            if part.heads != stored.common["heads"]:
                raise ValueError(f"{folder}: the part {part.kind!r} has other heads than the whole")
        return cls(**stored.common, cross=cross, experts=experts)


def blend(
    rows: RankerRows, cross: tuple[CrossRanker, np.ndarray], experts: tuple[ExpertRanker, np.ndarray]
) -> BlendRanker:
    """From both parts as fitted, with their held-out logits."""
    found = _mean((cross[0].scaling, cross[1]), (experts[0].scaling, experts[1]))
    return BlendRanker(
        **fitted(rows, cross[0].options, found),
        cross=cross[0],
        experts=experts[0],
    )


def fit_both(rows: RankerRows, options: RankerOptions, seed: int) -> BlendRanker:
    """Fit trees and experts on the same rows, and blend them."""
    return blend(rows, fit_cross(rows, options, seed), fit_experts(rows, options, seed))


def _mean(*parts: tuple[tuple[Platt, ...], np.ndarray]) -> np.ndarray:
    logits = [
        np.stack([curve.slope * logit + curve.offset for curve, logit in zip(scaling, values.T, strict=True)], 1)
        for scaling, values in parts
    ]
    return np.mean(logits, 0)
