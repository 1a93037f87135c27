"""What the report says in words, and the numbers behind it, from a night's metrics of which any part may be missing."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from .show import format_number
from .stage_list import STAGES


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a finite number; None, NaN and truth values are not."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def words(value: object) -> str:
    """A number with thousands separators, a dash for one that is missing, lists joined, other things as they are."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(words(entry) for entry in value) or "none"
    return format_number(None if isinstance(value, float) and not math.isfinite(value) else value)


def amount(value: object) -> str:
    """A sum of scores or a time: two decimals from 1,000 up, else four; a dash if it is missing."""
    if not is_number(value):
        return "-"
    return f"{value:,.2f}" if abs(value) >= 1000 else f"{value:.4f}"


def figure_text(section: Mapping[str, Any], key: str) -> str:
    """The fraction of that name with four digits, or a dash."""
    value = section.get(key)
    return f"{value:.4f}" if is_number(value) else words(value)


def percent_up(share: float) -> str:
    """A share as a percentage of three significant digits, rounded up, so that "at most" it stays true."""
    percent = 100 * share
    if not percent > 0:
        return "0 %"
    decimals = max(0, 2 - math.floor(math.log10(percent)))
    scaled = math.ceil(percent * 10**decimals * (1 - 1e-9)) / 10**decimals
    text = f"{scaled:.{decimals}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def times(ratio: float) -> str:
    """A ratio with two decimals, or four when it is within a hundredth of 1 but not 1."""
    return f"{ratio:.4f}" if 0 < abs(ratio - 1) < 0.01 else f"{ratio:,.2f}"


def numbers(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray | None:
    """The finite values of that array, flat; None when it is missing or holds none."""
    values = np.asarray(arrays.get(name, ())).ravel()
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return values if values.size else None


def section(metrics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """That section of the metrics, empty when it is missing."""
    found = metrics.get(name)
    return found if isinstance(found, Mapping) else {}


def ordered_values(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The value of ours, where known, then the baselines' from the largest down."""
    baselines = section(metrics, "baselines")
    values = {name: section(baselines, name).get("value") for name in baselines}
    largest_first = sorted((-value, name) for name, value in values.items() if is_number(value))
    ours = section(metrics, "allocation").get("value")
    first = {"ours": float(ours)} if is_number(ours) else {}
    return {**first, **{name: -value for value, name in largest_first}}


def seconds_by_stage(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of each stage in the order of the night, stages it does not know last."""
    seconds = {name: value for name, value in section(metrics, "seconds").items() if is_number(value)}
    known = [stage.name for stage in STAGES if stage.name in seconds]
    return {name: seconds[name] for name in (*known, *sorted(set(seconds) - set(known)))}


def all_pairs_gap(value: object, bound: object) -> float:
    """(bound - value) / bound, 0 where the bound is not above 0, NaN where either is missing."""
    if not (is_number(value) and is_number(bound)):
        return math.nan
    return max(0.0, (bound - value) / bound) if bound > 0 else 0.0


def all_pairs_bound(metrics: Mapping[str, Any]) -> float | None:
    """The lowest bound over all pairs of any round or of the allocation itself: each of them holds for the night."""
    rounds = section(metrics, "candidates").get("rounds") or []
    bounds = [entry.get("bound_all_pairs") for entry in rounds]
    allocation = section(metrics, "allocation")
    if covers(allocation) == "all pairs":
        bounds.append(allocation.get("bound"))
    return min((float(bound) for bound in bounds if is_number(bound)), default=None)


def covers(allocation: Mapping[str, Any]) -> str:
    """Which pairs the allocation's bound speaks for, in words."""
    return str(allocation.get("bound_covers") or "candidates").replace("_", " ")


def headline(metrics: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[str]:
    """One to three sentences: places filled, what they are worth, what came true."""
    sentences = [_places(metrics, arrays), _worth(metrics), _truth(metrics)]
    return [text for text in sentences if text] or ["The run has no figures on its allocation."]


def _places(metrics: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    allocation = section(metrics, "allocation")
    matches = allocation.get("matches")
    if not is_number(matches):
        return ""
    demand, capacity = numbers(arrays, "demand"), numbers(arrays, "capacity")
    if demand is None:
        return f"{words(matches)} matches were made."
    wanted = int(demand.sum(dtype=np.int64))
    text = f"{words(matches)} of {words(wanted)} wanted places are filled"
    supply = wanted if capacity is None else int(capacity.sum(dtype=np.int64))
    return text + (f"; the users have only {words(supply)} places to give." if supply < wanted else ".")


def _worth(metrics: Mapping[str, Any]) -> str:
    values = ordered_values(metrics)
    parts = []
    if values.get("first_come", 0) > 0 and "ours" in values:
        parts.append(f"is worth {times(values['ours'] / values['first_come'])} times first come's on the same scores")
    certified = _certified(metrics)
    if certified:
        parts.append(certified)
    return f"The allocation {' and '.join(parts)}." if parts else ""


def _certified(metrics: Mapping[str, Any]) -> str:
    """How far at most from the best possible, over all pairs where that is known, else over the bound's own."""
    allocation = section(metrics, "allocation")
    bound, over = all_pairs_bound(metrics), "all pairs"
    if bound is None:
        bound, over = allocation.get("bound"), covers(allocation)
    gap = all_pairs_gap(allocation.get("value"), bound)
    over = "all pairs" if over == "all pairs" else f"the {over}"
    return "" if math.isnan(gap) else f"is at most {percent_up(gap)} below the best possible over {over}"


def _truth(metrics: Mapping[str, Any]) -> str:
    outcome = section(metrics, "outcome")
    came = {name: section(outcome, name).get("came_true") for name in outcome}
    if not is_number(came.get("ours")):
        return ""
    text = f"{words(came['ours'])} matches came true"
    return text + (f", {words(came['first_come'])} of first come's." if is_number(came.get("first_come")) else ".")


def notes_about(notes: Sequence[str], subjects: Sequence[str]) -> list[str]:
    """The notes in which one of the subjects' words stands."""
    return [note for note in notes if any(subject in note.lower() for subject in subjects)]


def key_figures(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The few figures at the top of the page as (name, figure), those that are known."""
    allocation, ours = section(metrics, "allocation"), section(section(metrics, "outcome"), "ours")
    values = ordered_values(metrics)
    first_come = values.get("first_come", 0)
    gap = all_pairs_gap(allocation.get("value"), all_pairs_bound(metrics))
    found = [
        ("matches", words(allocation.get("matches"))),
        ("value", amount(allocation.get("value"))),
        (
            "times first come's value",
            times(values["ours"] / first_come) if first_come > 0 and "ours" in values else "-",
        ),
        (f"gap over {covers(allocation)}", percent_up(allocation["gap"]) if is_number(allocation.get("gap")) else "-"),
        ("gap over all pairs", "-" if math.isnan(gap) else percent_up(gap)),
        ("hit rate", figure_text(ours, "hit_rate")),
        ("came true", words(ours.get("came_true"))),
        ("activity AUC", figure_text(section(metrics, "activity"), "auc")),
    ]
    return [(name, figure) for name, figure in dict(found).items() if figure != "-"]
