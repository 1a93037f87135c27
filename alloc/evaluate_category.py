"""The evaluation over several days on category scores: the allocation beside first come on the same scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from .artifacts import load_json
from .config import Config
from .evaluate_days import Evaluation, evaluate_days, pool
from .progress import Progress
from .show import format_number, format_table
from .stage import Stage
from .stage_list import STAGES
from .stage_store import FinishedStage

_TABLES, _ACTIVITY = STAGES[:2]
CATEGORY_STAGES = (
    _TABLES,
    Stage("affinity", "dualrec.alloc.category_scores:run", ("tables",)),
    _ACTIVITY,
    Stage(
        "category",
        "dualrec.alloc.stage_category:run",
        ("tables", "affinity", "activity"),
        ("retrieval", "allocation", "evaluate"),
    ),
)
_HEAD = (
    "day",
    "value, x",
    "gap %",
    "came true",
    "first come",
    "ratio",
    "recall",
    "first come",
    "matches",
    "candidates",
    "search s",
    "all s",
)


def evaluate_category(config: Config, days: Sequence[int], progress: Progress) -> str:
    """As `evaluate_days`, on category scores; the figures go to `OUT/evaluation/NAME-REGIME-category.json`.

    Raises InputError where the data has no categories too.
    """
    return evaluate_days(config, days, progress, _CATEGORY)


def pool_category(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures over all days: values, bounds, matches, candidates and seconds add up, rates as `pool` says."""
    value, bound, first = (
        sum(result[part][key] for result in results)
        for part, key in (("allocation", "value"), ("allocation", "bound"), ("first_come", "value"))
    )
    outcomes = pool([result["outcome"] for result in results])
    stages = [result["seconds"] for result in results]
    return {
        "allocation": {
            "value": value,
            "bound": bound,
            "gap": max(0.0, 1 - value / bound) if bound else 0.0,
            "matches": sum(result["allocation"]["matches"] for result in results),
        },
        "first_come": {"value": first},
        "problem": {"candidates": sum(result["problem"]["candidates"] for result in results)},
        "outcome": outcomes,
        "seconds": {name: sum(seconds[name] for seconds in stages) for name in stages[0]},
        **_ratios(value, first, outcomes),
    }


def category_table(results: Mapping[int, Mapping[str, Any]], pooled: Mapping[str, Any]) -> str:
    """Plain text: one line for each day, then the pooled line."""
    days = [(str(day), result) for day, result in results.items()]
    return format_table([_HEAD, *(_row(name, result) for name, result in [*days, ("all", pooled)])])


def _row(name: str, result: Mapping[str, Any]) -> tuple[str, ...]:
    ours, first = result["outcome"]["ours"], result["outcome"]["first_come"]
    seconds = result["seconds"]
    return (
        name,
        _times(result["value_ratio"]),
        f"{100 * result['allocation']['gap']:.3f}",
        format_number(ours["came_true"]),
        format_number(first["came_true"]),
        _times(result["came_true_ratio"]),
        format_number(ours["recall"]),
        format_number(first["recall"]),
        format_number(result["allocation"]["matches"]),
        format_number(result["problem"]["candidates"]),
        f"{seconds['category']:.1f}",
        f"{sum(seconds.values()):.1f}",
    )


def _result(finished: Mapping[str, FinishedStage]) -> dict[str, Any]:
    found = load_json(finished["category"].folder / "category.json")
    activity = load_json(finished["activity"].folder / "activity.json")
    ratios = _ratios(found["allocation"]["value"], found["first_come"]["value"], found["outcome"])
    return {**found, "activity": activity, **ratios}


def _ratios(value: float, first: float, outcomes: Mapping[str, Mapping[str, float]]) -> dict[str, float | None]:
    """Ours over first come's; None where first come has nothing."""
    true, first_true = (outcomes[name]["came_true"] for name in ("ours", "first_come"))
    return {
        "value_ratio": value / first if first else None,
        "came_true_ratio": true / first_true if first_true else None,
    }


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3f}"


_CATEGORY = Evaluation("-category", CATEGORY_STAGES, _result, pool_category, category_table)
