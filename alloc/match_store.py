"""Where matches of a day are kept while uploads arrive: places left, each item's answer, each user's matches.

One interface, `MatchStore`; `SqliteStore` needs no server, `RedisStore` is shared by several machines.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .errors import InputError

MOST_ITEM_CHARACTERS = 256


class StoreError(InputError):
    """The store refuses a request, or cannot be reached; what was answered before is safe."""


class ShortError(StoreError):
    """Fewer users have places left than the request wants at least; nothing was kept."""


class OtherPeopleError(StoreError):
    """A day is open for other users, or for others of their places."""


@dataclass(frozen=True, eq=False)
class Answer:
    """The users that an item got: ``user`` int64[n] rows in the order of the request, ``score`` float32[n].

    ``part``: 0 for the upload's own answer, 1, 2, ... for top-ups. ``repeated``: it was given before and is the same again.
    """

    item: str
    part: int
    day: int
    user: np.ndarray
    score: np.ndarray
    repeated: bool = False


@dataclass(frozen=True)
class Match:
    """One item that waits for a user, or was shown to it."""

    item: str
    score: float
    shown: bool


@dataclass(frozen=True, eq=False)
class Request:
    """What `MatchStore.reserve` is asked: at most ``demand`` of the users ``user`` int[n], in that order of preference.

    ``score`` float[n], finite; ``made`` milliseconds since 1970, when the upload came, for `MatchStore.expire`. ``least``:
    with fewer users than that nothing is kept, and `ShortError` raised. Raises InputError for what cannot be asked.
    """

    item: str
    user: np.ndarray
    score: np.ndarray
    demand: int
    made: int
    part: int = 0
    least: int = 0

    def __post_init__(self) -> None:
        user, score = np.asarray(self.user), np.asarray(self.score)
        check_item(self.item)
        for name in ("demand", "made", "part", "least"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        if user.ndim != 1 or user.shape != score.shape or (user.dtype.kind not in "iu" and user.size):
            raise InputError(f"item {self.item!r}: expected user int[n] and score float[n] of one length")
        if (user < 0).any() or any_twice(user):
            raise InputError(f"item {self.item!r}: expected user rows from 0 up, each once")
        with np.errstate(over="ignore"):
            score = score.astype(np.float32)
        if not np.isfinite(score).all():
            raise InputError(f"item {self.item!r}: expected finite scores, within the range of float32")
        if self.demand < 0 or self.part < 0:
            raise InputError(f"item {self.item!r}: demand {self.demand}, part {self.part}, expected neither below 0")
        object.__setattr__(self, "user", user.astype(np.int64))
        object.__setattr__(self, "score", score)


class MatchStore(Protocol):
    """Safe from several processes at once. What a call has returned is on disk; a call that fails has changed nothing or,
    where the connection broke, all that it should: ask again.

    Every method raises `StoreError` when the store cannot be reached, is full or damaged, or the day was not opened.
    """

    def open_day(self, day: int, capacity: np.ndarray, people: str = "") -> None:
        """Places of every user for a day, int[users] >= 0. Again with the same ones: nothing happens.

        ``people`` names who the rows are, such as a digest of their ids; a day is for one set of people: OtherPeopleError.
        """
        ...

    def people(self, day: int) -> str:
        """Who the rows of a day's users are, as `open_day` was told."""
        ...

    def left(self, day: int) -> np.ndarray:
        """int64[users]: places left."""
        ...

    def answered(self, day: int) -> int:
        """How many items were answered on a day, top-ups not counted."""
        ...

    def reserve(self, day: int, request: Request) -> Answer:
        """The first users asked for that have a place left, one place less for each; the earlier answer if there is one,
        of whatever day.

        A user that the item has from another part is passed over, one without places or unknown to the day too.
        """
        ...

    def reserve_many(self, day: int, requests: Sequence[Request]) -> list[Answer | ShortError]:
        """The same as `reserve` of each in that order, flushed to disk together: a `ShortError` stands in its place.

        When the call fails, none was acknowledged.
        """
        ...

    def answer(self, item: str, part: int = 0) -> Answer | None:
        """What an item was answered, if it was."""
        ...

    def matches(self, day: int, user: int) -> list[Match]:
        """The user's matches of a day, best score first, ties by item."""
        ...

    def show(self, day: int, user: int, item: str) -> bool:
        """Notes that the user saw the item, so that the match never expires; whether there is such a match."""
        ...

    def expire(self, day: int, before: int) -> int:
        """Ends matches made before a time (ms) and never shown; their places are free again. Returns how many.

        The items' answers stay as they were.
        """
        ...

    def forget(self, day: int) -> None:
        """Removes a day with its matches and answers."""
        ...

    def close(self) -> None:
        """Lets go of files and connections."""
        ...


def other_people(day: int) -> OtherPeopleError:
    """What `open_day` says of a day that is open for others."""
    return OtherPeopleError(
        f"day {day} was opened by a night with other users or capacities; use that night until the day ends"
    )


def whole(name: str, value: Any) -> int:
    """A Python int that fits into 64 signed bits, from any kind of integer; drivers take NumPy's for bytes. StoreError."""
    try:
        number = operator.index(value)
    except TypeError:
        raise StoreError(f"{name} is {value!r:.60}, expected an integer") from None
    if not -(2**63) <= number < 2**63:
        raise StoreError(f"{name} is {number}, expected 64 signed bits")
    return number


def check_item(item: str) -> None:
    """Raises InputError unless it is text of 1 to 256 characters without lone surrogates, which no database keeps."""
    if not isinstance(item, str) or any("\ud800" <= letter <= "\udfff" for letter in item):
        raise InputError(f"item is {item!r:.60}, expected text in UTF-8")
    if not 0 < len(item) <= MOST_ITEM_CHARACTERS:
        raise InputError(f"item has {len(item)} characters, expected 1 to {MOST_ITEM_CHARACTERS}")


def any_twice(rows: np.ndarray) -> bool:
    """Whether a number stands twice in int[n]; by sorting, for np.unique takes thirty times as long."""
    in_order = np.sort(rows)
    return bool((in_order[1:] == in_order[:-1]).any())


def checked_capacity(day: int, capacity: np.ndarray) -> np.ndarray:
    """int64[users], or StoreError."""
    places = np.asarray(capacity)
    if places.ndim != 1 or places.dtype.kind not in "iu" or (places < 0).any():
        raise StoreError(f"day {day}: expected capacity int[users], not negative")
    return places.astype(np.int64)
