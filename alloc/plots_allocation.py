"""Plots of the allocation: its value, who got how much, prices, scores, upload hours.

Each function returns None when what it draws is missing, so that the report can say so.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .plots import Plot, bars, bars_height, draw, format_ticks, histogram_plot, legend_above
from .plots_svg import COLOURS
from .report_words import amount, is_number, numbers, ordered_values

Arrays = Mapping[str, np.ndarray]


def value_plot(metrics: Mapping[str, Any]) -> Plot | None:
    """The value beside that of each baseline, and the bound."""
    values = ordered_values(metrics)
    if len(values) < 2 or "ours" not in values:
        return None
    bound = metrics["allocation"].get("bound")

    def paint(axes: Axes) -> None:
        share = values["ours"] or 1.0
        bars(axes, values, [f"{amount(value)} ({value / share:.2f})" for value in values.values()], ours="ours")
        axes.set_xlabel("value: sum of the scores of the matches")
        if is_number(bound):
            axes.axvline(bound, color=COLOURS["bound"], linestyle="--", linewidth=1.3, label=f"bound {amount(bound)}")
            legend_above(axes)

    caption = "Sum of the scores of the matches on the same scores; in brackets as a share of ours."
    return draw("value", "Value of each allocation", caption, paint, bars_height(len(values)) + 0.25)


def user_load_plot(arrays: Arrays) -> Plot | None:
    """Users by the number of their places that were used."""
    series = _beside_first_come(arrays, "user_load")
    if not series:
        return None
    load = next(iter(series.values()))
    caption = f"Matches per user: mean {load.mean():,.2f}, largest {load.max():,}; {_share(load == 0)} have none."
    return histogram_plot("user-load", "Load of the users", caption, series, ("matches per user", "users"))


def item_fill_plot(arrays: Arrays) -> Plot | None:
    """Items by the number of users they got."""
    series = _beside_first_come(arrays, "item_fill")
    if not series:
        return None
    fill = next(iter(series.values()))
    caption = f"Users per item: mean {fill.mean():,.1f}, smallest {fill.min():,}; {_share(fill == 0)} of the items"
    caption += " have none."
    return histogram_plot("item-fill", "Fill of the items", caption, series, ("users per item", "items"))


def price_plot(arrays: Arrays) -> Plot | None:
    """Users by price, those above zero."""
    prices = numbers(arrays, "user_prices")
    if prices is None:
        return None
    above = prices[prices > 0]
    caption = f"What one more place with a user would bring. {_share(prices <= 0)} of the users have a price of 0"
    caption += f", the others a median of {np.median(above):,.4g}." if above.size else "."
    if not above.size:
        return None
    return histogram_plot("prices", "Prices of the users", caption, {"ours": above}, ("price above 0 (score)", "users"))


def score_plot(arrays: Arrays) -> Plot | None:
    """A sample of the matches' scores."""
    scores = numbers(arrays, "score_sample")
    if scores is None:
        return None
    caption = f"A sample of {scores.size:,} matches; median {np.median(scores):,.4g}."
    return histogram_plot("scores", "Scores of the matches", caption, {"ours": scores}, ("score", "matches"))


def hour_plot(arrays: Arrays, kind: str, title: str, unit: str) -> Plot | None:
    """Means by hour of upload, ours and first come's; `kind` is "fill" or "value", `unit` names the vertical axis."""
    series = _hours(arrays, f"upload_hour_{kind}")
    if "ours" not in series:
        return None

    def paint(axes: Axes) -> None:
        # First come lies below and is drawn wider, so that both are seen where they agree.
        styles = {"ours": ("ours", "o", 3.5, 1.4), "first come": ("first-come", "s", 5.5, 2.4)}
        for order, (name, values) in enumerate(series.items()):
            colour, marker, size, width = styles[name]
            style: dict[str, Any] = {
                "marker": marker,
                "markersize": size,
                "linewidth": width,
                "zorder": 3 - 0.1 * order,
            }
            axes.plot(values, color=COLOURS[colour], label=name, **style)
        axes.set_xticks(range(0, 24, 3), [f"{hour:02d}:00" for hour in range(0, 24, 3)])
        axes.set_xlim(-0.5, 23.5)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("hour of upload")
        axes.set_ylabel(unit)
        format_ticks(axes.yaxis, 6)
        legend_above(axes)

    caption = "Means over the items uploaded in each hour; hours without an upload are left out."
    return draw(f"hour-{kind}", title, caption, paint)


def _beside_first_come(arrays: Arrays, name: str) -> dict[str, np.ndarray]:
    """Ours and, where known, first come's array of that name; empty when there is not even ours."""
    ours, first_come = numbers(arrays, name), numbers(arrays, f"first_come_{name}")
    if ours is None:
        return {}
    return {"ours": ours} if first_come is None else {"ours": ours, "first come": first_come}


def _hours(arrays: Arrays, name: str) -> dict[str, np.ndarray]:
    """Ours and first come's 24 means, NaN where no item was uploaded, without those that hold nothing at all."""
    names = {"ours": name, "first come": f"first_come_{name}"}
    found = {label: np.asarray(arrays[key], dtype=float) for label, key in names.items() if key in arrays}
    return {label: values for label, values in found.items() if values.shape == (24,) and np.isfinite(values).any()}


def _share(condition: np.ndarray) -> str:
    return f"{100 * condition.mean():.1f} %"
