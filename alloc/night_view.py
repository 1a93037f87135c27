"""What one night may know: its day, its new items, and the log with the future, and where asked the items' users, hidden."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..models.log import Log
from .artifacts import load_json
from .model_log import model_log
from .table_store import load_tables
from .tables import Tables

FILE = "night.json"


@dataclass(frozen=True, eq=False)
class NightView:
    """The tables with the night's settings.

    ``log`` is whole, for the truth; ``visits`` ends with the day and is what the activity model sees: that a user came,
    not for which of the new items; ``past`` is what everything else sees, in the strict-cold regime without the users
    of the new items.
    """

    tables: Tables
    day: int
    strict_cold: bool
    truth_days: int
    has_truth: bool
    log: Log
    new_items: np.ndarray

    @property
    def visits(self) -> Log:
        """All interactions up to the end of the day."""
        return self.log.between(self.tables.first_day, self.day)

    @property
    def past(self) -> Log:
        """The interactions that the regime allows to be known."""
        return self.visits.without_new_items(self.day) if self.strict_cold else self.visits

    @property
    def truth(self) -> Log:
        """The interactions of the truth window; empty where the data ends before it."""
        return self.log.between(self.day + 1, self.day + self.truth_days)

    @property
    def group(self) -> np.ndarray:
        """int32[items]: creator of each item, or its category where the data has no creators; -1 unknown."""
        tables = self.tables
        if tables.item_creator is not None:
            return tables.item_creator
        return np.full(len(tables.items), -1, np.int32) if tables.item_category is None else tables.item_category


def load_view(folder: Path) -> NightView:
    """The view that the stage ``tables`` wrote. Raises InputError when it cannot be read."""
    about = load_json(folder / FILE)
    tables = load_tables(folder)
    log = model_log(tables, tuple(about["holidays"]))
    return NightView(
        tables=tables,
        day=about["day"],
        strict_cold=about["regime"] == "strict_cold",
        truth_days=about["truth_days"],
        has_truth=about["has_truth"],
        log=log,
        new_items=log.new_items(about["day"]),
    )
