"""The ranking heads: P(feedback kind | the user interacts with the item), one calibrated logistic model a head.

A head's logit is offset + lift * (tower product) + taste * (the network's product) + user * (the user's part) + item * (the
item's part). All parts factor over users and items, so that a head can be evaluated for every pair; and five numbers a head
are enough to calibrate even where positives are few. The parts are the network's (see `head_network`), or without it the
smoothed rates of the user and of the item's creator or category.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .log import Log
from .logistic import fit_logistic, sigmoid

_RIDGE = 1.0
_USER_SMOOTHING = 20.0
_ITEM_SMOOTHING = 50.0
ALWAYS = 0.999


@dataclass(frozen=True, eq=False)
class HeadRates:
    """Smoothed log-odds of each head at the end of a day, less the overall: ``user`` float32[users, heads],
    ``item`` float32[items, heads]; ``overall`` float64[heads], the share of interactions with each kind."""

    user: np.ndarray
    item: np.ndarray
    overall: np.ndarray


@dataclass(frozen=True)
class Head:
    """Weights of one head's logit. A head that is (nearly) always true has probability 1 and no weights."""

    kind: str
    offset: float
    lift: float
    user: float
    item: float
    always: bool = False
    taste: float = 0.0

    def probability(
        self, lift: np.ndarray, user: np.ndarray, item: np.ndarray, taste: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """P(kind | interaction) of rows with these parts; float64[n]."""
        if self.always:
            return np.ones(np.broadcast(lift, user, item).shape)
        return sigmoid(self.offset + self.lift * lift + self.taste * taste + self.user * user + self.item * item)


def head_rates(log: Log, heads: tuple[str, ...], group: np.ndarray) -> HeadRates:
    """From all interactions in ``log``; ``group`` int32[items]: creator or category of each item, -1 unknown."""
    flags = [log.kinds[kind] for kind in heads]
    shares = np.array([kind.mean() if len(log) else 0.5 for kind in flags])
    overall: np.ndarray = np.clip(shares, 1e-6, 1 - 1e-6)
    of_item = group[log.item]
    known = of_item >= 0
    size = int(group.max(initial=-1)) + 1
    by_group = _log_odds(of_item[known], [kind[known] for kind in flags], size, overall, _ITEM_SMOOTHING)
    by_group = np.concatenate([by_group, np.zeros((1, len(heads)), np.float32)])
    return HeadRates(_log_odds(log.user, flags, log.users, overall, _USER_SMOOTHING), by_group[group], overall)


def interaction_rate(log: Log, explicit: tuple[str, ...], smoothing: float) -> np.ndarray:
    """theta_u of eq. 10, float64[users]: explicit feedback per interaction, smoothed towards everybody's mean.

    Divided by that mean, so that 1 is an average user. ``smoothing``: interactions' worth of the mean added to each.
    """
    if not explicit:
        return np.ones(log.users)
    given = np.stack([log.kinds[kind] for kind in explicit]).sum(0, dtype=np.float64)
    mean = given.mean() if len(given) else 0.0
    if not mean:
        return np.ones(log.users)
    total = np.bincount(log.user, given, minlength=log.users)
    return (total + smoothing * mean) / (np.bincount(log.user, minlength=log.users) + smoothing) / mean


def fit_head(kind: str, happened: np.ndarray, lift: np.ndarray, user: np.ndarray, item: np.ndarray) -> Head:
    """Logistic regression, ``happened`` bool[n] on float[n] columns, pulled towards the observed share and weights 0, 1, 1.

    Where a kind never happened the head stays near these; without rows it is these, with a share of one half.
    """
    share = float(np.clip(happened.mean() if len(happened) else 0.5, 1e-6, 1 - 1e-6))
    if len(happened) and share > ALWAYS:
        return Head(kind, 0.0, 0.0, 0.0, 0.0, always=True)
    prior = np.array([np.log(share / (1 - share)), 0.0, 1.0, 1.0])
    x = np.stack([np.ones(len(lift)), lift, user, item], 1).astype(np.float64)
    offset, of_lift, of_user, of_item = map(float, fit_logistic(x, happened, prior, _RIDGE))
    return Head(kind, offset, of_lift, of_user, of_item)


def fit_network_head(
    kind: str, happened: np.ndarray, lift: np.ndarray, parts: tuple[np.ndarray, np.ndarray, np.ndarray], weight: float
) -> Head:
    """As `fit_head` on the network's parts float[n]: its product, and its biases of user and item for this head.

    Pulled towards the network as it was trained, which gives the product ``weight``; so it is calibrated on rows that it has
    not seen.
    """
    prior = np.array([0.0, 0.0, weight, 1.0, 1.0])
    x = np.stack([np.ones(len(lift)), lift, *parts], 1).astype(np.float64)
    offset, of_lift, taste, user, item = map(float, fit_logistic(x, happened, prior, _RIDGE))
    return Head(kind, offset, of_lift, user, item, taste=taste)


def fit_heads(
    log: Log, heads: tuple[str, ...], rates: HeadRates, lift: np.ndarray, done: Callable[[], None] = lambda: None
) -> list[Head]:
    """Fit every head on the interactions of ``log``, whose tower products are ``lift`` float32[n].

    ``rates`` must come from before those interactions, or a user's own feedback would predict itself.
    """
    fitted = []
    for number, kind in enumerate(heads):
        user, item = rates.user[log.user, number], rates.item[log.item, number]
        fitted.append(fit_head(kind, log.kinds[kind], lift, user, item))
        done()
    return fitted


def _log_odds(row: np.ndarray, flags: list[np.ndarray], size: int, overall: np.ndarray, smoothing: float) -> np.ndarray:
    """float32[size, heads]: log-odds of each row's smoothed rates less the overall log-odds."""
    count = np.bincount(row, minlength=size)[:, None]
    total = np.stack([np.bincount(row, kind, minlength=size) for kind in flags], 1)
    rate = (total + smoothing * overall) / (count + smoothing)
    odds = np.log(rate / (1 - rate)) - np.log(overall / (1 - overall))
    return odds.astype(np.float32)
