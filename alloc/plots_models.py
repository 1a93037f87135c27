"""Plots of the models and of the cost: calibration, activity, ranking AUC, stage timings.

Each function returns None when what it draws is missing, so that the report can say so.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .plots import Plot, bars, bars_height, draw, format_ticks, histogram
from .plots_svg import COLOURS
from .report_words import figure_text, is_number, numbers, seconds_by_stage

FIGURES = (("AUC", "auc"), ("Brier score", "brier"), ("Calibration error (ECE)", "ece"))


def calibration_plot(activity: Mapping[str, Any]) -> Plot | None:
    """Predicted against observed share of users who came, one point for each bin; its area grows with the users."""
    bins = [entry for entry in activity.get("calibration") or [] if _is_drawable(entry)]
    if not bins:
        return None
    predicted, observed, count = (
        np.array([entry[key] for entry in bins], dtype=float) for key in ("predicted", "observed", "count")
    )

    def paint(axes: Axes) -> None:
        top = 1.05 * max(predicted.max(), observed.max(), 0.01)
        axes.plot([0, top], [0, top], color=COLOURS["other"], linestyle="--", linewidth=1.2)
        axes.plot(predicted, observed, color=COLOURS["ours"], linewidth=1.2)
        axes.scatter(predicted, observed, s=12 + 110 * np.sqrt(count / count.max()), color=COLOURS["ours"], alpha=0.6)
        axes.set_xlabel("predicted P(active), mean of the bin")
        axes.set_ylabel("share of users who came")
        axes.set_xlim(-0.03 * top, top)
        axes.set_ylim(-0.03 * top, top)
        axes.set_box_aspect(1)
        format_ticks(axes.xaxis, 6)
        format_ticks(axes.yaxis, 6)

    figures = ", ".join(f"{label} {figure_text(activity, key)}" for label, key in FIGURES if key in activity)
    caption = "On the dashed line the prediction is right; larger points stand for more users."
    return draw("calibration", "Calibration of the activity model", f"{figures}. {caption}", paint, height=3.9)


def p_active_plot(arrays: Mapping[str, np.ndarray]) -> Plot | None:
    """A sample of the users' predicted chance to visit."""
    chance = numbers(arrays, "p_active_sample")
    if chance is None:
        return None

    def paint(axes: Axes) -> None:
        histogram(axes, {"ours": chance}, ("ours",), "users")
        axes.set_xlabel("predicted P(active)")

    caption = f"A sample of {chance.size:,} users; mean {chance.mean():.3f}."
    return draw("p-active", "Predicted activity", caption, paint)


def ranking_plot(auc: Mapping[str, float | None]) -> Plot | None:
    """AUC of each head that has one, the best first."""
    known = {head: value for head, value in auc.items() if is_number(value)}
    if not known:
        return None
    best_first = dict(sorted(known.items(), key=lambda entry: (-entry[1], entry[0])))

    def paint(axes: Axes) -> None:
        bars(axes, best_first, [f"{value:.3f}" for value in best_first.values()], start=0.5)
        low = math.floor(10 * min(0.5, *best_first.values())) / 10
        axes.set_xlim(low - 0.005, 1.0)
        axes.set_xticks(np.arange(low, 1.01, 0.1))
        axes.axvline(0.5, color=COLOURS["ink"], linewidth=0.8)
        axes.set_xlabel("AUC (0.5 is chance)")

    return draw("ranking", "Ranking by head", "AUC of each head.", paint, bars_height(len(known)))


def seconds_plot(metrics: Mapping[str, Any]) -> Plot | None:
    """Wall time of each stage, in the order of the night."""
    seconds = seconds_by_stage(metrics)
    if not seconds:
        return None

    def paint(axes: Axes) -> None:
        bars(axes, seconds, [f"{value:,.1f} s" for value in seconds.values()])
        axes.set_xlabel("wall time (s)")

    caption = f"{sum(seconds.values()):,.1f} s in all."
    return draw("seconds", "Time of each stage", caption, paint, bars_height(len(seconds)))


def _is_drawable(entry: Mapping[str, Any]) -> bool:
    """A calibration bin that holds users and knows both of its means."""
    return all(is_number(entry.get(key)) for key in ("predicted", "observed", "count")) and entry["count"] > 0
