"""The cut of the activity model's threshold mode, for the stages that leave other users out."""

import numpy as np

from ..models.options import ActivityOptions
from .errors import InputError


def activity_threshold(p_active: np.ndarray, options: ActivityOptions) -> float | None:
    """The cut of threshold mode, given or chosen so that the users above it come with the target rate; None otherwise.

    Raises InputError when neither is given or no user reaches the target.
    """
    if options.mode == "probability":
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
