"""The table that a night ends with, from its metrics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PROBLEM = ("items", "users", "edges", "demand", "capacity")
_ALLOCATION = (
    ("solver", "solver"),
    ("status", "status"),
    ("matches", "matches"),
    ("value", "value"),
    ("bound", "upper bound"),
    ("bound_covers", "bound covers"),
    ("items_full", "items full"),
    ("items_short", "items short"),
    ("users_at_capacity", "users at capacity"),
)
_OUTCOME = ("hit_rate", "recall", "recall_without_cap", "precision", "came_true")


def run_summary(run_dir: Path, metrics: Mapping[str, Any]) -> str:
    """Plain text: problem, allocation, what it is worth beside first come, outcome, seconds, and the report's path."""
    rows = [("run", run_dir.name), *_problem_rows(metrics), *_allocation_rows(metrics), *_cost_rows(metrics)]
    parts = [format_table(rows), outcome_table(metrics.get("outcome", {}))]
    parts += [f"note: {note}" for note in metrics.get("notes", [])]
    parts.append(f"report: {run_dir / 'report.html'}")
    return "\n".join(part for part in parts if part)


def outcome_table(outcome: Mapping[str, Mapping[str, Any]]) -> str:
    """What users did afterwards, one line for each allocation; empty when it was not evaluated."""
    if not outcome:
        return ""
    rows = [("outcome", *(name.replace("_", " ") for name in _OUTCOME))]
    rows += [(name, *(format_number(entry.get(key)) for key in _OUTCOME)) for name, entry in outcome.items()]
    return "\n" + format_table(rows)


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as aligned columns: the first to the left; the others too in tables of two, else to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        adjust = str.rjust if len(row) > 2 else str.ljust
        others = [adjust(cell, width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *others]).rstrip())
    return "\n".join(lines)


def format_number(value: object) -> str:
    """A count with thousands separators, a fraction with four digits, other numbers with two, nothing as a dash."""
    if value is None:
        return "-"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"
    return f"{value:,.0f}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _problem_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    problem = metrics.get("problem", {})
    return [(key, format_number(problem[key])) for key in _PROBLEM if key in problem]


def _allocation_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    allocation = metrics.get("allocation", {})
    rows = [(label, format_number(allocation[key])) for key, label in _ALLOCATION if key in allocation]
    if "gap" in allocation:
        rows.append(("gap", f"{100 * allocation['gap']:.4f} %"))
    if allocation.get("bound_covers") == "candidates" and "gap_all_pairs" in allocation:
        rows.append(("gap over all pairs", f"{100 * allocation['gap_all_pairs']:.4f} %"))
    first_come = metrics.get("baselines", {}).get("first_come", {}).get("value")
    if first_come:
        ratio = allocation["value"] / first_come if "value" in allocation else float("nan")
        rows.append(("first come's value", f"{format_number(first_come)} (ours is {ratio:.3f} x)"))
    return rows


def _cost_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    activity = metrics.get("activity", {})
    if "auc" in activity:
        rows.append(("activity AUC", format_number(activity["auc"])))
    seconds = metrics.get("seconds", {})
    if seconds:
        stages = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
        rows.append(("seconds", f"{sum(seconds.values()):.1f} ({stages})"))
    if "peak_memory_mb" in metrics:
        rows.append(("peak memory", f"{metrics['peak_memory_mb']:,.0f} MB"))
    return rows
