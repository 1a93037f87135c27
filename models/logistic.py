"""Logistic regression with few weights, by Newton's method."""

import numpy as np

_STEPS = 50
_HALVINGS = 30
_SMALL_STEP = 1e-10
_ROUNDING = 1e-12


def sigmoid(value: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-value)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * value))


def fit_logistic(
    x: np.ndarray, happened: np.ndarray, prior: np.ndarray, ridge: float, row_weight: np.ndarray | None = None
) -> np.ndarray:
    """float64[m]: the minimum over weights of the log loss + ridge / 2 * |weights - prior|^2.

    ``x`` float64[n, m], ``happened`` bool[n], ``prior`` float64[m], ``ridge`` > 0, ``row_weight`` float64[n], 1 when None.
    Steps that raise the loss are halved: far from the minimum Newton's own steps can grow without bound.
    """
    times = np.ones(len(x)) if row_weight is None else row_weight
    sign = np.where(happened, -1.0, 1.0)

    def loss(at: np.ndarray) -> float:
        return float(times @ np.logaddexp(0.0, sign * (x @ at)) + ridge / 2 * ((at - prior) ** 2).sum())

    fitted, lowest = prior.copy(), loss(prior)
    for _ in range(_STEPS):
        p = sigmoid(x @ fitted)
        gradient = x.T @ (times * (p - happened)) + ridge * (fitted - prior)
        hessian = (x * (times * p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(prior))
        step = np.linalg.solve(hessian, gradient)
        for _ in range(_HALVINGS):
            if loss(fitted - step) <= lowest * (1 + _ROUNDING) or np.abs(step).max() < _SMALL_STEP:
                break
            step = step / 2
        fitted = fitted - step
        lowest = loss(fitted)
        if np.abs(step).max() < _SMALL_STEP:
            break
    return fitted
