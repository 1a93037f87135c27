"""The ids of one side as they come in batches: which there are, how often, and the row of each."""

import numpy as np

from .errors import ProblemError
from .ids import find_rows, id_array, id_rows

SETTLE_AT = 1 << 18
"""Ids kept unmerged before they are merged; more where more are known, so that merging costs little in all."""


class IdTable:
    """Distinct ids of one side, in order of first appearance, or as given; `count` is how often each was added."""

    def __init__(self, name: str, known: object | None = None) -> None:
        self.name, self.fixed = name, known is not None
        self.ids = np.zeros(0, np.int64) if known is None else id_rows([], name, known).ids
        self.count = np.zeros(self.ids.size, np.int64)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._order: np.ndarray | None = None

    def add(self, ids: np.ndarray, count: np.ndarray) -> None:
        """Adds distinct ids with how often each occurs. Raises ProblemError for integers beside strings."""
        known = self._waiting[0][0] if self._waiting else self.ids
        if known.size and ids.size and (known.dtype.kind == "U") != (ids.dtype.kind == "U"):
            one, other = known[0].item(), ids[0].item()
            raise ProblemError(f"{self.name} ids are both {one!r} and {other!r}, expected all of the same type")
        if self.fixed:
            np.add.at(self.count, self.rows(ids), count)
            return
        self._waiting.append((ids, count))
        if sum(part.size for part, _ in self._waiting) > max(SETTLE_AT, self.ids.size):
            self.settle()

    def settle(self) -> None:
        """Merges what was added into `ids` and `count`."""
        if not self._waiting:
            return
        parts = [(self.ids, self.count), *self._waiting] if self.ids.size else self._waiting
        merged = id_rows(np.concatenate([ids for ids, _ in parts]), self.name, None)
        self.ids, self.count = merged.ids, np.zeros(merged.ids.size, np.int64)
        np.add.at(self.count, merged.rows, np.concatenate([count for _, count in parts]))
        self._waiting, self._order = [], None

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Row of each id, int64; raises ProblemError for one that is not in the table."""
        if self._order is None:
            self._order = np.argsort(self.ids, kind="stable")
        rows = find_rows(id_array(ids, self.name), self.ids, self._order)
        if (rows < 0).any():
            unknown = ids[np.flatnonzero(rows < 0)[0]].item()
            raise ProblemError(f"{self.name} {unknown!r} is not among the {self.ids.size} {self.name}_ids")
        return rows
