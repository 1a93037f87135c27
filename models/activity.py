"""The activity model (the paper's UAC): XGBoost's calibrated P(user visits in the next days), over all users."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xgboost

from .activity_features import Visits, activity_features
from .calibration import Platt, fit_platt
from .logistic import sigmoid
from .options import ActivityOptions

# A training day counts more when it is of the same sort (work or rest) as the day that is predicted, and when recent.
_SAME_SORT_WEIGHT = 5.0
_DAILY_WEIGHT = 0.8
# Gradients on this grid sum exactly in float64, so that the trees do not depend on the number of threads.
_GRADIENT_GRID = 2.0**-18
_HELD_OUT = 5
PART_USERS = 16_384
"""Users of a part of the features."""

_COLUMNS = ("features", "visited", "weight", "held_out")
_MODEL, _SCALING = "activity.json", "activity_scaling.json"


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Known users on past days: ``features`` float32[n, features] with their ``names``, ``visited`` bool[n] in the target
    days after, ``weight`` float64[n], and ``held_out`` bool[n]: every fifth user is kept for the calibration."""

    features: np.ndarray
    visited: np.ndarray
    weight: np.ndarray
    held_out: np.ndarray
    names: list[str]


class TrainingPart(NamedTuple):
    """A past day and known users, int64 ascending, all of one range of PART_USERS."""

    day: int
    users: np.ndarray


@dataclass(frozen=True, eq=False)
class ActivityModel:
    """Trees and the scaling of their logits. ``names``: the features, in order."""

    trees: xgboost.Booster
    scaling: Platt
    names: list[str]

    def predict(self, features: np.ndarray) -> np.ndarray:
        """float32[n] probabilities of float32[n, features] rows; rows are independent of each other."""
        logit = self.trees.inplace_predict(features, predict_type="margin")
        return self.scaling(logit)

    def save(self, folder: Path) -> None:
        """Write the trees and the scaling as JSON, and the trees' checksum: XGBoost may crash on damaged trees."""
        trees = bytes(self.trees.save_raw("json"))
        (folder / _MODEL).write_bytes(trees)  # XGBoost's own writer hides a full disk behind an error of its own
        about = {
            "slope": self.scaling.slope,
            "offset": self.scaling.offset,
            "features": self.names,
            "trees_sha256": hashlib.sha256(trees).hexdigest(),
        }
        (folder / _SCALING).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "ActivityModel":
        """Read what ``save`` wrote; runs no code from the files. Raises OSError, or ValueError when they are damaged."""
        about = json.loads((folder / _SCALING).read_text(encoding="utf-8"))
        trees = (folder / _MODEL).read_bytes()
        try:
            scaling = Platt(float(about["slope"]), float(about["offset"]))
            names = [str(name) for name in about["features"]]
            checksum = about["trees_sha256"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"{folder / _SCALING} is not the scaling of an activity model: {error!r}") from None
        if hashlib.sha256(trees).hexdigest() != checksum:
            raise ValueError(f"{folder / _MODEL} is damaged: its checksum is not the one in {_SCALING}")
        return cls(xgboost.Booster(model_file=bytearray(trees)), scaling, names)


def training_rows(
    visits: Visits, day: int, options: ActivityOptions, seed: int, done: Callable[[], None] = lambda: None
) -> TrainingRows:
    """Users known on each of the last ``train_days`` days whose ``target_days`` after them end by ``day``, and whether they
    came in those.

    At most ``max_rows`` in all, the same share of each day, chosen from ``seed``. ``done`` is called after each part.
    Raises ValueError when there is no earlier day to learn from.
    """
    found = []
    for part in training_parts(visits, day, options, seed):
        found.append(part_rows(visits, day, options, part))
        done()
    return joined_rows(found)


