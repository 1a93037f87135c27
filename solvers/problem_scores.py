"""Scores at the door: numbers of one dimension, finite and not negative, kept as float32 or float16."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import ProblemError

FLOAT32_MAX = float(np.finfo(np.float32).max)


def score_array(score: Any) -> np.ndarray:
    """The scores as an array of one dimension of any number type; raises ProblemError for anything else."""
    values = np.asarray(score)
    if values.ndim != 1 or (values.size and values.dtype.kind not in "fiu"):
        raise ProblemError(
            f"score is {values.dtype} of {values.ndim} dimensions, expected numbers of 1 dimension: one an edge"
        )
    return values if values.dtype.kind in "fiu" else values.astype(np.float32)


def to_stored(values: np.ndarray) -> np.ndarray:
    """float16 and float32 as they are, everything else as float32 (infinite where it does not fit)."""
    if values.dtype in (np.float16, np.float32):
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32)


def highest_bits(dtype: np.dtype) -> int:
    """The bits of the largest finite number of a float dtype."""
    return int(np.array([np.finfo(dtype).max], dtype).view(f"u{dtype.itemsize}")[0])


def refuse_scores(score: np.ndarray, describe: Callable[[int], str], first: int = 0) -> None:
    """Raises ProblemError for the first score that is NaN, infinite, negative or too large for float32.

    `describe(edge)` names the item and user of an edge; `first` is the number of the first of these edges.
    """
    most = min(FLOAT32_MAX, float(np.finfo(score.dtype).max)) if score.dtype.kind == "f" else FLOAT32_MAX
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~((score >= 0) & (score <= most)))
    if wrong.size:
        edge = int(wrong[0])
        raise ProblemError(
            f"score of {describe(first + edge)} (edge {first + edge}) is {score[edge]}, "
            f"expected a finite number from 0 to {most:.1e}"
        )
