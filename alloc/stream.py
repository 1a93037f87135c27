"""Uploads between nights: each gets its users at once, at the prices of the night before, and keeps them."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..solvers.ids import id_array
from ..solvers.online import OnlineRule
from .errors import InputError
from .match_store import Answer, Match, MatchStore, Request, ShortError, StoreError, any_twice
from .new_item import NewItem
from .stream_prices import StreamPrices

if TYPE_CHECKING:
    from .item_scorer import ItemScorer

SPARE = 1.25
"""The store is asked for this many times the users wanted, so that the next best stand in for those just taken by others."""

SOUGHT = 4
"""Times the users wanted that are kept of a search over all users, for when others take some of the best."""

SYNC_ITEMS = 500
"""Uploads after which the places that others took are read again."""

SYNC_MS = 60_000
"""The same by the time of the uploads."""


@dataclass(frozen=True, eq=False)
class Upload:
    """A new item and its candidates: ``user`` ids with ``score``, finite and not negative, P(active) and all.

    ``excluded``: ids that must not get it (author, blocked, seen). ``part``: 1, 2, ... for a top-up after first feedback.
    ``new``: what is known of the item, in place of users and scores: the stream looks for them itself.
    """

    item: str
    user: Sequence[int] | Sequence[str]
    score: Sequence[float]
    demand: int
    excluded: Sequence[int] | Sequence[str] = field(default=())
    part: int = 0
    new: NewItem | None = None


class OtherNightError(StoreError):
    """An item has an answer, whose users are rows of another night; ``answer``."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(
            f"item {answer.item!r} was answered on day {answer.day} from a night with other users; start from that "
            "night to read it"
        )


