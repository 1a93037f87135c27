"""What the towers learn from: the new items of past days, as they were known then, and who met them in the days after."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .log import Log
from .options import TowerOptions
from .tower_inputs import ItemInputs, UserInputs, item_inputs, user_inputs


@dataclass(frozen=True, eq=False)
class TrainingDay:
    """One past day: its new items, what was known at its end, and who interacted in the days after.

    ``item`` int64[n] places in ``items``, ``user`` int64[n]: the positives, each pair once. ``active``: int64 rows of the
    known users who came in the days after.
    """

    users: UserInputs
    items: ItemInputs
    item: np.ndarray
    user: np.ndarray
    active: np.ndarray

    @cached_property
    def positive_share(self) -> np.ndarray:
        """float64[users]: share of the positives that are each user's."""
        return np.bincount(self.user, minlength=len(self.users.known)) / max(len(self.user), 1)


def training_day(log: Log, day: int, options: TowerOptions, hide: bool, features: dict[str, np.ndarray]) -> TrainingDay:
    """The day as it was known at its end (``hide``: strict cold) and the positives of the ``target_days`` after it."""
    past = log.between(0, day)
    past = past.without_new_items(day) if hide else past
    users = user_inputs(past, day, options.history_days, features, tastes=options.tastes)
    items = item_inputs(past, day, log.new_items(day), users.history, similar=options.ef, tastes=users.tastes)
    item, user = later_positives(log, day, options.target_days, items.rows, users.known)
    after = log.between(day + 1, day + options.target_days)
    return TrainingDay(users, items, item, user, np.flatnonzero(after.known() & users.known))


def later_positives(
    log: Log, day: int, days: int, items: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (place in ``items``, user) pairs with a positive interaction in the ``days`` after ``day``; known users."""
    after = log.between(day + 1, day + days)
    place = np.full(log.items, -1)
    place[items] = np.arange(len(items))
    rows = np.flatnonzero((place[after.item] >= 0) & known[after.user] & after.positive())
    pairs = np.unique(place[after.item[rows]] * np.int64(log.users) + after.user[rows])
    return pairs // log.users, pairs % log.users
