"""Plots as inline SVG: one style, and the kinds of plot that the report is made of; the same bytes every time.

Figures are made without pyplot, so nothing global is left behind and no display is needed.
"""

import io
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from .plots_svg import COLOURS, inline_svg

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dualrec",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.edgecolor": COLOURS["ink"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": False,
    "grid.color": COLOURS["grid"],
    "legend.frameon": False,
    "legend.labelcolor": COLOURS["ink"],
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["ink"],
    "ytick.color": COLOURS["ink"],
}
_WIDTH, _HEIGHT = 5.6, 2.9  # inches
_LOG_RATIO = 300  # a histogram whose largest bar is this many times its smallest gets a logarithmic axis
_LONGEST_NAME = 24


@dataclass(frozen=True)
class Plot:
    """A plot of the report: its title, one sentence on what it shows, and the drawing."""

    title: str
    caption: str
    svg: Markup


def draw(name: str, title: str, caption: str, paint: Callable[[Axes], None], height: float = _HEIGHT) -> Plot:
    """Let `paint` fill the axes of a new figure. `name` goes before every id in the drawing; `height` is in inches."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A head's name may be in a script that the font used for measuring lacks; the browser's own font draws it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        paint(figure.add_subplot())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Plot(title, caption, inline_svg(buffer.getvalue(), name, f"{title}. {caption}"))


def plain_name(name: str) -> str:
    """A head's, source's or baseline's name as a short label of printable characters."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(name)).replace("_", " ")
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 3] + "..."


def format_ticks(axis: Axis, ticks: int = 6, *, integer: bool = False) -> None:
    """At most about `ticks` numbers on the axis, with thousands separators, from a million up in millions."""
    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(numticks=ticks))
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(ticks, integer=integer, min_n_ticks=1, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick_text(value)))


def _tick_text(value: float) -> str:
    return f"{value / 1e6:,.10g} M" if abs(value) >= 1e6 else f"{value:,.10g}"


def bars(axes: Axes, values: Mapping[str, float], texts: Sequence[str], *, ours: str = "", start: float = 0.0) -> None:
    """Horizontal bars from `start`, the first on top, their texts in a column on the right; `ours` stands out."""
    names = list(values)
    colours = [COLOURS["ours"] if ours in ("", name) else COLOURS["other"] for name in names]
    lengths = [value - start for value in values.values()]
    axes.barh(range(len(names)), lengths, left=start, color=colours, height=0.7)
    for place, text in enumerate(texts):
        axes.text(1.02, place, text, transform=axes.get_yaxis_transform(), va="center")
    axes.set_yticks(range(len(names)), [plain_name(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    format_ticks(axes.xaxis, 5)


def bars_height(count: int) -> float:
    """Height in inches of a figure with that many horizontal bars."""
    return 0.75 + 0.32 * max(count, 1)


def histogram(axes: Axes, series: Mapping[str, np.ndarray], colours: Sequence[str], counted: str) -> None:
    """Histograms over shared bins: the first filled, the others as outlines. `counted` names what is counted.

    Whole numbers get bins of a whole width, centred on the numbers where that width is 1.
    """
    edges = _bin_edges(list(series.values()))
    counts = [np.histogram(values, edges)[0] for values in series.values()]
    for name, count, colour in zip(series, counts, colours, strict=False):
        first = count is counts[0]
        style: dict[str, Any] = {"fill": True, "alpha": 0.75} if first else {"fill": False, "linewidth": 1.6}
        axes.stairs(count, edges, color=COLOURS[colour], label=name, baseline=0, **style)
    seen = np.concatenate(counts)
    seen = seen[seen > 0]
    logarithmic = seen.size > 0 and seen.max() > _LOG_RATIO * seen.min()
    if logarithmic:
        axes.set_yscale("log")
        axes.set_ylim(0.7, 2.0 * seen.max())
    axes.set_ylabel(f"{counted} (log scale)" if logarithmic else counted)
    format_ticks(axes.yaxis, 6, integer=True)
    format_ticks(axes.xaxis, 8, integer=_all_whole(series.values()))
    if len(series) > 1:
        legend_above(axes)


def histogram_plot(
    name: str, title: str, caption: str, series: Mapping[str, np.ndarray], labels: tuple[str, str]
) -> Plot:
    """A plot that is a histogram of ours and, if given, first come's; `labels`: the values', and what is counted."""

    def paint(axes: Axes) -> None:
        histogram(axes, series, ("ours", "first-come"), labels[1])
        axes.set_xlabel(labels[0])

    return draw(name, title, caption, paint)


def _all_whole(arrays: Iterable[np.ndarray]) -> bool:
    return all(array.dtype.kind in "iu" for array in arrays)


def _bin_edges(arrays: Sequence[np.ndarray], bins: int = 40) -> np.ndarray:
    """Edges of at most about `bins` equal bins over all values, float64[bins + 1]; whole numbers from 0 on."""
    low, high = float(min(array.min() for array in arrays)), float(max(array.max() for array in arrays))
    if _all_whole(arrays):
        first = min(0, int(low))
        width = -(-(int(high) - first + 1) // bins)
        return np.arange(first, int(high) + width + 1, width) - 0.5
    margin = 0.0 if high > low else 0.1 * abs(low) or 0.5
    return np.linspace(low - margin, high + margin, bins + 1)


def legend_above(axes: Axes) -> None:
    """The legend in one row above the axes, where no line can run through it."""
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, borderaxespad=0.2, fontsize=8.5, handlelength=1.6)
