"""The report's sections on the allocation: certificate, baselines, outcome, loads, upload hours."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .plots import plain_name
from .plots_allocation import hour_plot, item_fill_plot, price_plot, score_plot, user_load_plot, value_plot
from .report_parts import Section, Table, absent, plot_section, present
from .report_words import (
    all_pairs_bound,
    all_pairs_gap,
    amount,
    covers,
    figure_text,
    is_number,
    numbers,
    ordered_values,
    percent_up,
    section,
    times,
    words,
)

Metrics = Mapping[str, Any]
Arrays = Mapping[str, np.ndarray]

_SIZES = {
    "items": "Items",
    "users": "Users",
    "edges": "Candidate pairs",
    "demand": "Demand",
    "capacity": "Capacity",
    "matches": "Matches",
    "items_full": "Items full",
    "items_short": "Items short",
    "users_at_capacity": "Users at capacity",
}
_CERTIFICATE_TEXT = (
    "No allocation over the pairs that a bound covers is worth more than the bound. It is computed from the scores, "
    "the matches and the users' prices alone, by code that is not the solver's."
)
_BASELINES_TEXT = "Every allocation keeps the same demand and capacity and is valued on the same scores."
_OUTCOME_TEXT = (
    "What users did in the truth window after the night. Hit rate: share of the matches whose user came. Recall: "
    "share of an item's truth users that were matched, out of as many as could be; without a cap: if every item got "
    "its best users, however often a user is taken; precision: share of its matches that are truth users; all three "
    "are means over the scored items. Came true: matches whose user interacted with the item."
)
_HOURS_TEXT = "First come serves items in the order of their upload, so late uploads find the best users taken."


def certificate_section(metrics: Metrics, arrays: Arrays) -> Section:
    """Value, bound, gap and what they cover, then the sizes of the problem and of the answer."""
    title = "Certificate"
    allocation = section(metrics, "allocation")
    sizes = Table(tuple(_size_rows(metrics, arrays)))
    if not allocation:
        missing = absent(metrics, "allocation", ("allocation", "solver"))
        return Section("certificate", title, tables=present(sizes), missing=missing)
    certificate = Table(tuple(_certificate_rows(metrics)))
    return Section("certificate", title, (_CERTIFICATE_TEXT,), present(certificate, sizes))


def _certificate_rows(metrics: Metrics) -> list[tuple[str, str]]:
    allocation = section(metrics, "allocation")
    value, bound, gap = (allocation.get(key) for key in ("value", "bound", "gap"))
    rows = [
        ("Solver", plain_name(allocation.get("solver") or "-")),
        ("Status", status_sentence(allocation.get("status"))),
        ("Value", amount(value)),
        (f"Upper bound over {covers(allocation)}", amount(bound)),
        (f"Gap over {covers(allocation)}", _at_most(gap)),
    ]
    searched = section(metrics, "candidates")
    if is_number(searched.get("recall")):
        rows.append(("Of the best users at the prices, the search found", f"{100 * searched['recall']:.1f} %"))
    if searched.get("over_limit"):
        rows.append(("Candidates over the limit of an item, given up", f"{searched['over_limit']:,}"))
    wide = all_pairs_bound(metrics)
    if wide is not None and covers(allocation) != "all pairs":
        rows.append(("Upper bound over all pairs", amount(wide)))
        rows.append(("Gap over all pairs", _at_most(all_pairs_gap(value, wide))))
    return rows


def _at_most(gap: object) -> str:
    return f"at most {percent_up(gap)}" if is_number(gap) else "-"


def status_sentence(status: object) -> str:
    """What the solver's status means; a status that no solver has is given as it stands, none as a dash."""
    from ..solvers.allocation import Status

    known = {entry.value: entry.sentence for entry in Status}
    return known.get(str(status), "-" if status is None else str(status))


def _size_rows(metrics: Metrics, arrays: Arrays) -> list[tuple[str, str]]:
    sizes = {**section(metrics, "allocation"), **section(metrics, "problem")}
    rows = [(label, words(sizes[key])) for key, label in _SIZES.items() if key in sizes]
    for key, label in (("demand", "Places wanted by all items"), ("capacity", "Places offered by all users")):
        values = numbers(arrays, key)
        if values is not None:
            rows.append((label, words(int(values.sum(dtype=np.int64)))))
    return rows


def baselines_section(metrics: Metrics) -> Section:
    """The value beside that of each baseline."""
    names = ("baselines", "Value against the baselines")
    if not section(metrics, "baselines"):
        return Section(*names, missing=absent(metrics, "baselines", ("baseline", "first come")))
    values = ordered_values(metrics)
    ours = values.get("ours", 0.0)
    rows = [
        (plain_name(name), amount(value), times(ours / value) if ours and value else "-")
        for name, value in values.items()
    ]
    table = Table(tuple(rows), ("Allocation", "Value", "Ours is times this"))
    plots = {"a value of ours beside the baselines": value_plot(metrics)}
    return plot_section(metrics, names, plots, ("baseline", "value"), text=(_BASELINES_TEXT,), tables=present(table))


def outcome_section(metrics: Metrics) -> Section:
    """What users did afterwards, ours first, then each baseline."""
    outcome = section(metrics, "outcome")
    if not outcome:
        return Section("outcome", "Outcome", missing=absent(metrics, "outcome", ("outcome", "evaluat", "truth")))
    header = (
        "Allocation",
        "Hit rate",
        "Recall",
        "Recall without a cap",
        "Precision",
        "Came true",
        "Matches",
        "Items scored",
    )
    names = sorted(outcome, key=lambda name: name != "ours")
    table = Table(tuple(_outcome_row(name, section(outcome, name)) for name in names), header)
    return Section("outcome", "Outcome", (_OUTCOME_TEXT,), (table,))


def _outcome_row(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    fractions = (figure_text(entry, key) for key in ("hit_rate", "recall", "recall_without_cap", "precision"))
    counts = (words(entry.get(key)) for key in ("came_true", "matches", "items_scored"))
    return (plain_name(name), *fractions, *counts)


def loads_section(metrics: Metrics, arrays: Arrays) -> Section:
    """Histograms of the users' loads, the items' fill, the users' prices and the matches' scores."""
    plots = {
        "the load of the users": user_load_plot(arrays),
        "the fill of the items": item_fill_plot(arrays),
        "prices above 0": price_plot(arrays),
        "scores of the matches": score_plot(arrays),
    }
    return plot_section(metrics, ("loads", "Who got how much"), plots, ("price", "load", "fill"))


def hours_section(metrics: Metrics, arrays: Arrays) -> Section:
    """Fill and value by hour of upload."""
    plots = {
        "the fill by upload hour": hour_plot(arrays, "fill", "Fill by upload hour", "users per item (mean)"),
        "the value by upload hour": hour_plot(arrays, "value", "Value by upload hour", "value per item (mean)"),
    }
    return plot_section(metrics, ("hours", "Early and late uploads"), plots, ("upload",), text=(_HOURS_TEXT,))
