"""What users of an A/B test were shown, and who uploaded it when: columns in rows of the assignment."""

from dataclasses import dataclass

import numpy as np

from .ab_assign import Assignment, visible
from .errors import InputError
from .vocabulary import Ids, Vocabulary, as_ids


@dataclass(frozen=True, eq=False)
class ExposureLog:
    """``user`` int[e] rows of the assignment's users, ``item`` int[e] rows of the next two, ``day`` int[e]: the exposures.
    ``creator`` int[items] rows of the assignment's creators, -1 where nobody knows who; ``upload`` int[items], a day."""

    user: np.ndarray
    item: np.ndarray
    day: np.ndarray
    creator: np.ndarray
    upload: np.ndarray


@dataclass(frozen=True)
class Window:
    """Days ``first`` to ``last``, both included. Raises InputError where none are."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise InputError(f"days {self.first} to {self.last}, expected the first to be no later than the last")

    @property
    def days(self) -> int:
        """How many."""
        return self.last - self.first + 1

    def holds(self, day: np.ndarray) -> np.ndarray:
        """bool[n]: which days are in it."""
        return (day >= self.first) & (day <= self.last)


def exposure_log(
    assignment: Assignment, exposures: tuple[Ids, Ids, np.ndarray], items: tuple[Ids, np.ndarray, np.ndarray]
) -> ExposureLog:
    """From ids: ``exposures`` are user, item and day of each; ``items`` id, creator row of the assignment (from `rows_of`,
    or -1) and upload day of each, every id once. Raises InputError for ids that are unknown or stand twice."""
    user, item, day = exposures
    names, creator, upload = items
    ids = as_ids(names, "item")
    if len(np.unique(ids)) < len(ids):
        places = np.sort(ids)
        twice = places[int(np.argmax(places[1:] == places[:-1]))].item()
        raise InputError(f"item id {twice!r} stands twice, expected each item once")
    row = rows_of(ids, item, "item")
    return ExposureLog(rows_of(assignment.users, user, "user"), row, np.asarray(day), np.asarray(creator), upload)


def rows_of(known: np.ndarray, ids: Ids, what: str) -> np.ndarray:
    """int64[n]: where each id stands among the ``known``, each once. Raises InputError for one that is not there."""
    return np.argsort(known, kind="stable")[Vocabulary(known, what).rows(ids)]


def crossings(log: ExposureLog, assignment: Assignment, window: Window) -> int:
    """How many exposures of the window the design should not have let happen; they pull the arms together."""
    known = log.creator >= 0
    arm = np.full(len(known), -1, np.int8)
    arm[known] = assignment.creator_arm[log.creator[known]]
    seen = visible(assignment.design, assignment.user_arm[log.user], arm[log.item])
    return int((~seen & known[log.item] & window.holds(log.day)).sum())
