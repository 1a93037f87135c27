"""The interaction log: what users did with items, as sorted arrays."""

from dataclasses import dataclass, field

import numpy as np

KINDS = (
    "view",
    "click",
    "effective_view",
    "like",
    "comment",
    "follow",
    "share",
    "profile_visit",
    "bookmark",
    "skip",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Interactions:
    """What users did with items, one row each, sorted by (time, user, item).

    ``user``, ``item``: int32[n] rows. ``time``: int64[n], ms since 1970 UTC. ``kinds``: feedback kind (of ``KINDS``)
    -> bool[n]; several may be true in one row. ``context``: name -> int32[n], a categorical code of the visit
    (device, country, ...), -1 where unknown.
    """

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    kinds: dict[str, np.ndarray]
    context: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: slice | np.ndarray) -> "Interactions":
        """The given rows in the given order; a slice copies nothing."""
        return Interactions(
            user=self.user[rows],
            item=self.item[rows],
            time=self.time[rows],
            kinds={name: values[rows] for name, values in self.kinds.items()},
            context={name: values[rows] for name, values in self.context.items()},
        )

    def in_order(self) -> "Interactions":
        """The same rows sorted by (time, user, item)."""
        if is_sorted(self.time, self.user, self.item):
            return self
        return self.take(np.lexsort((self.item, self.user, self.time)))

    def without_repeats(self) -> "Interactions":
        """Without the rows that repeat an earlier one in user, item, time and every kind."""
        order, repeated = self._repeats()
        return self.take(np.sort(order[~repeated]))

    def first_repeat(self) -> tuple[int, int]:
        """A row and a later one that repeats it in user, item, time and every kind; (-1, -1) if there is none."""
        order, repeated = self._repeats()
        if not repeated.any():
            return -1, -1
        place = int(np.argmax(repeated))
        return int(order[place - 1]), int(order[place])

    def _repeats(self) -> tuple[np.ndarray, np.ndarray]:
        """An order that puts equal rows together, earlier ones first, and which places repeat the one before."""
        keys = (self.time, self.user, self.item, *self.kinds.values())
        order = np.lexsort(keys[::-1])
        repeated = np.ones(len(self), bool)
        repeated[:1] = False
        for key in keys:
            repeated[1:] &= key[order[1:]] == key[order[:-1]]
        return order, repeated

    def first_times(self, items: int) -> np.ndarray:
        """int64[items]: time of each item's first interaction; every one of the ``items`` rows must have one."""
        rows, first = np.unique(self.item, return_index=True)
        times = np.zeros(items, np.int64)
        times[rows] = self.time[first]
        return times


def is_sorted(*keys: np.ndarray) -> bool:
    """Whether rows are in ascending order of the keys, the first key the most significant."""
    tied = np.ones(max(len(keys[0]) - 1, 0), bool)
    for key in keys:
        step = key[1:] >= key[:-1]
        if not step[tied].all():
            return False
        tied &= key[1:] == key[:-1]
    return True