class Stream:
    """Allocates uploads from a night's prices into a store; one object a process, any number of processes a store.

    Candidates that the night did not know are passed over. When the local day changes all places are free again. A clock
    that goes back stays on the later day, at the prices of its beginning; one that jumps ahead keeps the process there.

    ``scorer``: called for each upload that brings no candidates, see `serving_files`. ``threads``: most to set up prices
    with, 0: all cores.
    """

    def __init__(
        self,
        prices: StreamPrices,
        store: MatchStore,
        scorer: Callable[[], "ItemScorer"] | None = None,
        *,
        threads: int = 0,
    ) -> None:
        self.prices, self.store, self.day = prices, store, -1
        self._scorer, self._everybody = scorer, np.arange(len(prices.user_ids))
        self._ids = pd.Index(prices.user_ids)
        self._rule = OnlineRule(prices.capacity, prices.curves, threads=threads)
        self._since, self._read_at = 0, 0
        self._items: set[str] = set()  # of the day, asked for here
        self._people = hashlib.sha256("\n".join(map(str, prices.user_ids.tolist())).encode()).hexdigest()

    @property
    def kind(self) -> str:
        """Of the user ids, as NumPy's ``dtype.kind``: U for text, i or u for integers."""
        return self.prices.user_ids.dtype.kind

    def at(self, _now: int) -> "Stream":
        """The stream in force: itself. See `Nights`."""
        return self

    def begin(self, day: int, now: int) -> None:
        """Opens a local day, or reads it as it is. Raises StoreError; OtherPeopleError where it is open for others."""
        self.store.open_day(day, self.prices.capacity, self._people)
        self._items.clear()
        self._read(day, now)

    def allocate(self, upload: Upload, now: int) -> Answer:
        """The users of an upload that comes at ``now`` (ms since 1970), by their rows in the prices; durable.

        The same item and part again gets the same answer. Raises InputError for an upload that cannot be used, and
        StoreError; then nothing has changed.
        """
        (answer,) = self.allocate_many([upload], now)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def allocate_many(self, uploads: Sequence[Upload], now: int) -> list[Answer | Exception]:
        """The same as `allocate` of each in that order, flushed to disk together; what it would raise stands in its place.

        Only an item that another process answered before holds up to `demand` places back from those after it, until all
        are answered. Raises StoreError when the store fails; then none was acknowledged.
        """
        self._on_time(now)
        out: list[Answer | Exception] = []
        for group in self._groups(uploads):
            out += self._allocated(group, now)
        return out

    def _groups(self, uploads: Sequence[Upload]) -> Iterator[list[Upload]]:
        """Uploads whose users can be told before the store answers; those that may have some already stand alone."""
        group: list[Upload] = []
        for upload in uploads:
            again = upload.part > 0 or str(upload.item) in self._items
            self._items.add(str(upload.item))
            if again and group:
                yield group
                group = []
            group.append(upload)
            if again:
                yield group
                group = []
        if group:
            yield group

    def _allocated(self, uploads: Sequence[Upload], now: int) -> list[Answer | Exception]:
        try:
            offers = [self._checked_offer(upload, now) for upload in uploads]
            answers = iter(self._reserved([offer for offer in offers if isinstance(offer, _Offer)], now))
        except BaseException:
            self._since = SYNC_ITEMS  # places were taken ahead
            raise
        return [next(answers) if isinstance(offer, _Offer) else offer for offer in offers]

    def _checked_offer(self, upload: Upload, now: int) -> "_Offer | Exception":
        try:
            return self._offer(upload, *self._candidates(upload, now), now)
        except (ValueError, OverflowError) as error:
            return error

    def _offer(self, upload: Upload, user: np.ndarray, score: np.ndarray, now: int, *, final: bool = False) -> "_Offer":
        """What the store is asked, the places that it should give taken ahead, so that the next upload is offered the rest.

        ShortError will come where the store has fewer users than seemed free, unless it is final.
        """
        wanted = int(np.ceil(upload.demand * SPARE))
        offered = self._rule.offer_one(user, score, wanted, self._gone(now))
        best = offered[np.argsort(-self._rule.net(user[offered], score[offered]), kind="stable")]
        least = 0 if final or upload.part else min(upload.demand, len(best))
        request = Request(upload.item, user[best], score[best], upload.demand, now, upload.part, least)
        ahead = request.user[: upload.demand]
        self._rule.take(ahead, new=upload.part == 0)
        return _Offer(upload, user, score, request, ahead)

    def _reserved(self, offers: "list[_Offer]", now: int) -> list[Answer | Exception]:
        """What the store answers; of those for which it has too few users once more, by what is left now."""
        found = self.store.reserve_many(self.day, [offer.request for offer in offers]) if offers else []
        out = [self._settled(offer, answer) for offer, answer in zip(offers, found, strict=True)]
        short = [k for k, answer in enumerate(out) if isinstance(answer, ShortError)]
        if short:
            self._read(self.day, now)  # others took what seemed free
            parts = [(offers[k].upload, offers[k].user, offers[k].score) for k in short]
            again = self._reserved([self._offer(*part, now, final=True) for part in parts], now)
            for k, answer in zip(short, again, strict=True):
                out[k] = answer
        return out

    def _settled(self, offer: "_Offer", answer: Answer | ShortError) -> Answer | Exception:
        """The answer, and the places as the store gave them."""
        new = offer.upload.part == 0
        if isinstance(answer, Answer) and not answer.repeated and np.array_equal(answer.user, offer.ahead):
            self._since += 1
            return answer
        self._rule.give_back(offer.ahead)
        self._rule.answered -= new
        if isinstance(answer, ShortError) or answer.repeated:
            return answer if isinstance(answer, ShortError) else self._ours(answer)
        if (self._rule.left[answer.user] > 0).all():
            self._rule.take(answer.user, new=new)
            self._since += 1
        else:
            self._since = SYNC_ITEMS  # others gave places back
        return answer

    def _ours(self, answer: Answer) -> Answer | OtherNightError:
        """An earlier answer, if its users' rows are this night's."""
        if self.store.people(answer.day) == self._people:
            return answer
        return OtherNightError(answer)

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
        elif re.fullmatch(r"-?[0-9]{1,19}", name) and -(2**63) <= int(name) < 2**63:
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
            self.begin(day, now)
        elif self._since >= SYNC_ITEMS or abs(now - self._read_at) >= SYNC_MS:
            self._read(day, now)

    def _read(self, day: int, now: int) -> None:
        """The places that are left by now."""
        self._rule.know(self.store.left(day), self.store.answered(day))
        self.day, self._since, self._read_at = day, 0, now

    def _gone(self, now: int) -> float:
        """Share of the day's uploads that has come; a clock that went back has the prices of the day's beginning."""
        return self.prices.gone(now) if self.prices.day(now) == self.day else 0.0

    def _sought(self, upload: Upload, new: NewItem, now: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and scores of the best users at the present prices, sought among all users of the night."""
        if self._scorer is None:
            raise InputError(f"item {upload.item!r}: the night holds nothing to find users with; send users and scores")
        if upload.demand < 0:
            raise InputError(f"item {upload.item!r}: demand is {upload.demand}, expected 0 or more")
        barred = self._rows(upload, upload.excluded)
        try:
            score = self._scorer().scores(new, self.prices.moment(now))
        except InputError as error:
            raise InputError(f"item {upload.item!r}: {error}") from None
        score[barred[barred >= 0]] = 0
        best = self._rule.offer_one(self._everybody, score, SOUGHT * upload.demand, self._gone(now))
        return best, score[best]

    def _candidates(self, upload: Upload, now: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and scores of the candidates that the night knows and that are not excluded, each once."""
        if upload.new is not None:
            return self._sought(upload, upload.new, now)
        score = np.asarray(upload.score, np.float64)
        if len(upload.user) != len(score):
            raise InputError(
                f"item {upload.item!r}: {len(upload.user)} users and {len(score)} scores, expected as many"
            )
        if upload.demand < 0 or not (np.isfinite(score) & (score >= 0)).all():
            raise InputError(f"item {upload.item!r}: expected demand and scores finite and not negative")
        rows = self._rows(upload, upload.user)
        if any_twice(rows[rows >= 0]):
            raise InputError(f"item {upload.item!r}: a user stands twice among its candidates, expected each once")
        kept = rows >= 0
        if len(upload.excluded):
            kept &= ~np.isin(rows, self._rows(upload, upload.excluded))
        return rows[kept], score[kept]

    def _rows(self, upload: Upload, ids: Sequence[int] | Sequence[str]) -> np.ndarray:
        """int64 rows of user ids, -1 for those that the night does not know."""
        values = id_array(list(ids), f"item {upload.item!r}: user")
        if values.size and (values.dtype.kind == "U") != (self.prices.user_ids.dtype.kind == "U"):
            known = "strings" if self.prices.user_ids.dtype.kind == "U" else "integers"
            raise InputError(f"item {upload.item!r}: user id {values[0].item()!r}, expected {known} as in the night")
        return np.asarray(self._ids.get_indexer(values), np.int64)


@dataclass(frozen=True, eq=False)
class _Offer:
    """An upload, its usable candidates, what the store is asked, and the rows of the users taken ahead."""

    upload: Upload
    user: np.ndarray
    score: np.ndarray
    request: Request
    ahead: np.ndarray
