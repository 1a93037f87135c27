"""A day's places and matches in memory, as its events tell them; every process has its own copy and reads on."""

from collections.abc import Iterator, Sequence

import numpy as np

from .match_events import Event, Expired, Given, Seen
from .match_store import Match, Request

_WAITING, _SHOWN, _ENDED = 0, 1, 2
_ROW = np.dtype([("user", "<i4"), ("before", "<i4"), ("answer", "<i4"), ("score", "<f4"), ("state", "u1")])

_MOST_ROOM = 1 << 25


class DayMatches:
    """The state after the first ``events`` events of a day: ``left`` int64[users] places, ``answered`` items.

    ``opened`` tells days of one number apart, of which the first was forgotten; ``people`` as of `MatchStore.open_day`.
    17 bytes a match: those of a user are a chain from the latest to the first.
    """

    def __init__(self, opened: str, capacity: np.ndarray, people: str) -> None:
        self.opened, self.people = opened, people
        self.left, self.answered, self.events = np.array(capacity, np.int64), 0, 0
        self._items: list[str] = []
        self._made: list[int] = []
        self._latest = np.full(len(capacity), -1, np.int32)
        # Room for all the day's places: to move millions of matches later would hold up an upload for 0.1 s. Memory that is
        # not written to yet costs nothing.
        room = min(max(float(self.left.sum(dtype=np.float64)), 1_024), _MOST_ROOM)
        self._rows, self._count = np.empty(int(room), _ROW), 0

    def choose(self, request: Request, held: Sequence[np.ndarray]) -> np.ndarray:
        """Positions int64[n <= demand] of the first users asked for that have a place left and are not in ``held``."""
        at = np.flatnonzero(request.user < len(self.left))
        at = at[self.left[request.user[at]] > 0]
        if held:
            at = at[~np.isin(request.user[at], np.concatenate(held))]
        return at[: request.demand]

    def apply(self, event: Event) -> int:
        """The state after one more event. How many matches it made, was shown or ended."""
        self.events += 1
        if isinstance(event, Given):
            return self._give(event)
        return self._show(event) if isinstance(event, Seen) else self._expire(event)

    def of_user(self, user: int) -> list[Match]:
        """The user's matches, best score first, ties by item."""
        found = [self._match(row) for row in self._chain(user)]
        return sorted(found, key=lambda match: (-match.score, match.item))

    def find(self, user: int, item: str) -> Match | None:
        """The user's match with an item."""
        return next((self._match(row) for row in self._chain(user) if self._item(row) == item), None)

    def old(self, before: int) -> np.ndarray:
        """Which matches were made before a time (ms) and never shown: their rows."""
        made = np.array(self._made, np.int64)
        rows = self._rows[: self._count]
        waiting = np.flatnonzero(rows["state"] == _WAITING)
        return waiting[made[rows["answer"][waiting]] < before]

    def _give(self, event: Given) -> int:
        first, end = self._count, self._count + len(event.user)
        if end > len(self._rows):
            self._rows = np.concatenate([self._rows[:first], np.empty(end, _ROW)])
        rows = self._rows[first:end]
        rows["user"], rows["score"], rows["state"] = event.user, event.score, _WAITING
        rows["before"], rows["answer"] = self._latest[event.user], len(self._items)
        self._latest[event.user] = np.arange(first, end)
        self.left[event.user] -= 1
        self._count = end
        self._items.append(event.item)
        self._made.append(event.made)
        self.answered += event.part == 0
        return end - first

    def _show(self, event: Seen) -> int:
        for row in self._chain(event.user):
            if self._item(row) == event.item:
                self._rows["state"][row] = _SHOWN
                return 1
        return 0

    def _expire(self, event: Expired) -> int:
        rows = self.old(event.before)
        self._rows["state"][rows] = _ENDED
        self.left += np.bincount(self._rows["user"][rows], minlength=len(self.left))
        return len(rows)

    def _chain(self, user: int) -> Iterator[int]:
        """The rows of a user's matches that have not ended."""
        row = int(self._latest[user]) if 0 <= user < len(self.left) else -1
        while row >= 0:
            if self._rows["state"][row] != _ENDED:
                yield row
            row = int(self._rows["before"][row])

    def _item(self, row: int) -> str:
        return self._items[self._rows["answer"][row]]

    def _match(self, row: int) -> Match:
        kept = self._rows[row]
        return Match(self._items[kept["answer"]], float(kept["score"]), bool(kept["state"] == _SHOWN))
