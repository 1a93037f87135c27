"""Boosted trees over columns of user and item together, a few for each head that differ in their seed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from .options import RankerOptions
from .ranker import Ranker, RankerRows, fitted, read_stored

_TREES = "trees.json"
_PATIENCE = 40
_BASE = (1e-4, 1 - 1e-4)


@dataclass(frozen=True, eq=False, kw_only=True)
class CrossRanker(Ranker):
    """``trees``: for each head, the boosters whose logits are averaged."""

    kind = "cross"
    trees: tuple[tuple[xgboost.Booster, ...], ...]

    def logits(self, values: np.ndarray) -> np.ndarray:
        """float64[n, heads] of float32[n, features]."""
        return np.stack([_mean_logit(bags, values) for bags in self.trees], 1)

    def save(self, folder: Path) -> None:
        """Write the trees, all as JSON in one file, and the header."""
        parts = [bytes(tree.save_raw("json")) for bags in self.trees for tree in bags]
        self._save(folder, {_TREES: b"".join(parts)}, {"bytes": [len(part) for part in parts]})

    @classmethod
    def load(cls, folder: Path) -> "CrossRanker":
        """Read what ``save`` wrote; runs no code from the files. Raises OSError, ValueError when they are damaged."""
        stored = read_stored(folder, cls.kind)
        sizes, data = stored.about.get("bytes"), stored.files.get(_TREES, b"")
        heads = len(stored.common["heads"])
        if not isinstance(sizes, list) or sum(sizes) != len(data) or not sizes or len(sizes) % heads:
            raise ValueError(f"{folder / _TREES} does not hold the trees of {heads} heads")
        ends = np.cumsum(sizes)
        every = [
            xgboost.Booster(model_file=bytearray(data[end - size : end])) for size, end in zip(sizes, ends, strict=True)
        ]
        bags = len(sizes) // heads
        trees = tuple(tuple(every[start : start + bags]) for start in range(0, len(every), bags))
        return cls(**stored.common, trees=trees)


def fit_cross(rows: RankerRows, options: RankerOptions, seed: int) -> tuple[CrossRanker, np.ndarray]:
    """Fit on one thread, so that the trees are the same everywhere with the same library.

    The held-out rows say how many trees each booster gets and fit the calibration; the boosters are then fitted again on
    all rows with as many. Returns the ranker, and float64[held-out, heads], the logits of the first boosters there.
    """
    values, held = rows.features.values, rows.held_out
    early = xgboost.QuantileDMatrix(values[~held], nthread=1)
    late = xgboost.QuantileDMatrix(values[held], ref=early, nthread=1)
    whole = xgboost.QuantileDMatrix(values, nthread=1)
    trees, logits = [], []
    for place in range(len(rows.heads)):
        happened = rows.outcomes[:, place]
        early.set_label(happened[~held].astype(np.float32))
        late.set_label(happened[held].astype(np.float32))
        whole.set_label(happened.astype(np.float32))
        settings = [
            _settings(options, float(happened.mean()), (seed * 1009 + bag) % 2**31) for bag in range(options.bags)
        ]
        first = [_stopped(each, early, late, options.trees) for each in settings]
        logits.append(_mean_logit(first, values[held]))
        counts = [tree.num_boosted_rounds() for tree in first]
        trees.append(
            tuple(xgboost.train(each, whole, num_boost_round=n) for each, n in zip(settings, counts, strict=True))
        )
    found = np.stack(logits, 1)
    ranker = CrossRanker(
        **fitted(rows, options.model_dump(mode="json"), found),
        trees=tuple(trees),
    )
    return ranker, found


def _settings(options: RankerOptions, share: float, seed: int) -> dict[str, Any]:
    return {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "tree_method": "hist",
        "nthread": 1,
        "seed": seed,
        "base_score": float(np.clip(share, *_BASE)),
        "max_depth": options.depth,
        "eta": options.learning_rate,
        "min_child_weight": options.min_child_weight,
        "lambda": options.l2,
        "subsample": options.row_share,
        "colsample_bytree": options.column_share,
    }


def _stopped(settings: dict[str, Any], early: xgboost.DMatrix, late: xgboost.DMatrix, most: int) -> xgboost.Booster:
    """Fitted on ``early``, with as many trees as were best on ``late``."""
    stop = xgboost.callback.EarlyStopping(rounds=_PATIENCE, save_best=True)
    return xgboost.train(
        settings, early, num_boost_round=most, evals=[(late, "held")], verbose_eval=False, callbacks=[stop]
    )


def _mean_logit(trees: tuple[xgboost.Booster, ...] | list[xgboost.Booster], values: np.ndarray) -> np.ndarray:
    return np.mean([tree.inplace_predict(values, predict_type="margin").astype(np.float64) for tree in trees], 0)
