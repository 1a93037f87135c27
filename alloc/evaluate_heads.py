"""The rankers on the feedback heads: train on the days before, judge each head on the last days of the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..models.blend_ranker import blend
from ..models.cross_features import FeatureSources, cross_features
from ..models.cross_ranker import fit_cross
from ..models.expert_ranker import fit_experts
from ..models.heads import fit_heads, head_rates
from ..models.log import Log
from ..models.metrics import auc, brier, calibration_table, expected_calibration_error
from ..models.options import RankerOptions
from ..models.ranker import ranker_rows
from .artifacts import save_json
from .config import Config
from .errors import InputError
from .evaluate_days import FOLDER
from .lock import run_lock
from .model_log import model_log
from .progress import Progress
from .readers import read_tables
from .show import format_number, format_table
from .tables import Tables

_STAGE = 40
_RATE_DAYS = 3
_CHOSEN_BY = ("like", "skip")
_HEAD = ("head", "ranker", "positives", "AUC", "low", "high", "Brier", "predicted", "observed", "calibration error")


@dataclass(frozen=True, eq=False)
class Split:
    """The log, the first row of the test days, the heads, what features are made of, and notes on what is left out."""

    log: Log
    first: int
    heads: tuple[str, ...]
    sources: FeatureSources
    group: np.ndarray
    notes: tuple[str, ...]

    @property
    def outcomes(self) -> np.ndarray:
        """bool[n, heads]."""
        return np.stack([self.log.kinds[head] for head in self.heads], 1)


def evaluate_heads(config: Config, progress: Progress) -> str:
    """Fit every ranker of `ranker.kinds` on the days before the last `test_days` and return a table of their figures.

    Writes `OUT/evaluation/heads-NAME.json` with the same figures, whole or not at all. Raises InputError when the data has
    too few days or no head to judge.
    """
    if config.data.reader == "world":
        raise InputError("data.reader is world, which has no files; give --config and --data of a data set")
    if config.data.path is None:
        raise InputError(f"data.path is not given; name the folder of the {config.data.reader} files with --data")
    out = Path(config.out) / FOLDER
    with run_lock(out):
        tables = read_tables(config.data.reader, config.data.path)
        split = split_rows(tables, Path(config.data.path), config)
        options = config.ranker
        predicted = predictions(split, options, config.seed, progress)
        results = figures(split, predicted, options.resamples, config.seed)
        path = out / f"heads-{tables.name}.json"
        about = {"data": tables.name, "train_rows": split.first, "test_rows": len(split.log) - split.first}
        settings = {"seed": config.seed, "ranker": options.model_dump(mode="json")}
        save_json(path, {**about, **settings, "heads": results, "notes": split.notes})
    notes = [f"note: {note}" for note in split.notes]
    return "\n".join([heads_table(results), *notes, f"figures: {path}"])


def split_rows(tables: Tables, path: Path, config: Config) -> Split:
    """Cut off the last days and choose the heads that have enough positives in them. Raises InputError."""
    log, options = model_log(tables, config.data.holidays), config.ranker
    cut = tables.last_day + 1 - options.test_days
    first = int(np.searchsorted(log.day, cut))
    if not first:
        raise InputError(f"the data has no day before day {cut}; ranker.test_days is {options.test_days}, give fewer")
    notes, heads = list(tables.notes), []
    for kind in tables.heads:
        count, both = int(log.kinds[kind][first:].sum()), not log.kinds[kind][first:].all()
        if tables.name == "kuairand" and kind in _CHOSEN_BY:
            notes.append(f"{kind} is left out: rows were chosen by it")
        elif count < options.min_positives or not both:
            what = f"{count} positives on the test days, fewer than {options.min_positives}" if both else "always true"
            notes.append(f"{kind} is left out: {what}")
        else:
            heads.append(kind)
    if not heads:
        raise InputError(f"no head can be judged on the last {options.test_days} days: {'; '.join(notes)}")
    creator, category = tables.item_creator, tables.item_category
    group = creator if creator is not None else category
    group = np.full(len(tables.items), -1, np.int32) if group is None else group
    return Split(log, first, tuple(heads), _sources(tables, path, log), group, tuple(notes))


def predictions(split: Split, options: RankerOptions, seed: int, progress: Progress) -> dict[str, np.ndarray]:
    """float32[test rows, heads] by ranker. Raises InputError where a head cannot be learnt."""
    task = progress.task("rankers", 4)
    found: dict[str, np.ndarray] = {}
    if "heads" in options.kinds:
        found["heads"] = logistic_predictions(split)
    features = cross_features(split.sources, options.known)
    train, test = np.arange(split.first), np.arange(split.first, len(split.log))
    task.advance(1)
    try:
        rows = ranker_rows(features.take(train), split.outcomes[train], split.heads, options.held_out)
    except ValueError as error:
        raise InputError(f"the days before the test: {error}") from None
    fitted: dict[str, Any] = {}
    for kind, fit in (("cross", fit_cross), ("experts", fit_experts)):
        if {kind, "both"} & set(options.kinds):
            fitted[kind] = fit(rows, options, seed)
        task.advance(1)
    rankers = {kind: pair[0] for kind, pair in fitted.items()}
    if "both" in options.kinds:
        rankers["both"] = blend(rows, fitted["cross"], fitted["experts"])
    task.advance(1)
    asked = features.take(test)
    return found | {kind: ranker.predict(asked) for kind, ranker in rankers.items() if kind in options.kinds}


def logistic_predictions(split: Split) -> np.ndarray:
    """float32[test rows, heads] of the night's logistic heads, without the towers; rates are of the days before each."""
    log, train = split.log, split.log.take(slice(0, split.first))
    cut = max(int(train.day[0]), int(train.day[-1]) - _RATE_DAYS)
    before, after = train.between(0, cut), train.between(cut + 1, int(train.day[-1]))
    rates = head_rates(before, split.heads, split.group)
    heads = fit_heads(after, split.heads, rates, np.zeros(len(after), np.float32))
    parts = []
    for day in range(int(log.day[split.first]), int(log.day[-1]) + 1):
        rows, known = log.between(day, day), head_rates(log.between(0, day - 1), split.heads, split.group)
        columns = [
            head.probability(np.zeros(len(rows)), known.user[rows.user, place], known.item[rows.item, place])
            for place, head in enumerate(heads)
        ]
        parts.append(np.stack(columns, 1))
    return np.concatenate(parts).astype(np.float32)


