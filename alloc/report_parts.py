"""What the report's sections are made of: tables, plots, and sentences on what the run lacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .plots import Plot
from .report_words import notes_about


@dataclass(frozen=True)
class Table:
    """Rows of text under `header`; without a header, pairs of a name and what it is."""

    rows: tuple[tuple[str, ...], ...]
    header: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """One part of the report. `anchor` is its id in the page; `missing` are sentences on what the run lacks."""

    anchor: str
    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    missing: tuple[str, ...] = ()


def present(*tables: Table) -> tuple[Table, ...]:
    """Those tables that have a row."""
    return tuple(table for table in tables if table.rows)


def absent(metrics: Mapping[str, Any], what: str, subjects: Sequence[str]) -> tuple[str, ...]:
    """That this run has no `what`, and the notes on it: those in which a word of `subjects` stands."""
    reasons = notes_about(metrics.get("notes") or [], subjects)
    because = f"The notes on it: {' '.join(reasons)}" if reasons else "The run's notes do not say why."
    return (f"This run has no {what}. {because}",)


def plot_section(
    metrics: Mapping[str, Any],
    names: tuple[str, str],
    plots: Mapping[str, Plot | None],
    subjects: Sequence[str],
    *,
    text: tuple[str, ...] = (),
    tables: tuple[Table, ...] = (),
) -> Section:
    """A section of the plots that could be drawn, saying which could not. `names`: its anchor and its title."""
    drawn = tuple(plot for plot in plots.values() if plot is not None)
    lacking = [what for what, plot in plots.items() if plot is None]
    missing = absent(metrics, f"figures on {', '.join(lacking)}", subjects) if lacking else ()
    return Section(*names, text=text if drawn else (), tables=tables, plots=drawn, missing=missing)
