"""The evaluation protocol over several days: each day's night without its report, and the outcomes pooled."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from .artifacts import load_json, save_json
from .config import Config
from .device import settle_device
from .errors import EmptyDayError, InputError
from .fingerprint import data_fingerprint
from .lock import run_lock
from .night import run_key
from .progress import Progress
from .show import format_number, format_table
from .stage import Stage
from .stage_list import EVALUATED
from .stage_store import FinishedStage, run_stages

FOLDER = "evaluation"
_POOLED = {
    "hit_rate": "matches",
    "recall": "items_scored",
    "precision": "items_scored",
    "recall_without_cap": "items_scored",
}
_SUMMED = ("came_true", "items_scored", "matches")


@dataclass(frozen=True)
class Evaluation:
    """What is run and told of each day.

    ``suffix``: of the names of its files. ``result``: a day's figures from its finished stages. ``pooled``: figures over
    all days from those of each. ``table``: both as text.
    """

    suffix: str
    stages: Sequence[Stage]
    result: Callable[[Mapping[str, FinishedStage]], dict[str, Any]]
    pooled: Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]
    table: Callable[[Mapping[int, Mapping[str, Any]], Mapping[str, Any]], str]


def evaluate_days(config: Config, days: Sequence[int], progress: Progress, kind: Evaluation | None = None) -> str:
    """Run the stages up to the evaluation for each day and return a table of outcomes by day and pooled.

    Writes `OUT/evaluation/NAME-REGIME.json` with the same figures, whole or not at all. A day with nothing to score is
    left out and named in the table; an evaluation that was stopped goes on after the days that were done. ``kind``: the
    night's models when None. Raises InputError when no day has a truth window, and what the stages raise.
    """
    kind, config = kind or _MODEL, settle_device(config, progress)
    out = Path(config.out) / FOLDER
    results: dict[int, dict[str, Any]] = {}
    skipped = []
    with run_lock(out):
        for day in days:
            progress.note(f"day {day}")
            try:
                results[day] = _one_day(config, day, out, progress, kind)
            except EmptyDayError as error:
                if len(days) == 1:
                    raise
                skipped.append(f"day {day} left out: {error}")
        if not results:
            raise InputError(f"none of the days {_shown(days)} could be evaluated; {skipped[0]}")
        pooled = kind.pooled(list(results.values()))
        about = next(iter(results.values()))["data"]
        path = out / f"{about['name']}-{about['regime']}{kind.suffix}.json"
        save_json(path, {"days": results, "pooled": pooled, "skipped": skipped})
    return "\n".join([kind.table(results, pooled), *skipped, f"figures: {path}"])


def pool(outcomes: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Outcomes of several days as one: counts add up, rates are means weighted by the items or matches behind them."""
    pooled: dict[str, dict[str, float]] = {}
    for name in outcomes[0]:
        days = [outcome[name] for outcome in outcomes if name in outcome]
        pooled[name] = {key: sum(day[key] for day in days) for key in _SUMMED}
        for key, weight in _POOLED.items():
            known = [day for day in days if day[weight] and day.get(key) is not None]
            mass = sum(day[weight] for day in known)
            pooled[name][key] = sum(day[key] * day[weight] for day in known) / mass if mass else float("nan")
    return pooled


def days_table(results: Mapping[int, Mapping[str, Any]], pooled: Mapping[str, Mapping[str, float]]) -> str:
    """Plain text: one line for each day and allocation, then the pooled lines."""
    rows: list[tuple[str, ...]] = [
        ("day", "allocation", "value", "gap %", "hit rate", "recall", "no cap", "came true", "AUC")
    ]
    for day, result in results.items():
        for name, figures in result["outcome"].items():
            ours = name == "ours"
            value = result["allocation"]["value"] if ours else result["baselines"][name]["value"]
            gap = f"{100 * result['allocation']['gap']:.3f}" if ours else ""
            area = format_number(result["activity"].get("auc")) if ours else ""
            rows.append((str(day), name, format_number(float(value)), gap, *_figures(figures), area))
    rows += [("all", name, "", "", *_figures(figures), "") for name, figures in pooled.items()]
    return format_table(rows)


def _figures(figures: Mapping[str, float]) -> tuple[str, ...]:
    found = (figures.get(key) for key in ("hit_rate", "recall", "recall_without_cap", "came_true"))
    return tuple(format_number(None if figure is None or isnan(figure) else figure) for figure in found)


def _one_day(config: Config, day: int, out: Path, progress: Progress, kind: Evaluation) -> dict[str, Any]:
    """The day's figures; those of an earlier run with the same settings, data and program are read, not made again."""
    night = config.model_copy(update={"data": config.data.model_copy(update={"day": day})})
    fingerprint = data_fingerprint(night)
    stored = out / "days" / f"day{day}{kind.suffix}-{run_key(night, fingerprint)[:16]}.json"
    if stored.exists():
        progress.note(f"day {day}: reused")
        return dict(load_json(stored))
    finished = run_stages(kind.stages, night, out / "work", progress, fingerprint)
    about = load_json(finished["tables"].folder / "night.json")
    if not about["has_truth"]:
        raise EmptyDayError(f"day {day} has no truth window in the data, which is needed to evaluate it")
    stored.parent.mkdir(exist_ok=True)
    about = {key: about[key] for key in ("name", "day", "regime")}
    seconds = {name: stage.seconds for name, stage in finished.items()}
    save_json(stored, {"data": about, "seconds": seconds, **kind.result(finished)})
    return dict(load_json(stored))


def _result(finished: Mapping[str, FinishedStage]) -> dict[str, Any]:
    evaluation = load_json(finished["evaluation"].folder / "evaluation.json")
    return {
        "allocation": load_json(finished["allocation"].folder / "allocation.json"),
        "activity": load_json(finished["activity"].folder / "activity.json"),
        "ranking_auc": evaluation["ranking_auc"],
        "baselines": evaluation["baselines"],
        "outcome": evaluation["outcome"],
    }


def _pooled(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return pool([result["outcome"] for result in results])


def _shown(days: Sequence[int]) -> str:
    return ", ".join(map(str, days))


_MODEL = Evaluation("", EVALUATED, _result, _pooled, days_table)
