"""The simulation's report: one HTML page for somebody who decides, with curves over days, who gains and who pays."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import yaml
from matplotlib.axes import Axes

from ..plots import Plot, bars, bars_height, draw, format_ticks, legend_above
from ..plots_svg import COLOURS
from ..report import page_template
from ..report_parts import Section, Table
from .comparison import Days, estimate_cells, percent, shown_figures
from .day_metrics import FEEDBACK_CLASSES, MATCH_SIZES
from .exposures import SOURCES
from .simulation_config import SimulationConfig

_COLOUR = {"nightly": "ours", "first_come": "first-come", "base": "bound"}
_NOTE = (
    "The platform is simulated: its users and creators follow the rules and parameters listed below, so its figures compare "
    "policies and say nothing about the size of an effect on a real service."
)


def render_simulation(config: SimulationConfig, found: Mapping[str, Any], days: Days) -> str:
    """The page; the same input gives the same text. ``found`` as `compare` gives it."""
    people = config.platform.people
    facts = [
        ("worlds", str(config.seeds)),
        ("users", f"{people.users:,}"),
        ("creators", f"{people.creators:,}"),
        ("days", f"{config.platform.days} after {config.platform.warm_days} under base"),
    ]
    return page_template().render(
        kind="simulation",
        name="A platform in a box",
        facts=facts,
        headline=_headline(config, found),
        figures=[],
        sections=_sections(config, found, days),
        notes=[_NOTE],
        config_yaml=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False),
        colours=COLOURS,
    )


def _headline(config: SimulationConfig, found: Mapping[str, Any]) -> list[str]:
    """One sentence for each pair compared."""
    sentences, least = [], config.platform.reach[0]
    for pair, one in found["differences"].items():
        better, than = pair.split("/")
        sentences.append(
            f"{_plain(better)} over {_plain(than)}: {percent(one['dac'])} % creators active a day, "
            f"{percent(one[f'reach_{least}'])} % uploads that reach {least} exposures."
        )
    return sentences


def _sections(config: SimulationConfig, found: Mapping[str, Any], days: Days) -> list[Section]:
    sections = [_curves(config, days), _gains(config, found), _exposures(config, found), _match_sets(config, days)]
    sections.append(_creators(config, days))
    if found["tests"]:
        sections.append(_tests(config, found))
    return sections


def _curves(config: SimulationConfig, days: Days) -> Section:
    first = config.platform.reach[0]
    plots = (
        _curve_plot(config, days, "dac", "Active creators", "Creators who upload on a day, mean over worlds."),
        _curve_plot(
            config,
            days,
            f"reach_{first}",
            f"Uploads that reach {first} exposures",
            "By the last day of the upload's life.",
        ),
        _curve_plot(config, days, "dau", "Active users", "A guardrail: it must not fall."),
        _curve_plot(config, days, "watch_hours", "Hours watched", "A guardrail: it must not fall."),
    )
    text = (
        "All policies start from the same day of the same worlds, and the same user meets the same item with the same luck.",
    )
    return Section("days", "Day by day", text=text, plots=plots)


def _curve_plot(config: SimulationConfig, days: Days, key: str, title: str, caption: str) -> Plot:
    def paint(axes: Axes) -> None:
        for name in reversed(config.policies):
            line = mean_line(days[name], key)
            colour = COLOURS[_COLOUR.get(name, "other")]
            known = name in _COLOUR
            label = name.replace("_", " ") if known else None
            axes.plot(np.arange(1, len(line) + 1), line, color=colour, linewidth=1.8 if known else 0.8, label=label)
        axes.set_xlabel("day of the policy")
        format_ticks(axes.xaxis, 8, integer=True)
        format_ticks(axes.yaxis, 6)
        if any(name in _COLOUR for name in config.policies):
            legend_above(axes)

    return draw(f"curve-{key.replace('_', '-')}", title, caption, paint)


def mean_line(runs: Sequence[Sequence[Mapping[str, float]]], key: str) -> np.ndarray:
    """float64[days]: a figure by day, mean over worlds; NaN on days without it (None in JSON)."""
    return np.array([[day.get(key, np.nan) for day in run] for run in runs], np.float64).mean(0)


def _gains(config: SimulationConfig, found: Mapping[str, Any]) -> Section:
    names = shown_figures(config)
    means = Table(
        tuple(
            (name.replace("_", " "), *(_cell(one.get(key)) for key in names)) for name, one in found["means"].items()
        ),
        ("policy", *names.values()),
    )
    rows = tuple(
        (pair.replace("/", " over ").replace("_", " "), *(percent(one.get(key)) for key in names))
        for pair, one in found["differences"].items()
    )
    text = (
        f"Means over the days from day {config.settle_days + 1} on. Differences are in %, paired by world, with their 95 % "
        "intervals over worlds. Gini is of exposures over creators; short is the share of uploads below half their demand.",
    )
    tables = (means, Table(rows, ("difference, %", *names.values()))) if rows else (means,)
    return Section("gains", "Who gains, who pays", text=text, tables=tables)


def _exposures(config: SimulationConfig, found: Mapping[str, Any]) -> Section:
    rows = []
    for name, one in found["means"].items():
        shares = [one.get(f"share_{source}", {}).get("mean", 0.0) for source in SOURCES]
        rows.append((name.replace("_", " "), *(f"{100 * share:.2f} %" for share in shares)))
    text = (
        "Shares of all exposures, by what brought the item to the user; of a match, the retrieval that found it first.",
    )
    return Section(
        "exposures", "Where exposures come from", text=text, tables=(Table(tuple(rows), ("policy", *SOURCES)),)
    )


def _match_sets(config: SimulationConfig, days: Days) -> Section:
    names = [f"{low} to {high - 1}" if high - low > 1 else str(low) for low, high in pairwise(MATCH_SIZES)]
    names.append(f"{MATCH_SIZES[-1]} and more")
    rows = []
    for policy in config.policies:
        lines = [mean_line(days[policy], f"match_sets_{low}") for low in MATCH_SIZES]
        if np.isfinite(lines).any():
            counts = [np.nanmean(line) for line in lines]
            rows.append((policy.replace("_", " "), *(f"{count:,.0f}" for count in counts)))
    text = ("Users by the number of items matched with them for a day.",)
    return Section("match-sets", "Match sets", text=text, tables=(Table(tuple(rows), ("policy", *names)),))


def _creators(config: SimulationConfig, days: Days) -> Section:
    name = "base" if "base" in config.policies else config.policies[0]
    made = [mean_line(days[name], f"uploads_fed_{low}").sum() for low in FEEDBACK_CLASSES]
    count = [mean_line(days[name], f"creators_fed_{low}").sum() for low in FEEDBACK_CLASSES]
    rate = {f"from {low}": float(a / max(b, 1.0)) for low, a, b in zip(FEEDBACK_CLASSES, made, count, strict=True)}

    def paint(axes: Axes) -> None:
        bars(axes, rate, [f"{value:.2f}" for value in rate.values()])
        axes.set_xlabel("uploads a creator and day")

    caption = f"Uploads of the next day by the feedback of a day (likes + 2 comments + 3 follows), under {name}."
    plot = draw("fed", "Creators who are liked upload more", caption, paint, bars_height(len(rate)))
    return Section("creators", "Creators", plots=(plot,), tables=(_quality(config, days),))


def _quality(config: SimulationConfig, days: Days) -> Table:
    """Share of exposures that were watched, by third of creators and users."""
    thirds = ("few", "some", "many")
    rows = []
    for name in config.policies:
        for creator in range(3):
            cells = []
            for user in range(3):
                views, shows = (mean_line(days[name], f"{kind}_{creator}_{user}").sum() for kind in ("views", "shows"))
                cells.append(f"{100 * views / max(shows, 1.0):.1f} % of {shows / config.platform.days:,.0f}")
            rows.append((name.replace("_", " "), thirds[creator], *cells))
    return Table(tuple(rows), ("watched, of exposures a day", "uploads", *(f"users of {one} visits" for one in thirds)))


def _tests(config: SimulationConfig, found: Mapping[str, Any]) -> Section:
    names, rows = shown_figures(config), []
    for design, one in found["tests"].items():
        for key, figure in one.items():
            rows.append((_plain(design), names[key], *estimate_cells(figure)))
    text = (
        f"What tests of {config.test.treatment} against {config.test.control} would have said, beside the truth: both "
        "worlds whole, at the same luck. The error is the mean distance of estimate and truth by world.",
    )
    header = ("design", "figure", "truth, %", "estimate, %", "error, points")
    return Section("tests", "A/B tests", text=text, tables=(Table(tuple(rows), header),))


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _cell(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "-"
    value = figure["mean"]
    text: Callable[[float], str] = lambda number: f"{number:,.0f}" if abs(value) >= 100 else f"{number:.3f}"  # noqa: E731
    return f"{text(value)} ± {text(figure['spread'])}" if figure["spread"] else text(value)
