"""The report's sections on what fed the allocation: candidates, activity, ranking, and the night's cost."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .plots import plain_name
from .plots_candidates import retrieval_plot, round_gap_plot, round_value_plot
from .plots_models import FIGURES, calibration_plot, p_active_plot, ranking_plot, seconds_plot
from .report_parts import Section, Table, absent, plot_section, present
from .report_words import amount, figure_text, is_number, seconds_by_stage, section, words

Metrics = Mapping[str, Any]
Arrays = Mapping[str, np.ndarray]

_ROUNDS = {
    "round": "Round",
    "edges": "Candidate pairs",
    "value": "Value",
    "bound_candidates": "Bound over candidates",
    "bound_all_pairs": "Bound over all pairs",
    "seconds": "Seconds",
}


def candidates_section(metrics: Metrics) -> Section:
    """The rounds at current prices and the shares of the retrievals."""
    rounds = section(metrics, "candidates").get("rounds") or []
    plots = {
        "the value by price round": round_value_plot(rounds),
        "the gap over all pairs by price round": round_gap_plot(rounds),
        "the shares of the retrievals": retrieval_plot(section(section(metrics, "retrieval"), "share")),
    }
    counts = ("round", "edges")
    rows = tuple(tuple((words if key in counts else amount)(entry.get(key)) for key in _ROUNDS) for entry in rounds)
    tables = present(Table(rows, tuple(_ROUNDS.values())))
    subjects = ("retriev", "candidate", "price round")
    return plot_section(metrics, ("candidates", "Candidates"), plots, subjects, tables=tables)


def activity_section(metrics: Metrics, arrays: Arrays) -> Section:
    """How well it is known who will come."""
    activity = section(metrics, "activity")
    plots = {
        "the calibration of the activity model": calibration_plot(activity),
        "predicted activity": p_active_plot(arrays),
    }
    rows = tuple((label, figure_text(activity, key)) for label, key in FIGURES if key in activity)
    names = ("activity", "Activity model")
    return plot_section(metrics, names, plots, ("activity", "visit"), tables=present(Table(rows)))


def ranking_section(metrics: Metrics) -> Section:
    """AUC of each head; a head whose test days have one answer only has none."""
    names = ("ranking", "Ranking")
    auc = section(section(metrics, "ranking"), "auc")
    subjects = ("head", "feedback", "ranking")
    if not auc:
        return Section(*names, missing=absent(metrics, "ranking heads", subjects))
    table = Table(tuple((plain_name(head), figure_text(auc, head)) for head in auc), ("Head", "AUC"))
    return plot_section(metrics, names, {"the AUC of any head": ranking_plot(auc)}, subjects, tables=(table,))


def cost_section(metrics: Metrics) -> Section:
    """Time of each stage and the most memory held."""
    peak = metrics.get("peak_memory_mb")
    total = sum(seconds_by_stage(metrics).values())
    rows = [("All stages", f"{total:,.1f} s")] if total else []
    rows += [("Peak memory", f"{peak:,.0f} MB")] if is_number(peak) else []
    plots = {"the time of each stage": seconds_plot(metrics)}
    return plot_section(
        metrics, ("cost", "Time and memory"), plots, ("seconds", "memory"), tables=present(Table(tuple(rows)))
    )
