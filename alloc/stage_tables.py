"""Stage `tables`: read and check the data, settle which day it is."""

from pathlib import Path

from .artifacts import save_json
from .config import DataOptions
from .errors import InputError
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
    _check_day(tables, day)
    tables.save(context.out)
    has_truth = context.config.evaluate.enabled and day + truth_days <= tables.last_day
    notes = list(tables.notes)
    if context.config.evaluate.enabled and not has_truth:
        notes.append(f"the data ends on day {tables.last_day}, before the truth window of day {day}: no evaluation")
    about = {
        "name": tables.name,
        "day": day,
        "date": str(first_date(tables)),
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
    """The last day with new items and a truth window, else the last day with new items. Raises InputError."""
    days = {int(day) for day in tables.day_of(tables.item_time)}
    with_truth = [day for day in days if tables.first_day < day <= tables.last_day - truth_days]
    return max(with_truth or [day for day in days if day <= tables.last_day], default=tables.last_day)


def _check_day(tables: Tables, day: int) -> None:
    low, high = tables.first_day, tables.last_day
    if not low < day <= high:
        raise InputError(
            f"day {day} cannot be matched: {tables.name} has days {low} to {high}, and one day before it is needed to "
            f"learn from; choose --day {low + 1} to {high}"
        )
    if not len(tables.new_items(day)):
        raise InputError(f"day {day} is empty: {tables.name} has no item uploaded on it; choose another --day")
    if not len(tables.until(day - 1)):
        raise InputError(f"{tables.name} has no interaction before day {day}; choose a later --day")
