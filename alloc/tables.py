"""Tables: users, items and interactions as arrays, whatever data set they came from."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .errors import InputError
from .interactions import KINDS, Interactions, is_sorted
from .vocabulary import Vocabulary

DAY_MS = 86_400_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """One data set. Rows are int32, times int64 milliseconds since 1970 UTC, unknown codes -1.

    ``item_time`` int64[items]: upload. ``item_creator`` int32[items] into ``creators``; ``item_category`` int32[items]
    into ``categories``; ``item_content`` float32[items, d]; each None where the data has none.
    ``user_features``: name -> int32[users], static categorical codes. ``user_capacity``: column name ->
    int32[users] >= 0, the most items that each user may be matched with. ``day_start``: ms at which local day 0 begins.
    ``notes``: one sentence for each thing that the data set lacks or that its reader put right.
    Raises InputError if shapes, dtypes, ranges or the order of the interactions are not as described.
    """

    name: str
    users: Vocabulary
    items: Vocabulary
    item_time: np.ndarray
    interactions: Interactions
    day_start: int
    item_creator: np.ndarray | None = None
    creators: Vocabulary | None = None
    item_category: np.ndarray | None = None
    categories: tuple[str, ...] = ()
    item_content: np.ndarray | None = None
    user_features: dict[str, np.ndarray] = field(default_factory=dict)
    user_capacity: dict[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_interactions(self.interactions, len(self.users), len(self.items))
        first = int(self.interactions.time[0])
        if self.day_start > first:
            raise InputError(f"day_start is {self.day_start}, expected at most {first}, the first interaction's time")
        _check_items(self)
        for name, codes in self.user_features.items():
            _check_array(f"user feature {name!r}", codes, np.int32, len(self.users))
        for name, capacity in self.user_capacity.items():
            _check_array(f"user capacity {name!r}", capacity, np.int32, len(self.users))
            _check_range(f"user capacity {name!r}", capacity, 0, np.iinfo(np.int32).max)

    @property
    def heads(self) -> tuple[str, ...]:
        """The feedback kinds that the data has, in the order of ``KINDS``."""
        return tuple(kind for kind in KINDS if kind in self.interactions.kinds)

    @property
    def first_day(self) -> int:
        """Local day of the first interaction."""
        return int(self.day_of(self.interactions.time[:1])[0])

    @property
    def last_day(self) -> int:
        """Local day of the last interaction."""
        return int(self.day_of(self.interactions.time[-1:])[0])

    def day_of(self, time_ms: np.ndarray) -> np.ndarray:
        """Local day numbers, int32, of times in ms; negative before day 0."""
        return ((np.asarray(time_ms) - self.day_start) // DAY_MS).astype(np.int32)

    def between(self, first_day: int, last_day: int) -> Interactions:
        """Interactions of local days ``first_day`` to ``last_day``, both included; copies nothing."""
        edges = self.day_start + np.array([first_day, last_day + 1], np.int64) * DAY_MS
        start, stop = np.searchsorted(self.interactions.time, edges)
        return self.interactions.take(slice(int(start), int(stop)))

    def until(self, day: int) -> Interactions:
        """Interactions of all days up to and including ``day``; copies nothing."""
        return self.between(min(self.first_day, day), day)

    def new_items(self, day: int) -> np.ndarray:
        """int32 rows of the items uploaded on local day ``day``, in upload order, ties by row."""
        rows = np.flatnonzero(self.day_of(self.item_time) == day)
        return rows[np.argsort(self.item_time[rows], kind="stable")].astype(np.int32)

    def save(self, folder: Path) -> None:
        """Write everything into ``folder``; see ``table_store``."""
        from .table_store import save_tables

        save_tables(self, folder)


def _check_interactions(log: Interactions, users: int, items: int) -> None:
    if not len(log):
        raise InputError("the data set has no interactions, expected at least one")
    _check_array("user", log.user, np.int32, len(log))
    _check_array("item", log.item, np.int32, len(log))
    _check_array("time", log.time, np.int64, len(log))
    _check_range("user", log.user, 0, users)
    _check_range("item", log.item, 0, items)
    if not is_sorted(log.time, log.user, log.item):
        raise InputError("interactions are not sorted by (time, user, item); use Interactions.in_order()")
    if not log.kinds or not set(log.kinds) <= set(KINDS):
        raise InputError(f"feedback kinds are {sorted(log.kinds)}, expected one or more of {', '.join(KINDS)}")
    for name, flags in log.kinds.items():
        _check_array(f"kind {name!r}", flags, np.bool_, len(log))
    for name, codes in log.context.items():
        _check_array(f"context {name!r}", codes, np.int32, len(log))


def _check_items(tables: Tables) -> None:
    items = len(tables.items)
    _check_array("item_time", tables.item_time, np.int64, items)
    if tables.item_creator is not None:
        _check_array("item_creator", tables.item_creator, np.int32, items)
        _check_range("item_creator", tables.item_creator, -1, len(tables.creators or ()))
    if tables.item_category is not None:
        _check_array("item_category", tables.item_category, np.int32, items)
        _check_range("item_category", tables.item_category, -1, len(tables.categories))
    content = tables.item_content
    if content is not None and (content.dtype != np.float32 or content.ndim != 2 or len(content) != items):
        raise InputError(f"item_content is {content.dtype} of shape {content.shape}, expected float32 ({items}, d)")


def _check_array(name: str, values: np.ndarray, dtype: type, length: int) -> None:
    if values.dtype != dtype or values.shape != (length,):
        expected = np.dtype(dtype)
        raise InputError(f"{name} is {values.dtype} of shape {values.shape}, expected {expected} of shape ({length},)")


def _check_range(name: str, values: np.ndarray, low: int, stop: int) -> None:
    if len(values) and (values.min() < low or values.max() >= stop):
        raise InputError(f"{name} runs from {values.min()} to {values.max()}, expected {low} to {stop - 1}")
