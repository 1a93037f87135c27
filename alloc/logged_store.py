"""What the stores have in common: a day is a log of events, and what it says is read from a copy in memory."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from .day_matches import DayMatches
from .match_events import Event, Expired, Given, Seen
from .match_store import Answer, Match, Request, ShortError, whole

_MOST_DAYS = 2
"""In memory at a time; an older one is read anew."""


class LoggedStore(ABC):
    """A `MatchStore` but for where the log is kept. Not safe from several threads at once, each takes one of its own."""

    def __init__(self) -> None:
        self._days: dict[int, DayMatches] = {}

    @abstractmethod
    def reserve_many(self, day: int, requests: Sequence[Request]) -> list[Answer | ShortError]:
        """See `MatchStore`."""

    @abstractmethod
    def _now(self, day: int) -> DayMatches:
        """The day as it is now, all events of others read. Raises StoreError."""

    @abstractmethod
    def _append(self, day: int, event: Event) -> int:
        """Writes one more event, durably; what `DayMatches.apply` says of it, after all before it. Raises StoreError."""

    def people(self, day: int) -> str:
        """See `MatchStore`."""
        return self._now(whole("day", day)).people

    def left(self, day: int) -> np.ndarray:
        """See `MatchStore`. Reads what happened since the last call of any kind."""
        return self._now(whole("day", day)).left.copy()

    def answered(self, day: int) -> int:
        """See `MatchStore`."""
        return self._now(whole("day", day)).answered

    def reserve(self, day: int, request: Request) -> Answer:
        """See `MatchStore`."""
        (answer,) = self.reserve_many(day, [request])
        if isinstance(answer, ShortError):
            raise answer
        return answer

    def matches(self, day: int, user: int) -> list[Match]:
        """See `MatchStore`."""
        return self._now(whole("day", day)).of_user(whole("user", user))

    def show(self, day: int, user: int, item: str) -> bool:
        """See `MatchStore`."""
        day, user = whole("day", day), whole("user", user)
        match = self._now(day).find(user, item)
        if match is None or match.shown:
            return match is not None
        return self._append(day, Seen(user, item)) > 0

    def expire(self, day: int, before: int) -> int:
        """See `MatchStore`. One pass over the day's matches in memory, one small write."""
        day, before = whole("day", day), whole("before", before)
        return self._append(day, Expired(before)) if len(self._now(day).old(before)) else 0

    def _keep(self, day: int, matches: DayMatches) -> DayMatches:
        """Notes a day just read from its beginning."""
        self._days[day] = matches
        for other in sorted(self._days, key=lambda known: known == day)[:-_MOST_DAYS]:
            del self._days[other]
        return matches

    @contextlib.contextmanager
    def _dropped_if_broken(self, day: int) -> Iterator[None]:
        """Where something fails the copy in memory goes, for it may be ahead of the log."""
        try:
            yield
        except BaseException:
            self._days.pop(day, None)
            raise


def answer_of(event: Given, day: int, *, repeated: bool) -> Answer:
    """The answer that an event tells."""
    return Answer(event.item, event.part, day, event.user.astype(np.int64), event.score, repeated=repeated)


def too_short(request: Request, found: int) -> ShortError:
    """What `MatchStore.reserve` says where fewer users than the least number have places left."""
    return ShortError(f"item {request.item!r}: {found} users have places left, wanted {request.least}")