def figures(split: Split, predicted: dict[str, np.ndarray], resamples: int, seed: int) -> list[dict[str, Any]]:
    """One record for each head and ranker. The interval of the AUC is of resampled users, the same for all rankers."""
    user = split.log.user[split.first :]
    generator = np.random.default_rng([seed, _STAGE])
    distinct, place = np.unique(user, return_inverse=True)
    size = len(distinct)
    draws = [np.bincount(generator.integers(0, size, size), minlength=size)[place] for _ in range(resamples)]
    records = []
    for number, head in enumerate(split.heads):
        happened = split.outcomes[split.first :, number]
        for ranker, every in predicted.items():
            p = every[:, number]
            areas = [auc(happened, p, weight) for weight in draws]
            low, high = np.nanquantile(areas, [0.025, 0.975])
            records.append(
                {
                    "head": head,
                    "ranker": ranker,
                    "positives": int(happened.sum()),
                    "auc": auc(happened, p),
                    "auc_low": float(low),
                    "auc_high": float(high),
                    "brier": brier(happened, p),
                    "predicted": float(p.mean(dtype=np.float64)),
                    "observed": float(happened.mean()),
                    "calibration_error": expected_calibration_error(calibration_table(happened, p)),
                }
            )
    return records


def heads_table(records: Sequence[dict[str, Any]]) -> str:
    """Plain text: one line for each head and ranker."""
    keys = ("positives", "auc", "auc_low", "auc_high", "brier", "predicted", "observed", "calibration_error")
    rows = [(record["head"], record["ranker"], *(format_number(record[key]) for key in keys)) for record in records]
    return format_table([_HEAD, *rows])


def _sources(tables: Tables, path: Path, log: Log) -> FeatureSources:
    if tables.name == "kuairand":
        from .readers.kuairand_columns import feature_sources

        return feature_sources(path, tables, log)
    return FeatureSources(log=log, creator=tables.item_creator, user_codes=tables.user_features)
