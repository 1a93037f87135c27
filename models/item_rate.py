"""How many of the active users a new item will draw: a regression on what is known of it at the end of its first day."""

from dataclasses import dataclass

import numpy as np
import xgboost

from .log import Log
from .tower_inputs import ItemInputs

_PER = 1e4
_TREES, _DEPTH, _RATE, _LEAF = 80, 4, 0.1, 30
_DAILY_WEIGHT = 0.8
_SMOOTHING = 3.0
_SMALLEST = 1e-6


@dataclass(frozen=True, eq=False)
class RateRows:
    """Of one day's new items: ``features`` float32[n, m], ``share`` float64[n] of the active users who interacted in the
    days after, ``age`` float64[n]: how many days before the last such day they were uploaded."""

    features: np.ndarray
    share: np.ndarray
    age: np.ndarray


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Of every item: ``log_share`` float64[items], log(1 + 10^4 * share) of the users active in the days after its upload
    day who interacted with it; ``upload_day`` int64[items]."""

    log_share: np.ndarray
    upload_day: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """float64[items]: the share itself, from 0 to 1."""
        return np.expm1(self.log_share) / _PER


def outcomes(log: Log, target_days: int) -> Outcomes:
    """Of the ``target_days`` after each upload day, as far as ``log`` goes; one sort of the interactions in them."""
    upload_day = np.floor(log.upload).astype(np.int64)
    whole = np.floor(log.day).astype(np.int64)
    wait = whole - upload_day[log.item]
    rows = np.flatnonzero((wait >= 1) & (wait <= target_days) & log.positive())
    pairs = np.unique(log.item[rows] * np.int64(log.users) + log.user[rows])
    count = np.bincount(pairs // log.users, minlength=log.items)
    days = np.unique(upload_day)
    active = np.array([max(log.between(int(day) + 1, int(day) + target_days).known().sum(), 1) for day in days])
    share = count / active[np.searchsorted(days, upload_day)]
    return Outcomes(np.log1p(_PER * share), upload_day)


def rate_features(
    inputs: ItemInputs, log: Log, day: int, past: Outcomes, target_days: int, creator: np.ndarray | None
) -> np.ndarray:
    """float32[n, m]: the item tower's dense features, and how the items of its token and of its creator fared before.

    Only items whose window had closed by the end of ``day`` are looked at. ``creator``: int32[items], -1 unknown, or None.
    """
    closed = closed_items(past, target_days, day)
    same_day = np.bincount(np.maximum(inputs.token, 0), inputs.token >= 0, minlength=log.tokens)
    columns = [
        *inputs.dense.T,
        *group_means(log.token, closed, past, day)[:, log.token[inputs.rows]],
        np.where(inputs.token >= 0, same_day[inputs.token], 0),
    ]
    if creator is not None:
        columns += [*group_means(creator, closed, past, day)[:, creator[inputs.rows]]]
    return np.stack(columns, 1).astype(np.float32)


def closed_items(past: Outcomes, target_days: int, day: int) -> np.ndarray:
    """bool[items]: whose window had closed by the end of ``day``."""
    closed: np.ndarray = past.upload_day + target_days <= day
    return closed


def train_item_rate(rows: list[RateRows]) -> tuple[xgboost.Booster, float]:
    """Squared error on log shares, which a few very popular items cannot dominate; on one thread.

    Returns the trees and the factor that makes the predicted shares add up to the observed ones. Raises ValueError
    without items.
    """
    if not sum(len(part.share) for part in rows):
        raise ValueError("no past day has new items whose outcome is known; their popularity cannot be learnt")
    features = np.concatenate([part.features for part in rows])
    share = np.concatenate([part.share for part in rows])
    weight = _DAILY_WEIGHT ** np.concatenate([part.age for part in rows])
    target = np.log1p(_PER * share)
    data = xgboost.QuantileDMatrix(features, target, weight=weight, nthread=1)
    settings = {"max_depth": _DEPTH, "eta": _RATE, "min_child_weight": _LEAF, "tree_method": "hist", "nthread": 1}
    trees = xgboost.train({**settings, "base_score": float(target.mean())}, data, _TREES)
    predicted = np.expm1(np.maximum(trees.inplace_predict(features), 0)) / _PER
    return trees, float((weight * share).sum() / max((weight * predicted).sum(), 1e-12))


def predict_item_rate(trees: xgboost.Booster, factor: float, features: np.ndarray) -> np.ndarray:
    """float64[n]: expected share of the active users who will interact with each item, in (0, 0.5]."""
    share = factor * np.expm1(np.maximum(trees.inplace_predict(features), 0)) / _PER
    return np.clip(share.astype(np.float64), _SMALLEST, 0.5)


def damped(share: np.ndarray, exponent: float) -> np.ndarray:
    """Shares drawn towards their geometric mean: exponent 1 leaves them, 0 makes all items alike."""
    return np.exp(exponent * np.log(share) + (1 - exponent) * np.log(share).mean())


def group_means(group: np.ndarray, closed: np.ndarray, past: Outcomes, day: int) -> np.ndarray:
    """float64[2, groups + 1]: decayed, smoothed mean log share of the closed items of each group, and the weight behind it;
    last of all those of group -1."""
    rows = np.flatnonzero(closed & (group >= 0))
    weight = _DAILY_WEIGHT ** (day - past.upload_day[rows])
    size = int(group.max(initial=-1)) + 1
    total = np.bincount(group[rows], weight * past.log_share[rows], minlength=size)
    mass = np.bincount(group[rows], weight, minlength=size)
    overall = total.sum() / max(mass.sum(), 1e-9)
    mean = np.append((total + _SMOOTHING * overall) / (mass + _SMOOTHING), overall)
    return np.stack([mean, np.append(mass, 0.0)])
