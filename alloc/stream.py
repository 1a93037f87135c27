"""Uploads between nights: each gets its users at once, at the prices of the night before, and keeps them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..solvers.ids import id_array
from ..solvers.online import OnlineRule
from .errors import InputError
from .match_store import Answer, Match, MatchStore, Request
from .stream_prices import StreamPrices

SPARE = 1.25
"""The store is asked for this many times the users wanted, so that the next best stand in for those just taken by others."""

SYNC_ITEMS = 500
"""Uploads after which the places that others took are read again."""


@dataclass(frozen=True, eq=False)
class Upload:
    """A new item and its candidates: ``user`` ids with ``score``, finite and not negative, P(active) and all.

    ``excluded``: ids that must not get it (author, blocked, seen). ``part``: 1, 2, ... for a top-up after first feedback.
    """

    item: str
    user: Sequence[int] | Sequence[str]
    score: Sequence[float]
    demand: int
    excluded: Sequence[int] | Sequence[str] = field(default=())
    part: int = 0


class Stream:
    """Allocates uploads from a night's prices into a store; one object a process, any number of processes a store.

    Candidates that the night did not know are passed over. When the local day changes all places are free again. A clock
    that goes back stays on the later day.
    """

    def __init__(self, prices: StreamPrices, store: MatchStore) -> None:
        self.prices, self.store, self.day = prices, store, -1
        self._ids = pd.Index(prices.user_ids)
        self._rule = OnlineRule(prices.capacity, prices.curves)
        self._since = 0

    def allocate(self, upload: Upload, now: int) -> Answer:
        """The users of an upload that comes at ``now`` (ms since 1970), by their rows in the prices; durable.

        The same item and part again gets the same answer. Raises InputError for an upload that cannot be used, and
        StoreError; then nothing has changed.
        """
        earlier = self.store.answer(upload.item, upload.part) if upload.item else None
        if earlier is not None:
            return earlier
        self._on_time(now)
        user, score = self._candidates(upload)
        wanted = int(np.ceil(upload.demand * SPARE))
        offered = self._rule.offer_one(user, score, wanted, self.prices.gone(now))
        best = offered[np.argsort(-self._rule.net(user[offered], score[offered]), kind="stable")]
        request = Request(upload.item, user[best], score[best], upload.demand, now, upload.part)
        answer = self.store.reserve(self.day, request)
        if answer.repeated:
            return answer
        if (self._rule.left[answer.user] > 0).all():
            self._rule.take(answer.user)
            self._since += 1
        else:
            self._since = SYNC_ITEMS  # others gave places back
        return answer

    def matches(self, row: int, now: int) -> list[Match]:
        """A user's matches of the day of ``now``, best first. Raises StoreError."""
        self._on_time(now)
        return self.store.matches(self.day, row)

    def show(self, row: int, item: str, now: int) -> bool:
        """Notes that a user saw an item; whether it is among the user's matches of the day. Raises StoreError."""
        self._on_time(now)
        return self.store.show(self.day, row, item)

    def row(self, name: str) -> int | None:
        """The row of a user id written as text, None where the night does not know it."""
        if self.prices.user_ids.dtype.kind == "U":
            found = self._ids.get_indexer(np.array([name]))
        elif re.fullmatch(r"-?[0-9]{1,18}", name):
            found = self._ids.get_indexer(np.array([int(name)]))
        else:
            return None
        return int(found[0]) if found[0] >= 0 else None

    def names(self, answer: Answer) -> list[int] | list[str]:
        """The ids of an answer's users."""
        ids: list[int] | list[str] = self.prices.user_ids[answer.user].tolist()
        return ids

    def _on_time(self, now: int) -> None:
        """Opens a new day when it has begun, and reads what others took from time to time."""
        day = max(self.prices.day(now), self.day)
        if day != self.day:
            self.store.open_day(day, self.prices.capacity)
        elif self._since < SYNC_ITEMS:
            return
        self._rule.know(self.store.left(day), self.store.answered(day))
        self.day, self._since = day, 0

    def _candidates(self, upload: Upload) -> tuple[np.ndarray, np.ndarray]:
        """Rows and scores of the candidates that the night knows and that are not excluded, each once."""
        score = np.asarray(upload.score, np.float64)
        if len(upload.user) != len(score):
            raise InputError(
                f"item {upload.item!r}: {len(upload.user)} users and {len(score)} scores, expected as many"
            )
        if upload.demand < 0 or not (np.isfinite(score) & (score >= 0)).all():
            raise InputError(f"item {upload.item!r}: expected demand and scores finite and not negative")
        rows = self._rows(upload, upload.user)
        if len(np.unique(rows[rows >= 0])) != (rows >= 0).sum():
            raise InputError(f"item {upload.item!r}: a user stands twice among its candidates, expected each once")
        barred = self._rows(upload, upload.excluded)
        kept = (rows >= 0) & ~np.isin(rows, barred[barred >= 0])
        return rows[kept], score[kept]

    def _rows(self, upload: Upload, ids: Sequence[int] | Sequence[str]) -> np.ndarray:
        """int64 rows of user ids, -1 for those that the night does not know."""
        values = id_array(list(ids), f"item {upload.item!r}: user")
        if values.size and (values.dtype.kind == "U") != (self.prices.user_ids.dtype.kind == "U"):
            known = "strings" if self.prices.user_ids.dtype.kind == "U" else "integers"
            raise InputError(f"item {upload.item!r}: user id {values[0].item()!r}, expected {known} as in the night")
        return np.asarray(self._ids.get_indexer(values), np.int64)
