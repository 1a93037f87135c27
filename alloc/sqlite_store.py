"""The embedded store: SQLite in WAL mode, every commit flushed to disk before it is acknowledged."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np

from .match_store import Answer, Match, Request, ShortError, StoreError, checked_capacity, other_people, whole

_WAIT_MS = 10_000
_WAL_PAGES = 32_768
"""Of 1 KB: an item changes some hundred, and the file behind the log is brought up to date every hundred items or so."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS day (
    day INTEGER PRIMARY KEY, users INTEGER NOT NULL, capacity BLOB NOT NULL, people TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS place (
    day INTEGER, user INTEGER, free INTEGER NOT NULL CHECK (free >= 0), PRIMARY KEY (day, user)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answer (
    item TEXT, part INTEGER, day INTEGER NOT NULL, user BLOB NOT NULL, score BLOB NOT NULL, PRIMARY KEY (item, part)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS match (
    day INTEGER, user INTEGER, item TEXT, score REAL NOT NULL, made INTEGER NOT NULL, shown INTEGER NOT NULL,
    PRIMARY KEY (day, user, item)
) WITHOUT ROWID;
"""
_OPEN = "SELECT user FROM json_each(?2) CROSS JOIN place ON day = ?1 AND user = value WHERE free > 0"
_TAKE = "UPDATE place SET free = free - 1 WHERE day = ?1 AND user IN (SELECT value FROM json_each(?2))"
_ADD = "INSERT INTO match VALUES (?, ?, ?, ?, ?, 0)"
_WAITING = "FROM match WHERE day = ? AND shown = 0 AND made < ?"


class SqliteStore:
    """A `MatchStore` in one file, for any number of processes on one machine; one writes at a time.

    An item with 200 users changes about 400 pages of 1 KB, flushed once.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()  # absolute: no name that SQLite reads as anything but a file
        with self._errors():
            self._db = apsw.Connection(str(self.path))
            self._db.set_busy_timeout(_WAIT_MS)
            # Users of an item are all over the file, and a commit writes whole pages: small ones are a tenth quicker.
            self._db.execute("PRAGMA page_size = 1024")
            self._db.execute("PRAGMA journal_mode = WAL").fetchall()
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}").fetchall()
            self._db.execute(_SCHEMA)

    def open_day(self, day: int, capacity: np.ndarray, people: str = "") -> None:
        """See `MatchStore`. About a second for a million users."""
        day, places = whole("day", day), checked_capacity(day, capacity)
        with self._writing():
            known = self._rows("SELECT capacity, people FROM day WHERE day = ?", day)
            if known:
                if known[0] != (places.tobytes(), people):
                    raise other_people(day)
                return
            self._db.execute("INSERT INTO day VALUES (?, ?, ?, ?)", (day, len(places), places.tobytes(), people))
            rows = ((day, user, free) for user, free in enumerate(places.tolist()) if free)
            self._db.executemany("INSERT INTO place VALUES (?, ?, ?)", rows)

    def people(self, day: int) -> str:
        """See `MatchStore`."""
        day = whole("day", day)
        with self._reading():
            self._users(day)
            return str(self._rows("SELECT people FROM day WHERE day = ?", day)[0][0])

    def left(self, day: int) -> np.ndarray:
        """See `MatchStore`."""
        day = whole("day", day)
        with self._reading():
            out = np.zeros(self._users(day), np.int64)
            for user, free in self._rows("SELECT user, free FROM place WHERE day = ?", day):
                out[user] = free
            return out

    def answered(self, day: int) -> int:
        """See `MatchStore`. One pass over the answers."""
        day = whole("day", day)
        with self._reading():
            self._users(day)
            return int(self._rows("SELECT COUNT(*) FROM answer WHERE day = ? AND part = 0", day)[0][0])

    def reserve(self, day: int, request: Request) -> Answer:
        """See `MatchStore`. One transaction."""
        day = whole("day", day)
        with self._writing():
            self._users(day)
            earlier = self._answer(request.item, request.part)
            if earlier is not None:
                return earlier
            taken = self._take(day, request)
            if len(taken) < request.least:
                raise ShortError(f"item {request.item!r}: {len(taken)} users have places left, wanted {request.least}")
            answer = Answer(request.item, request.part, day, request.user[taken], request.score[taken])
            pairs = zip(answer.user.tolist(), answer.score.tolist(), strict=True)
            self._db.executemany(_ADD, [(day, user, answer.item, score, request.made) for user, score in pairs])
            blobs = answer.user.tobytes(), answer.score.tobytes()
            self._db.execute("INSERT INTO answer VALUES (?, ?, ?, ?, ?)", (answer.item, answer.part, day, *blobs))
            return answer

    def answer(self, item: str, part: int = 0) -> Answer | None:
        """See `MatchStore`."""
        with self._errors():
            return self._answer(item, whole("part", part))

    def matches(self, day: int, user: int) -> list[Match]:
        """See `MatchStore`."""
        day, user = whole("day", day), whole("user", user)
        with self._reading():
            self._users(day)
            found = "SELECT item, score, shown FROM match WHERE day = ? AND user = ? ORDER BY score DESC, item"
            return [Match(item, score, bool(shown)) for item, score, shown in self._rows(found, day, user)]

    def show(self, day: int, user: int, item: str) -> bool:
        """See `MatchStore`."""
        day, user = whole("day", day), whole("user", user)
        with self._writing():
            self._users(day)
            self._db.execute("UPDATE match SET shown = 1 WHERE day = ? AND user = ? AND item = ?", (day, user, item))
            return self._db.changes() > 0

    def expire(self, day: int, before: int) -> int:
        """See `MatchStore`. One pass over the day's matches."""
        day, before = whole("day", day), whole("before", before)
        with self._writing():
            self._users(day)
            given = self._rows(f"SELECT user, COUNT(*) {_WAITING} GROUP BY user", day, before)
            self._db.executemany(
                "UPDATE place SET free = free + ? WHERE day = ? AND user = ?", [(n, day, user) for user, n in given]
            )
            self._db.execute(f"DELETE {_WAITING}", (day, before))
            return sum(count for _, count in given)

    def forget(self, day: int) -> None:
        """See `MatchStore`."""
        day = whole("day", day)
        with self._writing():
            for table in ("day", "place", "answer", "match"):
                self._db.execute(f"DELETE FROM {table} WHERE day = ?", (day,))

    def close(self) -> None:
        """See `MatchStore`."""
        self._db.close()

    def _take(self, day: int, request: Request) -> list[int]:
        """Positions of the users that get the item, their places taken."""
        held: set[int] = set()
        for (users,) in self._rows("SELECT user FROM answer WHERE item = ?", request.item):
            held.update(np.frombuffer(users, np.int64).tolist())
        users = request.user.tolist()
        available = {user for (user,) in self._rows(_OPEN, day, json.dumps(users))} - held
        taken = [position for position, user in enumerate(users) if user in available][: request.demand]
        self._db.execute(_TAKE, (day, json.dumps([users[position] for position in taken])))
        return taken

    def _answer(self, item: str, part: int) -> Answer | None:
        rows = self._rows("SELECT day, user, score FROM answer WHERE item = ? AND part = ?", item, part)
        if not rows:
            return None
        day, user, score = rows[0]
        return Answer(item, part, day, np.frombuffer(user, np.int64), np.frombuffer(score, np.float32), repeated=True)

    def _users(self, day: int) -> int:
        rows = self._rows("SELECT users FROM day WHERE day = ?", day)
        if not rows:
            raise StoreError(f"day {day} is not open in {self.path}; open_day first")
        return int(rows[0][0])

    def _rows(self, query: str, *values: int | str) -> list[Any]:
        return self._db.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Several queries on one state of the store."""
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
        except (apsw.Error, OSError) as error:
            raise StoreError(f"{self.path}: {type(error).__name__}: {error}") from error
