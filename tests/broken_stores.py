"""Stores that break a promise, so that tests of crashes are seen to fail; also a script, as `store_writer.py` is.

    python broken_stores.py KIND STORE ...

The moments in which a kill or another writer does harm are made long.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dualrec.alloc.match_store import Answer, Request
from dualrec.alloc.sqlite_store import SqliteStore

MOMENT = 0.01
ANSWERS_PER_COMMIT = 10


class LateMatches(SqliteStore):
    """Keeps an answer with its places in one transaction, the users' matches in the next."""

    def reserve(self, day: int, request: Request) -> Answer:
        with self._writing():
            earlier = self._answer(request.item, request.part)
            if earlier is not None:
                return earlier
            taken = self._take(day, request)
            answer = Answer(request.item, request.part, day, request.user[taken], request.score[taken])
            blobs = answer.user.tobytes(), answer.score.tobytes()
            self._db.execute("INSERT INTO answer VALUES (?, ?, ?, ?, ?)", (answer.item, answer.part, day, *blobs))
        time.sleep(MOMENT)
        with self._writing():
            for user, score in zip(answer.user.tolist(), answer.score.tolist(), strict=True):
                row = (day, user, answer.item, score, request.made)
                self._db.execute("INSERT INTO match VALUES (?, ?, ?, ?, ?, 0)", row)
        return answer


class StalePlaces(SqliteStore):
    """Reads the places that are left before its transaction begins."""

    def reserve(self, day: int, request: Request) -> Answer:
        self._seen = self.left(day)
        time.sleep(MOMENT)
        return super().reserve(day, request)

    def _take(self, day: int, request: Request) -> list[int]:
        blobs = self._rows("SELECT user FROM answer WHERE item = ?", request.item)
        held = {user for (blob,) in blobs for user in np.frombuffer(blob, np.int64).tolist()}
        users = request.user.tolist()
        taken = [n for n, user in enumerate(users) if self._seen[user] and user not in held][: request.demand]
        for user in (users[n] for n in taken):
            free = int(self._seen[user]) - 1
            self._db.execute("UPDATE place SET free = ? WHERE day = ? AND user = ?", (free, day, user))
        return taken


class LateCommit(SqliteStore):
    """Acknowledges at once and commits several answers together, later."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._waiting = 0

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._errors():
            if not self._db.in_transaction:
                self._db.execute("BEGIN IMMEDIATE")
            yield
            self._waiting += 1
            if self._waiting == ANSWERS_PER_COMMIT:
                self._db.execute("COMMIT")
                self._waiting = 0
                time.sleep(MOMENT)  # for the others
            time.sleep(MOMENT / ANSWERS_PER_COMMIT)


KINDS = {kind.__name__: kind for kind in (LateMatches, StalePlaces, LateCommit)}

if __name__ == "__main__":
    from store_writer import main

    main(KINDS[sys.argv.pop(1)])
