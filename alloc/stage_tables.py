"""Stage `tables`: read and check the data, settle which day it is."""

from datetime import timedelta
from pathlib import Path

import numpy as np

from .artifacts import save_json
from .authors import author_note
from .config import DataOptions
from .errors import EmptyDayError, InputError
from .model_log import first_date, model_log
from .night_view import FILE
from .stage import StageContext
from .tables import Tables


def run(context: StageContext) -> None:
    """Write the tables as arrays, and the night's day, regime and notes."""
    options, truth_days = context.config.data, context.config.evaluate.truth_days
    tables = load_data(options, context.config.seed)
    model_log(tables, options.holidays)
    day = options.day if options.day is not None else _default_day(tables, truth_days)
    _check_day(tables, day, options)
    tables.save(context.out)
    has_truth = context.config.evaluate.enabled and day + truth_days <= tables.last_day
    notes = [*tables.notes, *filter(None, [author_note(tables)])]
    if context.config.evaluate.enabled and not has_truth:
        notes.append(f"the data ends on day {tables.last_day}, before the truth window of day {day}: no evaluation")
    about = {
        "name": tables.name,
        "day": day,
        "date": str(first_date(tables) + timedelta(days=day)),
        "regime": options.regime,
        "holidays": options.holidays,
        "truth_days": truth_days,
        "has_truth": has_truth,
        "notes": notes,
        "heads": tables.heads,
    }
    save_json(context.out / FILE, about)


def load_data(options: DataOptions, seed: int) -> Tables:
    """The tables that the options name: the built-in world, or files read by one of the readers. Raises InputError."""
    if options.reader == "world":
        from .world import make_world

        return make_world(options.world, seed)
    if options.path is None:
        raise InputError(f"data.reader is {options.reader!r} but no folder is given: add --data DIR")
    from .readers import read_tables

    return read_tables(options.reader, Path(options.path))


def _default_day(tables: Tables, truth_days: int) -> int:
    """The last day with new items, interactions and a truth window, or without the window where there is none such."""
    days = np.intersect1d(tables.day_of(tables.item_time), tables.day_of(tables.interactions.time)).tolist()
    with_truth = [day for day in days if tables.first_day < day <= tables.last_day - truth_days]
    return max(with_truth or days, default=tables.last_day)


def _check_day(tables: Tables, day: int, options: DataOptions) -> None:
    low, high = tables.first_day, tables.last_day
    data = tables.name if options.path is None else f"{tables.name} ({options.path})"
    if not low < day <= high:
        raise InputError(
            f"day {day} cannot be matched: {data} has days {low} to {high}, and one day before it is needed to "
            f"learn from; choose --day {low + 1} to {high}"
        )
    for missing, days in (
        ("item was uploaded", tables.item_time),
        ("interaction took place", tables.interactions.time),
    ):
        found = np.unique(tables.day_of(days))
        if day not in found:
            others = found[(found > low) & (found <= high)]
            near = f"--day {others[np.argmin(np.abs(others - day))]}" if len(others) else "other data"
            raise EmptyDayError(
                f"day {day} is empty: in {data} no {missing} on it; check that the data are whole or choose {near}"
            )
