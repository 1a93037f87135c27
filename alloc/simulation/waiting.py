"""Matches that wait for their users: the result cache of the paper, D_u."""

from dataclasses import dataclass

import numpy as np

from .exposures import COLD, Exposures
from .serving import Extra

MOST_WAITING = 50
"""Of a user's matches that a list considers: the best."""


@dataclass(eq=False)
class Matches:
    """Columns, by user, then falling ``gain``: ``user``, ``item`` int64, ``gain`` float64, the score without P(active);
    ``source`` int8; ``shown`` bool."""

    user: np.ndarray
    item: np.ndarray
    gain: np.ndarray
    source: np.ndarray
    shown: np.ndarray

    def __len__(self) -> int:
        return len(self.user)

    def sizes(self, users: int) -> np.ndarray:
        """int64[users]: how many matches each user has."""
        return np.bincount(self.user, minlength=users)

    def extra(self, visitor: np.ndarray, aim: float) -> Extra:
        """What waits for visitors, int64[n] ascending user rows."""
        first, last = np.searchsorted(self.user, visitor), np.searchsorted(self.user, visitor, "right")
        width = int(np.minimum(last - first, MOST_WAITING).max(initial=0))
        row = first[:, None] + np.arange(width)
        waits = row < last[:, None]
        row = np.where(waits, row, 0)
        waits &= ~self.shown[row] if len(self) else False
        if not len(self):
            return Extra(np.zeros(row.shape, np.int64) - 1, np.zeros(row.shape), np.zeros(row.shape, np.int8), aim)
        return Extra(np.where(waits, self.item[row], -1), self.gain[row], self.source[row], aim)

    def note(self, shown: Exposures) -> None:
        """Marks the matches that users saw."""
        seen = shown.source > COLD
        if len(self) and seen.any():
            keys, order = self._keys()
            asked = shown.user[seen] << 32 | shown.item[seen]
            place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
            self.shown[order[place[keys[place] == asked]]] = True

    def _keys(self) -> tuple[np.ndarray, np.ndarray]:
        keys = self.user << 32 | self.item
        order = np.argsort(keys, kind="stable")
        return keys[order], order


def matches_of(user: np.ndarray, item: np.ndarray, gain: np.ndarray, source: np.ndarray) -> Matches:
    """Matches in the order in which they are kept, each pair once."""
    order = np.lexsort((item, -gain, user))
    shown = np.zeros(len(order), bool)
    return Matches(user[order], item[order], gain[order].astype(np.float64), source[order], shown)


def no_matches() -> Matches:
    """Nobody waits for anything."""
    row = np.zeros(0, np.int64)
    return matches_of(row, row, np.zeros(0), np.zeros(0, np.int8))


def added(matches: Matches, more: Matches) -> Matches:
    """Both; no pair may be in both."""
    columns = [np.concatenate([a, b]) for a, b in zip(vars(matches).values(), vars(more).values(), strict=True)]
    order = np.lexsort((columns[1], -columns[2], columns[0]))
    return Matches(*(values[order] for values in columns))
