"""What the activity model's modes make of P(active): a factor of the score, a cut, or nothing."""

import numpy as np

from ..models.options import ActivityOptions
from .errors import InputError


def activity_threshold(p_active: np.ndarray, options: ActivityOptions) -> float | None:
    """The cut of threshold mode, given or chosen so that the users above it come with the target rate; None in others.

    Raises InputError when neither is given or no user reaches the target.
    """
    if options.mode != "threshold":
        return None
    if options.threshold is not None:
        return options.threshold
    if options.target_hit_rate is None:
        raise InputError("activity.mode is threshold: give activity.threshold or activity.target_hit_rate")
    ordered = np.sort(p_active)[::-1]
    mean = np.cumsum(ordered, dtype=np.float64) / np.arange(1, len(ordered) + 1)
    enough = np.flatnonzero(mean >= options.target_hit_rate)
    if not len(enough):
        raise InputError(
            f"activity.target_hit_rate is {options.target_hit_rate}, but the likeliest user comes with {ordered[0]:.3f}"
        )
    return float(ordered[enough[-1]])


def activity_factor(p_active: np.ndarray, options: ActivityOptions) -> np.ndarray:
    """float32[users]: what activity multiplies a score by: the probability, 1 or 0 by the cut, or 1 for everybody.

    Raises InputError as `activity_threshold` does.
    """
    if options.mode == "probability":
        return np.asarray(p_active, np.float32)
    threshold = activity_threshold(p_active, options)
    available = np.ones(len(p_active), bool) if threshold is None else p_active >= threshold
    return available.astype(np.float32)
