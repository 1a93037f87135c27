"""Random numbers by name: each is a function of the seed, a purpose and keys such as user and item.

So two policies meet the same luck: a user who is shown an item reacts in the same way whoever showed it, which makes their
difference far less noisy than two runs with luck of their own; and no order of work or number of threads matters.
"""

from enum import IntEnum

import numpy as np
from scipy.special import ndtri

from ..ab_hash import STEP, splitmix

_BELOW_1 = np.nextafter(1.0, 0.0)
_OF_KEYS = np.uint64(0xBF58476D1CE4E5B9)


class Purpose(IntEnum):
    """What a number is drawn for."""

    TASTE = 1
    ACTIVITY = 2
    WEEKEND = 3
    APPETITE = 4
    HABIT = 5
    PERIOD = 6
    MOOD = 7
    VISIT = 9
    SESSION = 10
    PATIENCE = 11
    TOPIC = 12
    SKILL = 13
    OUTPUT = 14
    UPLOAD = 15
    UPLOAD_PERIOD = 16
    CONTENT = 17
    BLUR = 18
    QUALITY = 19
    ORGANIC = 20
    WATCH = 22
    LIKE = 23
    COMMENT = 24
    FOLLOW = 25
    LEAVE = 26
    ORDER = 27
    SECOND_TOPIC = 28


def uniform(seed: int, purpose: Purpose, *keys: np.ndarray | int) -> np.ndarray:
    """float64, above 0 and below 1, one for each entry of the keys (integers >= 0, broadcast); 53 bits, splitmix64.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014), its mixing function.
    """
    state = splitmix(np.array([seed], np.uint64) * STEP + np.uint64(purpose))[0]
    with np.errstate(over="ignore"):
        for key in keys:
            state = splitmix(state + STEP + np.asarray(key).astype(np.uint64) * _OF_KEYS)
    return between_0_and_1(state)


def between_0_and_1(bits: np.ndarray) -> np.ndarray:
    """float64 of uint64, by their first 53 bits; never 0 or 1, although half a step above the last one rounds up to 1."""
    value = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    return np.minimum(value, _BELOW_1)


def normal(seed: int, purpose: Purpose, *keys: np.ndarray | int) -> np.ndarray:
    """Standard normal float64, as `uniform`."""
    return np.asarray(ndtri(uniform(seed, purpose, *keys)))


def normals(seed: int, purpose: Purpose, rows: np.ndarray, width: int) -> np.ndarray:
    """Standard normal float64[rows, width]."""
    return normal(seed, purpose, rows[:, None], np.arange(width)[None, :])


def choice(weights: np.ndarray, at: np.ndarray) -> np.ndarray:
    """int64 places drawn in proportion to ``weights``, by uniform numbers ``at``."""
    edges = np.cumsum(weights) / np.sum(weights)
    return np.minimum(np.searchsorted(edges, at, side="right"), len(weights) - 1)


def poisson(mean: np.ndarray, at: np.ndarray, most: int) -> np.ndarray:
    """int64 Poisson counts up to ``most``, by uniform numbers ``at``: the inverse of the distribution."""
    mean = np.asarray(mean, np.float64)
    term = np.exp(-mean)
    below, count = term.copy(), np.zeros(np.shape(mean), np.int64)
    for number in range(1, most + 1):
        count += at >= below
        term = term * mean / number
        below = below + term
    return count
