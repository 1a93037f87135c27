"""How many different items a user has met lately: who goes through most new items, which P(active) does not tell."""

import numpy as np

from .log import Log

HALF_LIFE_DAYS = 14.0
_PRIOR = 0.02
"""Items added to each user's own, lest who met none lately be worth nothing."""


def breadth(log: Log, day: int) -> np.ndarray:
    """float64[users] > 0 at the end of ``day``, with which ``log`` ends: a mean of 1 over the users seen so far.

    An item counts once, by 0.5 ** (days since the user first met it / HALF_LIFE_DAYS). One sort of the log's pairs.
    """
    rows = np.flatnonzero(log.positive())
    pairs = log.user[rows] * np.int64(max(log.items, 1)) + log.item[rows]
    first = rows[np.unique(pairs, return_index=True)[1]]
    weight = 0.5 ** ((day + 1 - log.day[first]) / HALF_LIFE_DAYS)
    found = np.bincount(log.user[first], weight, minlength=log.users) + _PRIOR
    known = log.known()
    return np.asarray(found / found[known].mean() if known.any() else np.ones(log.users))
