"""Stage `report`: metrics.json and report.html from what the other stages found."""

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .artifacts import load_array, load_json, save_json, write_text
from .night_view import NightView, load_view
from .report import render_report
from .sources import SOURCES
from .stage import StageContext

_SAMPLE = 20_000


def run(context: StageContext) -> None:
    """Write `metrics.json` and `report.html`."""
    view = load_view(context.input("tables"))
    metrics = gather_metrics(context)
    save_json(context.out / "metrics.json", metrics)
    html = render_report(load_json(context.out / "metrics.json"), plot_data(context, view), context.config_yaml)
    write_text(context.out / "report.html", html)


def gather_metrics(context: StageContext) -> dict[str, object]:
    """The dictionary of metrics.json."""
    night = load_json(context.input("tables") / "night.json")
    candidates = load_json(context.input("candidates") / "candidates.json")
    evaluation = load_json(context.input("evaluation") / "evaluation.json")
    ranking = load_json(context.input("ranking") / "ranking.json")
    retrieval = load_json(context.input("retrieval") / "retrieval.json")
    users, items = _axes(context)
    options = context.config.allocation
    metrics: dict[str, object] = {
        "data": {key: night[key] for key in ("name", "day", "date", "regime", "heads")},
        "problem": {
            "items": len(items),
            "users": len(users),
            "edges": len(load_array(context.input("candidates") / "user.npy")),
            "demand": options.demand,
            "capacity": options.capacity if options.capacity_column is None else None,
            "capacity_column": options.capacity_column,
        },
        "allocation": load_json(context.input("allocation") / "allocation.json"),
        "candidates": {key: candidates[key] for key in ("rounds", "recall", "over_limit")},
        "baselines": evaluation["baselines"],
        "activity": load_json(context.input("activity") / "activity.json"),
        "ranking": {
            "auc": evaluation.get("ranking_auc", {}),
            "beta": dict(zip(night["heads"], ranking["beta"], strict=True)),
            "activity_threshold": ranking["threshold"],
            "model": ranking["fit"]["model"],
        },
        "retrieval": {"share": share_by_source(context.input("allocation"))}
        | {key: retrieval[key] for key in ("similar_by", "similar_users_by")},
        "seconds": dict(context.seconds),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "engine": _engine(context),
        "device": context.config.device,
        "notes": [
            *night["notes"],
            *evaluation["notes"],
            *_heads_note(ranking),
            *_empty_note(context),
            *_engine_note(context),
        ],
    }
    if "outcome" in evaluation:
        metrics["outcome"] = evaluation["outcome"]
    return metrics


def _empty_note(context: StageContext) -> list[str]:
    matches = load_json(context.input("allocation") / "allocation.json")["matches"]
    cause = "no pair has a positive score and a free place; see demand, capacity and the activity threshold"
    return [] if matches else [f"No match was made: {cause}."]


def _heads_note(ranking: Mapping[str, Any]) -> list[str]:
    """Why the heads are smoothed rates, where the config asked for the network."""
    note = ranking["fit"].get("note")
    return [note] if note else []


def _engine(context: StageContext) -> str:
    """Whether workers allocated, as in the report's key: not what they ran on, which changes nothing."""
    return "local" if context.config.engine == "local" else "workers"


def _engine_note(context: StageContext) -> list[str]:
    return [] if _engine(context) == "local" else ["The allocation is that of the auction over workers (engine)."]


def share_by_source(allocation: Path) -> dict[str, float]:
    """Share of the matches in this stage's folder that each source found first."""
    import pyarrow.parquet as pq

    source = pq.read_table(allocation / "matches.parquet", columns=["source"])["source"].to_numpy()
    return {name: float(np.mean(source == name)) if len(source) else 0.0 for name in SOURCES.values()}


def plot_data(context: StageContext, view: NightView) -> dict[str, np.ndarray]:
    """The arrays behind the report's plots; see ``render_report``."""
    users, items = _axes(context)
    folder, allocation = context.input("candidates"), context.input("allocation")
    item, user = load_array(allocation / "item.npy"), load_array(allocation / "user.npy")
    first_item, first_user = load_array(folder / "first_come_item.npy"), load_array(folder / "first_come_user.npy")
    score = _scores(context)
    hour = (view.log.upload[items] % 1 * 24).astype(np.int64)
    p_active = load_array(context.input("activity") / "p_active.npy")[users]
    fill, first_fill = (np.bincount(part, minlength=len(items)) for part in (item, first_item))
    worth = np.bincount(item, score, minlength=len(items))
    first_worth = np.bincount(first_item, load_array(folder / "first_come_score.npy"), minlength=len(items))
    return {
        "user_load": np.bincount(user, minlength=len(users)),
        "first_come_user_load": np.bincount(first_user, minlength=len(users)),
        "item_fill": fill,
        "first_come_item_fill": first_fill,
        "demand": np.full(len(items), context.config.allocation.demand),
        "capacity": np.array(load_array(folder / "capacity.npy")),
        "user_prices": np.array(load_array(allocation / "user_prices.npy")),
        "score_sample": score[:: len(score) // _SAMPLE + 1],
        "p_active_sample": p_active[:: len(p_active) // _SAMPLE + 1],
        "upload_hour_fill": _by_hour(hour, fill),
        "first_come_upload_hour_fill": _by_hour(hour, first_fill),
        "upload_hour_value": _by_hour(hour, worth),
        "first_come_upload_hour_value": _by_hour(hour, first_worth),
    }


def _axes(context: StageContext) -> tuple[np.ndarray, np.ndarray]:
    folder = context.input("retrieval")
    return load_array(folder / "users.npy"), load_array(folder / "items.npy")


def _scores(context: StageContext) -> np.ndarray:
    """Scores of the matches in the order of `allocation`'s item.npy and user.npy, both ascending by (item, user)."""
    folder, allocation = context.input("candidates"), context.input("allocation")
    users = len(_axes(context)[0])
    indptr, user = load_array(folder / "indptr.npy"), load_array(folder / "user.npy")
    edge = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)) * np.int64(users) + user
    matched = load_array(allocation / "item.npy") * np.int64(users) + load_array(allocation / "user.npy")
    return np.asarray(load_array(folder / "score.npy")[np.searchsorted(edge, matched)])


def _by_hour(hour: np.ndarray, values: np.ndarray) -> np.ndarray:
    """float64[24]: mean of the items uploaded in each hour, NaN where there is none."""
    count = np.bincount(hour, minlength=24)
    return np.where(count, np.bincount(hour, values, minlength=24) / np.maximum(count, 1), np.nan)
