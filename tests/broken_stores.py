"""Stores that break a promise, so that tests of crashes are seen to fail; also a script, as `store_writer.py` is.

    python broken_stores.py KIND STORE ...

The moments in which a kill or another writer does harm are made long.
"""

import contextlib
import sys
import time
from collections.abc import Iterator

import numpy as np

from dualrec.alloc.day_matches import DayMatches
from dualrec.alloc.match_events import Event
from dualrec.alloc.match_store import Answer, Request, ShortError
from dualrec.alloc.sqlite_store import SqliteStore

MOMENT = 0.01
ANSWERS_PER_COMMIT = 10


class LateAnswers(SqliteStore):
    """Keeps an item's users with their places in one transaction, and where its answer is found in the next."""

    def _insert(self, day: int, number: int, event: Event) -> None:
        super()._insert(day, number, event)
        self._db.execute("COMMIT")
        time.sleep(MOMENT)
        self._db.execute("BEGIN IMMEDIATE")


class StalePlaces(SqliteStore):
    """Chooses by the places that were left when it last gave an answer, whatever others did since."""

    def _reserved(self, day: int, matches: DayMatches, request: Request) -> Answer | ShortError:
        now = matches.left.copy()
        matches.left[:] = getattr(self, "_seen", now)
        answer = super()._reserved(day, matches, request)
        self._seen = matches.left.copy()
        matches.left[:] = now - np.bincount(answer.user, minlength=len(now)) * (not answer.repeated)
        return answer


class LateCommit(SqliteStore):
    """Acknowledges at once and commits several answers together, later."""

    _waiting = 0

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


KINDS = {kind.__name__: kind for kind in (LateAnswers, StalePlaces, LateCommit)}

if __name__ == "__main__":
    from store_writer import main

    main(KINDS[sys.argv.pop(1)])
