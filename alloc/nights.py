"""The stream of the night in force: another night is taken over while uploads come, without a restart."""

import threading
from collections.abc import Callable, Sequence

import numpy as np

from .errors import InputError
from .match_store import Answer, OtherPeopleError
from .stream import OtherNightError, Stream, Upload

_MOST_DAYS = 8


class Nights:
    """Has the methods of a `Stream`, for whatever night is in force; one object a process. ``say``: told what changes.

    A night that is offered comes into force at once where it names the same users with the same places, otherwise with the
    first upload of a local day that nobody has opened for the users of before: a day is for one set of people. The store
    says who they are, so that all its processes decide alike.
    """

    def __init__(self, name: str, stream: Stream, say: Callable[[str], None]) -> None:
        self.store, self.name = stream.store, name
        self._stream, self._say = stream, say
        self._next: tuple[str, Stream] | None = None
        self._lock = threading.Lock()
        self._tried = -1  # the last day that was open for others
        self._ids_of: dict[int, np.ndarray] = {}

    @property
    def kind(self) -> str:
        """See `Stream.kind`."""
        return self._stream.kind

    def offer(self, name: str, stream: Stream) -> None:
        """From any thread: a night that comes into force when it can, in place of one that was offered before.

        Raises InputError where ids were integers and now are text, or the reverse: a service has told its clients.
        """
        if (stream.kind == "U") != (self.kind == "U"):
            raise InputError(f"{name} names its users by another kind of ids than {self.name}; restart to use it")
        with self._lock:
            self._next, self._tried = (name, stream), -1

    def at(self, now: int) -> Stream:
        """The stream in force at a time (ms), until the next call. Raises StoreError."""
        with self._lock:
            offered, tried = self._next, self._tried
        if offered is not None:
            day = max(offered[1].prices.day(now), self._stream.day)
            if day != tried:
                self._take_over(offered, day, now)
        return self._stream

    def allocate(self, upload: Upload, now: int) -> Answer:
        """See `Stream.allocate`."""
        (answer,) = self.allocate_many([upload], now)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def allocate_many(self, uploads: Sequence[Upload], now: int) -> list[Answer | Exception]:
        """See `Stream.allocate_many`; what an item was answered here is given again, whatever night is in force by now."""
        stream = self.at(now)
        out = [self._known(answer) for answer in stream.allocate_many(uploads, now)]
        for answer in out:
            if isinstance(answer, Answer):
                self._ids_of.setdefault(answer.day, stream.prices.user_ids)
        for day in sorted(self._ids_of)[:-_MOST_DAYS]:
            del self._ids_of[day]
        return out

    def names(self, answer: Answer) -> list[int] | list[str]:
        """The ids of the users of an answer that was given here."""
        ids: list[int] | list[str] = self._ids_of[answer.day][answer.user].tolist()
        return ids

    def _known(self, answer: Answer | Exception) -> Answer | Exception:
        if isinstance(answer, OtherNightError) and answer.answer.day in self._ids_of:
            return answer.answer
        return answer

    def _take_over(self, offered: tuple[str, Stream], day: int, now: int) -> None:
        name, stream = offered
        try:
            stream.begin(day, now)
        except OtherPeopleError:
            self._say(f"{name} has other users or places than day {day}: {self.name} stays in force until the day ends")
            with self._lock:
                self._tried = day
            return
        self._say(f"{name} is in force, before it was {self.name}")
        self._stream, self.name = stream, name
        with self._lock:
            if self._next is offered:
                self._next = None
