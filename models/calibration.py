"""Platt scaling: a logistic curve over a model's logits, fitted on rows that the model was not trained on."""

from dataclasses import dataclass

import numpy as np

from .logistic import fit_logistic, sigmoid

_RIDGE = 1e-3


@dataclass(frozen=True)
class Platt:
    """probability = 1 / (1 + exp(-(slope * logit + offset))); with slope > 0 the order of users is kept."""

    slope: float
    offset: float

    def __call__(self, logit: np.ndarray) -> np.ndarray:
        """float32[n] probabilities of float logits."""
        return sigmoid(self.slope * np.asarray(logit, np.float64) + self.offset).astype(np.float32)


def fit_platt(logit: np.ndarray, happened: np.ndarray, weight: np.ndarray | None = None) -> Platt:
    """Fit on the log loss (Platt 1999), with a small pull towards slope 1 and offset 0.

    ``logit`` float[n], ``happened`` bool[n], ``weight`` float64[n] or None. With no rows the identity is returned.
    """
    x = np.stack([np.asarray(logit, np.float64), np.ones(len(logit))], 1)
    slope, offset = fit_logistic(x, happened, np.array([1.0, 0.0]), _RIDGE, weight)
    return Platt(float(slope), float(offset))
