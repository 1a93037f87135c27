"""What happens in a day's store, as bytes: an item was answered, a user saw a match, matches expired.

Places and matches follow from a day's events in their order, see `day_matches.py`, so a store keeps nothing else, and one
request writes one event. Layout, little-endian; Redis reads the same in Lua:

    A PART MADE COUNT\\n, users int32[count], scores float32[count], the item in UTF-8
    S USER\\n, the item
    X BEFORE\\n
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Given:
    """An item got users: ``user`` int32[n] rows, ``score`` float32[n]; ``made`` in ms since 1970."""

    item: str
    part: int
    made: int
    user: np.ndarray
    score: np.ndarray

    def encode(self) -> bytes:
        """As bytes."""
        head = f"A {self.part} {self.made} {len(self.user)}\n".encode()
        columns = self.user.astype("<i4").tobytes() + self.score.astype("<f4").tobytes()
        return head + columns + self.item.encode()


@dataclass(frozen=True)
class Seen:
    """A user saw an item."""

    user: int
    item: str

    def encode(self) -> bytes:
        """As bytes."""
        return f"S {self.user}\n{self.item}".encode()


@dataclass(frozen=True)
class Expired:
    """Matches made before a time (ms) and never shown ended."""

    before: int

    def encode(self) -> bytes:
        """As bytes."""
        return f"X {self.before}\n".encode()


Event = Given | Seen | Expired


def decode(event: bytes) -> Event:
    """The event of some bytes. ValueError where they are none."""
    head, _, rest = event.partition(b"\n")
    kind, *words = head.split(b" ")
    numbers = [int(word) for word in words]
    if kind == b"A" and len(numbers) == 3 and len(rest) >= 8 * numbers[2]:
        part, made, count = numbers
        user, score = np.frombuffer(rest, "<i4", count), np.frombuffer(rest, "<f4", count, 4 * count)
        return Given(rest[8 * count :].decode(), part, made, user, score)
    if kind == b"S" and len(numbers) == 1:
        return Seen(numbers[0], rest.decode())
    if kind == b"X" and len(numbers) == 1:
        return Expired(numbers[0])
    raise ValueError(f"{event[:40]!r} is no event of a store of matches")
