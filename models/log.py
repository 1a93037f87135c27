"""What the models see of the data: one time-sorted interaction log and what is known of each item."""

from dataclasses import dataclass, field, replace

import numpy as np

NEGATIVE = "skip"


@dataclass(frozen=True, kw_only=True, eq=False)
class Log:
    """Interactions sorted by time, and the items' own columns.

    ``user``, ``item``: int32[n] rows below ``users`` and ``items``. ``day``: float64[n] >= 0, local days since day 0,
    ascending. ``kinds``: feedback kind -> bool[n]. ``context``: name -> int32[n], -1 unknown. ``upload``: float64[items],
    local days. ``token``: int32[items], the item's category below ``tokens`` (the item's own row where there are no
    categories), -1 unknown. ``content``: float32[items, d] with d = 0 where the data has none. ``rest_days``: days without
    work beside Saturdays and Sundays; ``first_weekday``: weekday of day 0, Monday = 0.
    """

    user: np.ndarray
    item: np.ndarray
    day: np.ndarray
    kinds: dict[str, np.ndarray]
    users: int
    items: int
    upload: np.ndarray
    token: np.ndarray
    tokens: int
    content: np.ndarray
    context: dict[str, np.ndarray] = field(default_factory=dict)
    rest_days: tuple[int, ...] = ()
    first_weekday: int = 0

    def __len__(self) -> int:
        return len(self.user)

    @property
    def tokens_are_items(self) -> bool:
        """Whether the data has no categories, so that each item is a token of its own."""
        return self.tokens == self.items and np.array_equal(self.token, np.arange(self.items))

    def take(self, rows: slice | np.ndarray) -> "Log":
        """The given interactions, in time order, with the same items; a slice copies nothing."""
        return replace(
            self,
            user=self.user[rows],
            item=self.item[rows],
            day=self.day[rows],
            kinds={name: flags[rows] for name, flags in self.kinds.items()},
            context={name: codes[rows] for name, codes in self.context.items()},
        )

    def between(self, first: int, last: int) -> "Log":
        """Interactions of the local days ``first`` to ``last``, both included; copies nothing."""
        start, stop = np.searchsorted(self.day, [first, last + 1])
        return self.take(slice(int(start), int(stop)))

    def without_new_items(self, day: int) -> "Log":
        """Without the interactions with items uploaded on ``day`` or later (the strict-cold view of that day)."""
        return self.take(np.flatnonzero(self.upload[self.item] < day))

    def new_items(self, day: int) -> np.ndarray:
        """int64 rows of the items uploaded on ``day``, in upload order, ties by row."""
        rows = np.flatnonzero(np.floor(self.upload) == day)
        return rows[np.argsort(self.upload[rows], kind="stable")]

    def known(self) -> np.ndarray:
        """bool[users]: who has at least one interaction in this log."""
        seen = np.zeros(self.users, bool)
        seen[self.user] = True
        return seen

    def active(self, day: int) -> np.ndarray:
        """bool[users]: who has an interaction on ``day``."""
        return self.between(day, day).known()

    def positive(self) -> np.ndarray:
        """bool[n]: interactions with some feedback and no skip; a view that ended in a skip is none."""
        good = [flags for name, flags in self.kinds.items() if name != NEGATIVE]
        some = np.logical_or.reduce(good) if good else np.zeros(len(self), bool)
        return some & ~self.kinds[NEGATIVE] if NEGATIVE in self.kinds else some

    def is_rest(self, days: np.ndarray) -> np.ndarray:
        """bool, for local days: a Saturday, a Sunday or one of ``rest_days``."""
        days = np.asarray(days)
        return ((days + self.first_weekday) % 7 >= 5) | np.isin(days, self.rest_days)
