"""Plots of the candidates: the rounds at current prices, the shares of the retrievals.

Each function returns None when what it draws is missing, so that the report can say so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .plots import Plot, bars, bars_height, draw, format_ticks, legend_above
from .plots_svg import COLOURS
from .report_words import all_pairs_gap, is_number, percent_up

_LOG_RATIO = 20  # gaps that fall by more than this factor get a logarithmic axis
# What a line is called, its key in the metrics, and its colour, marker, the marker's size and dashes.
_ROUND_LINES = (
    ("bound over all pairs", "bound_all_pairs", ("bound", "^", 6, "--")),
    ("bound over candidates", "bound_candidates", ("other", "s", 8, "-.")),
    ("value", "value", ("ours", "o", 4, "-")),
)


def round_value_plot(rounds: Sequence[Mapping[str, Any]]) -> Plot | None:
    """The value and its bounds by round."""
    drawn = [(name, _column(rounds, key), style) for name, key, style in _ROUND_LINES]
    drawn = [line for line in drawn if np.isfinite(line[1]).any()]
    if "value" not in [name for name, _, _ in drawn]:
        return None

    def paint(axes: Axes) -> None:
        for name, values, (colour, marker, size, line) in drawn:
            style: dict[str, Any] = {"marker": marker, "markersize": size, "linestyle": line}
            axes.plot(_round_numbers(rounds), values, color=COLOURS[colour], label=name, **style)
        _label_rounds(axes, "value (sum of scores)")
        legend_above(axes)

    caption = "The value after each round of candidates sought at current prices, below its bounds."
    return draw("round-value", "Value by price round", caption, paint)


def round_gap_plot(rounds: Sequence[Mapping[str, Any]]) -> Plot | None:
    """The gap over all pairs by round, in percent, on a logarithmic axis where it falls a long way."""
    gaps = np.array([100 * all_pairs_gap(entry.get("value"), entry.get("bound_all_pairs")) for entry in rounds])
    if not np.isfinite(gaps).any():
        return None
    low, high = np.nanmin(gaps), np.nanmax(gaps)
    logarithmic = low > 0 and high > _LOG_RATIO * low

    def paint(axes: Axes) -> None:
        axes.plot(_round_numbers(rounds), gaps, color=COLOURS["bound"], marker="^")
        for x, gap in zip(_round_numbers(rounds), gaps, strict=True):
            if np.isfinite(gap):
                axes.annotate(percent_up(gap / 100), (x, gap), xytext=(5, 4), textcoords="offset points")
        axes.margins(x=0.1, y=0.15)
        if logarithmic:
            axes.set_yscale("log")
        else:
            axes.set_ylim(0, 1.2 * high or 1.0)
        _label_rounds(axes, "gap (%, log scale)" if logarithmic else "gap (%)")

    caption = "At most this share of the best possible over all pairs of items and users is missing."
    return draw("round-gap", "Gap over all pairs by price round", caption, paint)


def retrieval_plot(share: Mapping[str, float | None]) -> Plot | None:
    """Share of each retrieval source, the largest first."""
    known = {source: 100 * value for source, value in share.items() if is_number(value)}
    if not known:
        return None
    largest_first = dict(sorted(known.items(), key=lambda entry: (-entry[1], entry[0])))

    def paint(axes: Axes) -> None:
        bars(axes, largest_first, [f"{value:.1f} %" for value in largest_first.values()])
        axes.set_xlabel("share of the matches (%)")

    caption = "Share of the matches whose candidate each retrieval found."
    return draw("retrieval", "Matches by retrieval", caption, paint, bars_height(len(known)))


def _column(rounds: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    return np.array([entry[key] if is_number(entry.get(key)) else np.nan for entry in rounds], dtype=float)


def _round_numbers(rounds: Sequence[Mapping[str, Any]]) -> list[float]:
    return [entry.get("round", place) for place, entry in enumerate(rounds)]


def _label_rounds(axes: Axes, unit: str) -> None:
    axes.set_xlabel("round")
    axes.set_ylabel(unit)
    format_ticks(axes.xaxis, 8, integer=True)
    format_ticks(axes.yaxis, 6)
