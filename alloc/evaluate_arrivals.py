"""The evaluation of the stream over several days: each day's items in order of arrival, by the night before."""

from collections.abc import Mapping, Sequence
from typing import Any

from .artifacts import load_json
from .config import Config
from .errors import InputError
from .evaluate_days import Evaluation, evaluate_days
from .progress import Progress
from .show import format_number, format_table
from .stage import Stage
from .stage_list import STAGES
from .stage_store import FinishedStage

RULES = ("first_come", "prices", "corrected", "bid_curves", "own_prices", "own_bids")
"""The last two know the day that comes."""

ARRIVAL_STAGES = (
    *(stage for stage in STAGES if stage.name not in {"evaluation", "report"}),
    Stage(
        "arrivals",
        "dualrec.alloc.stage_arrivals:run",
        ("tables", "retrieval", "allocation", "serving"),
        ("retrieval", "allocation", "device"),
    ),
)


def evaluate_arrivals(config: Config, days: Sequence[int], progress: Progress) -> str:
    """As `evaluate_days`, of the items of ``days`` by the nights of the days before; the figures go to
    `OUT/evaluation/NAME-REGIME-arrivals.json`, by the night's day.

    Raises InputError for day 0, which has no night before it.
    """
    if 0 in days:
        raise InputError("--days has day 0, expected days with a night before them, from 1 on")
    return evaluate_days(config, [day - 1 for day in days], progress, _ARRIVALS)


def pool_arrivals(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Items and values over all days add up."""
    sums = {rule: sum(result["values"][rule] for result in results) for rule in RULES}
    best = {key: sum(result["best"][key] for result in results) for key in ("value", "bound")}
    gap = max(0.0, 1 - best["value"] / best["bound"]) if best["bound"] else 0.0
    return {"items": sum(result["items"] for result in results), "values": sums, "best": {**best, "gap": gap}}


def arrivals_table(results: Mapping[int, Mapping[str, Any]], pooled: Mapping[str, Any]) -> str:
    """Plain text: one line for each day, then the pooled line; each rule's value as a share of the certified one."""
    head = ("day", "items", "certified value", "gap %", *(f"{rule.replace('_', ' ')} %" for rule in RULES))
    days = [(str(night + 1), result) for night, result in results.items()]
    return format_table([head, *(_row(name, result) for name, result in [*days, ("all", pooled)])])


def _row(name: str, result: Mapping[str, Any]) -> tuple[str, ...]:
    best, values = result["best"], result["values"]
    shares = (f"{100 * values[rule] / best['value']:.1f}" if best["value"] else "-" for rule in RULES)
    return (name, str(result["items"]), format_number(best["value"]), f"{100 * best['gap']:.3f}", *shares)


def _result(finished: Mapping[str, FinishedStage]) -> dict[str, Any]:
    return dict(load_json(finished["arrivals"].folder / "arrivals.json"))


_ARRIVALS = Evaluation("-arrivals", ARRIVAL_STAGES, _result, pool_arrivals, arrivals_table)
