"""Platt scaling: a logistic curve over a model's logits, fitted on rows that the model was not trained on."""

from dataclasses import dataclass

import numpy as np

_STEPS = 50
_RIDGE = 1e-3


@dataclass(frozen=True)
class Platt:
    """probability = 1 / (1 + exp(-(slope * logit + offset))); monotone, so the order of users is kept."""

    slope: float
    offset: float

    def __call__(self, logit: np.ndarray) -> np.ndarray:
        """float32[n] probabilities of float logits."""
        return sigmoid(self.slope * np.asarray(logit, np.float64) + self.offset).astype(np.float32)


def sigmoid(value: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-value)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * value))


def fit_platt(logit: np.ndarray, happened: np.ndarray, weight: np.ndarray | None = None) -> Platt:
    """Fit by Newton's method on the log loss (Platt 1999), with a small pull towards slope 1 and offset 0.

    ``logit`` float[n], ``happened`` bool[n], ``weight`` float[n] or None. With no rows the identity is returned.
    """
    x = np.stack([np.asarray(logit, np.float64), np.ones(len(logit))], 1)
    weight = np.ones(len(x)) if weight is None else np.asarray(weight, np.float64)
    parameters, prior = np.array([1.0, 0.0]), np.array([1.0, 0.0])
    for _ in range(_STEPS):
        p = sigmoid(x @ parameters)
        gradient = x.T @ (weight * (p - happened)) + _RIDGE * (parameters - prior)
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + _RIDGE * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        parameters = parameters - step
        if np.abs(step).max() < 1e-10:
            break
    return Platt(float(parameters[0]), float(parameters[1]))
