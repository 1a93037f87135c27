"""The embedded store: SQLite in WAL mode, every commit flushed to disk before it is acknowledged."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import numpy as np

from .day_matches import DayMatches
from .errors import InputError
from .logged_store import LoggedStore, answer_of, too_short
from .match_events import Event, Given, decode
from .match_store import Answer, Request, ShortError, StoreError, checked_capacity, other_people, whole

_WAIT_MS = 10_000
_WAL_PAGES = 2_000
"""Of 4 KB: an item changes four or so, and the file behind the log is brought up to date every five hundred items, in 20 ms.
"""

_VERSION = 2
_SCHEMA = """
CREATE TABLE day (
    opened INTEGER PRIMARY KEY AUTOINCREMENT, day INTEGER NOT NULL UNIQUE, capacity BLOB NOT NULL, people TEXT NOT NULL
);
CREATE TABLE event (day INTEGER, number INTEGER, event BLOB NOT NULL, PRIMARY KEY (day, number)) WITHOUT ROWID;
CREATE TABLE answer (
    item TEXT, part INTEGER, day INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (item, part)
) WITHOUT ROWID;
"""
_PARTS = "SELECT part, day, event FROM answer JOIN event USING (day, number) WHERE item = ?"


class SqliteStore(LoggedStore):
    """A `MatchStore` in one file, for any number of processes on one machine; one writes at a time.

    An item with 200 users is one event of 1.6 KB and one row of an index: about four pages, flushed once. A process reads
    the day's events when it begins, and then those of others, 17 bytes of memory a match.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        self.path = Path(path).absolute()  # absolute: no name that SQLite reads as anything but a file
        with self._errors():
            self._db = apsw.Connection(str(self.path))
            self._db.set_busy_timeout(_WAIT_MS)
            self._db.execute("PRAGMA journal_mode = WAL").fetchall()
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}").fetchall()
        if self._version() != _VERSION:
            with self._writing():
                self._make_tables()

    def open_day(self, day: int, capacity: np.ndarray, people: str = "") -> None:
        """See `MatchStore`. One row."""
        day, places = whole("day", day), checked_capacity(day, capacity)
        with self._writing():
            known = self._rows("SELECT capacity, people FROM day WHERE day = ?", day)
            if not known:
                row = (day, places.tobytes(), people)
                self._db.execute("INSERT INTO day (day, capacity, people) VALUES (?, ?, ?)", row)
            elif known[0] != (places.tobytes(), people):
                raise other_people(day)

    def reserve_many(self, day: int, requests: Sequence[Request]) -> list[Answer | ShortError]:
        """See `MatchStore`. One transaction."""
        day = whole("day", day)
        with self._changing(day) as matches:
            return [self._reserved(day, matches, request) for request in requests]

    def answer(self, item: str, part: int = 0) -> Answer | None:
        """See `MatchStore`."""
        part = whole("part", part)
        with self._errors():
            return next((answer for answer in self._parts(item) if answer.part == part), None)

    def forget(self, day: int) -> None:
        """See `MatchStore`. One pass over the index of answers."""
        day = whole("day", day)
        self._days.pop(day, None)
        with self._writing():
            for table in ("day", "event", "answer"):
                self._db.execute(f"DELETE FROM {table} WHERE day = ?", (day,))

    def close(self) -> None:
        """See `MatchStore`."""
        self._db.close()

    def _reserved(self, day: int, matches: DayMatches, request: Request) -> Answer | ShortError:
        parts = self._parts(request.item)
        for earlier in parts:
            if earlier.part == request.part:
                return earlier
        taken = matches.choose(request, [answer.user for answer in parts])
        if len(taken) < request.least:
            return too_short(request, len(taken))
        given = Given(request.item, request.part, request.made, request.user[taken], request.score[taken])
        matches.apply(given)
        self._insert(day, matches.events, given)
        row = (request.item, request.part, day, matches.events)
        self._db.execute("INSERT INTO answer VALUES (?, ?, ?, ?)", row)
        return answer_of(given, day, repeated=False)

    def _parts(self, item: str) -> list[Answer]:
        """All that an item was answered."""
        answers = []
        for _, day, event in self._rows(_PARTS, item):
            given = decode(event)
            assert isinstance(given, Given)
            answers.append(answer_of(given, day, repeated=True))
        return answers

    def _append(self, day: int, event: Event) -> int:
        with self._changing(day) as matches:
            found = matches.apply(event)
            self._insert(day, matches.events, event)
        return found

    def _insert(self, day: int, number: int, event: Event) -> None:
        self._db.execute("INSERT INTO event VALUES (?, ?, ?)", (day, number, event.encode()))

    def _now(self, day: int) -> DayMatches:
        with self._dropped_if_broken(day), self._reading():
            return self._read_on(day)

    def _read_on(self, day: int) -> DayMatches:
        """The day with the events of others, on one state of the file."""
        rows = self._rows("SELECT opened FROM day WHERE day = ?", day)
        if not rows:
            raise StoreError(f"day {day} is not open in {self.path}; open_day first")
        opened = str(rows[0][0])
        matches = self._days.get(day)
        if matches is None or matches.opened != opened:
            ((capacity, people),) = self._rows("SELECT capacity, people FROM day WHERE day = ?", day)
            matches = self._keep(day, DayMatches(opened, np.frombuffer(capacity, np.int64), people))
        query = "SELECT event FROM event WHERE day = ? AND number > ? ORDER BY number"
        for (event,) in self._rows(query, day, matches.events):
            matches.apply(decode(event))
        return matches

    def _version(self) -> int:
        with self._errors():
            return int(self._rows("PRAGMA user_version")[0][0])

    def _make_tables(self) -> None:
        """In a new file, unless another process has just made them. StoreError where the file is of another format."""
        found = self._version()
        if found == 0 and not self._rows("SELECT name FROM sqlite_master"):
            self._db.execute(_SCHEMA)
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
        elif found != _VERSION:
            raise StoreError(f"{self.path} has format {found}, expected {_VERSION}: take a new file")

    def _rows(self, query: str, *values: int | str) -> list[Any]:
        return self._db.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _changing(self, day: int) -> Iterator[DayMatches]:
        """A transaction on a day as it is now."""
        with self._dropped_if_broken(day), self._writing():
            yield self._read_on(day)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Several queries on one state of the file."""
        with self._errors(), self._db:
            yield

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction: committed and flushed at the end, undone by any error."""
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (apsw.Error, OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise StoreError(f"{self.path}: {type(error).__name__}: {error}") from error
