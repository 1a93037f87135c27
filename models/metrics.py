"""How good predicted probabilities are: AUC, Brier score, calibration."""

from typing import Any

import numpy as np


def auc(positive: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    ``positive`` bool[n]; ``score`` float[n]; ``weight`` float[n] of each row, 1 when None. NaN when one class is absent.
    """
    weight = np.ones(len(score)) if weight is None else np.asarray(weight, float)
    _, level = np.unique(score, return_inverse=True)
    up = np.bincount(level, weight * positive)
    down = np.bincount(level, weight * ~np.asarray(positive, bool))
    if not up.sum() or not down.sum():
        return float("nan")
    below = np.cumsum(down) - 0.5 * down
    return float((up * below).sum() / (up.sum() * down.sum()))


def brier(happened: np.ndarray, probability: np.ndarray) -> float:
    """Mean squared error of probabilities against what happened (bool[n])."""
    return float(np.mean((np.asarray(probability, float) - happened) ** 2))


def calibration_table(happened: np.ndarray, probability: np.ndarray, bins: int = 10) -> list[dict[str, Any]]:
    """Bins of equal count by predicted probability: low, high, count, mean predicted, share observed; none empty."""
    order = np.argsort(probability, kind="stable")
    table = []
    for part in np.array_split(order, bins):
        if len(part):
            predicted = np.asarray(probability[part], float)
            table.append(
                {
                    "low": float(predicted[0]),
                    "high": float(predicted[-1]),
                    "count": len(part),
                    "predicted": float(predicted.mean()),
                    "observed": float(np.mean(happened[part])),
                }
            )
    return table


def expected_calibration_error(table: list[dict[str, Any]]) -> float:
    """Mean of |predicted - observed| over a calibration table's bins, weighted by their counts."""
    total = sum(row["count"] for row in table)
    return sum(row["count"] * abs(row["predicted"] - row["observed"]) for row in table) / max(total, 1)


def decayed_count(user: np.ndarray, age_days: np.ndarray, users: int, half_life: float = 2.0) -> np.ndarray:
    """float64[users]: interactions weighted by 0.5 ** (age / half-life); the plain predictor of a visit."""
    return np.bincount(user, 0.5 ** (np.asarray(age_days) / half_life), minlength=users)