def training_parts(visits: Visits, day: int, options: ActivityOptions, seed: int) -> list[TrainingPart]:
    """The parts of `training_rows`: each day's users of each PART_USERS users, by day and user. Raises as that does."""
    first = math.floor(visits.log.day[0]) if len(visits.log) else day
    end = day + 1 - options.target_days
    days = range(max(first, end - options.train_days), end)
    if not days:
        raise ValueError(
            f"there is no interaction before day {end}; the activity model needs at least one day to learn from"
        )
    known = [np.flatnonzero(visits.log.between(0, past).known()) for past in days]
    share = options.max_rows / sum(map(len, known))
    parts = []
    for past, there in zip(days, known, strict=True):
        users = there
        if share < 1:
            generator = np.random.default_rng([seed, past])
            users = np.sort(generator.choice(there, max(1, int(share * len(there))), replace=False))
        ends = np.searchsorted(users, np.arange(0, visits.log.users + PART_USERS, PART_USERS)).tolist()
        parts += [TrainingPart(past, users[low:high]) for low, high in pairwise(ends) if low < high]
    return parts


def part_rows(visits: Visits, day: int, options: ActivityOptions, part: TrainingPart) -> TrainingRows:
    """The rows of one part. About 40 passes over what its users did in ``history_days``, and one over what all did."""
    past, users = part
    first = int(users[0]) // PART_USERS * PART_USERS
    within = first, min(first + PART_USERS, visits.log.users)
    features, names = activity_features(visits, past, options.history_days, within)
    last, sorts = day - options.target_days, visits.log.is_rest(np.array([past + 1, day + 1]))
    alike = options.target_days == 1 and sorts[0] == sorts[1]
    weight = _DAILY_WEIGHT ** (last - past) * (_SAME_SORT_WEIGHT if alike else 1.0)
    return TrainingRows(
        features=features[users - first],
        visited=visits.log.between(past + 1, past + options.target_days).known()[users],
        weight=np.full(len(users), weight),
        held_out=users % _HELD_OUT == 0,
        names=names,
    )


def joined_rows(parts: Sequence[TrainingRows]) -> TrainingRows:
    """The rows of all parts, in their order."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    return TrainingRows(**columns, names=parts[0].names)


class _EachTree(xgboost.callback.TrainingCallback):
    """Calls a function after each tree."""

    def __init__(self, done: Callable[[], None]) -> None:
        self.done = done

    def after_iteration(self, model: xgboost.Booster, epoch: int, evals_log: object) -> bool:
        """Go on training."""
        self.done()
        return False


def train_activity(
    rows: TrainingRows, options: ActivityOptions, threads: int, done: Callable[[], None] = lambda: None
) -> ActivityModel:
    """Fit the trees on the rows that are not held out and the scaling on those that are.

    The result does not depend on ``threads``. ``done`` is called after each tree. Raises ValueError when nobody, or
    everybody, came.
    """
    kept = ~rows.held_out
    came = rows.visited[kept]
    if came.all() or not came.any():
        who = "nobody" if not came.any() else "everybody"
        raise ValueError(f"{who} of the {len(came)} training rows came on the day after; nothing can be learnt")
    rate = float(np.average(came, weights=rows.weight[kept]))
    data = xgboost.QuantileDMatrix(rows.features[kept], nthread=threads)
    settings = {
        "max_depth": options.depth,
        "eta": options.learning_rate,
        "min_child_weight": options.min_child_weight,
        "tree_method": "hist",
        "nthread": threads,
        "base_score": math.log(rate / (1 - rate)),
        "disable_default_eval_metric": True,
    }
    objective = _grid_log_loss(came, rows.weight[kept])
    trees = xgboost.train(settings, data, options.trees, obj=objective, callbacks=[_EachTree(done)])
    held = trees.inplace_predict(rows.features[rows.held_out], predict_type="margin")
    scaling = fit_platt(held, rows.visited[rows.held_out], rows.weight[rows.held_out])
    return ActivityModel(trees, scaling, rows.names)


def _grid_log_loss(
    visited: np.ndarray, weight: np.ndarray
) -> Callable[[np.ndarray, xgboost.DMatrix], tuple[np.ndarray, np.ndarray]]:
    def gradients(margin: np.ndarray, _: xgboost.DMatrix) -> tuple[np.ndarray, np.ndarray]:
        p = sigmoid(margin.astype(np.float64))
        return _on_grid(weight * (p - visited)), _on_grid(np.maximum(weight * p * (1 - p), _GRADIENT_GRID))

    return gradients


def _on_grid(values: np.ndarray) -> np.ndarray:
    return (np.round(values / _GRADIENT_GRID) * _GRADIENT_GRID).astype(np.float32)
