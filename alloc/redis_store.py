"""The shared store: Redis or Valkey, each request one script on the server, durable by its append-only file."""

import contextlib
import hashlib
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from . import redis_scripts
from .day_matches import DayMatches
from .errors import InputError
from .logged_store import LoggedStore, answer_of, too_short
from .match_events import Event, Given, decode
from .match_store import Answer, Request, ShortError, StoreError, checked_capacity, other_people, whole

_BATCH = 1_000
_TOGETHER = 50
"""Requests sent at once, so that none is too far behind the last of those before it."""

_TRIES = 100
_SECONDS = 10
_PAUSE = 0.05
_VERSION = b"2"
_DURABLE = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no"}


class RedisStore(LoggedStore):
    """A `MatchStore` on a server that several machines share, in one hash of the name ``prefix``.

    Refuses a server that would acknowledge before the disk has it (`appendonly yes` and `appendfsync always` are needed)
    unless ``durable`` is false. ``url`` as in redis://host:6379/0. An item is one call, those that come together are sent
    together and flushed once. A client reads the day's events when it begins, and then those of others.
    """

    def __init__(self, url: str, prefix: str = "dualrec", *, durable: bool = True) -> None:
        super().__init__()
        try:
            import redis
            import redis.backoff
            import redis.retry
        except ImportError:
            raise StoreError("a Redis store needs the package redis: pip install 'dualrec[redis]'") from None
        self._library, self.prefix = redis, prefix
        with self._errors():
            # A server that was started anew is found at once; by itself the library waits for seconds.
            retry = redis.retry.Retry(redis.backoff.ConstantBackoff(_PAUSE), 3)
            limits = {"socket_timeout": _SECONDS, "socket_connect_timeout": _SECONDS}
            on_connect = {"redis_connect_func": self._check_durable} if durable else {}
            self._client: Any = redis.Redis.from_url(url, retry=retry, **limits, **on_connect)
            self._client.ping()
            self._check_version()

    def open_day(self, day: int, capacity: np.ndarray, people: str = "") -> None:
        """See `MatchStore`. One write."""
        day, places = whole("day", day), checked_capacity(day, capacity)
        with self._errors():
            opening, people_then = self._client.hmget(self.prefix, f"o:{day}", f"w:{day}")
            if opening is not None and people_then is None:
                self.forget(day)  # whoever began to was cut off
            self._call(redis_scripts.OPEN, [[day, places.tobytes(), people, secrets.token_hex(8)]])
            if self._client.hmget(self.prefix, f"d:{day}", f"w:{day}") != [places.tobytes(), people.encode()]:
                raise other_people(day)

    def reserve_many(self, day: int, requests: Sequence[Request]) -> list[Answer | ShortError]:
        """See `MatchStore`. A script each; the server flushes once before it answers them."""
        day, out = whole("day", day), list[Answer | ShortError]()
        for first in range(0, len(requests), _TOGETHER):
            part = requests[first : first + _TOGETHER]
            end, matches = len(out) + len(part), self._days.get(day) or self._now(day)
            for _ in range(_TRIES):
                out += self._reserved(day, matches, requests[len(out) : end])
                if len(out) == end:
                    break
                matches = self._now(day)
            else:
                raise StoreError(f"day {day}: others write faster than this client can read")
        return out

    def answer(self, item: str, part: int = 0) -> Answer | None:
        """See `MatchStore`."""
        part = whole("part", part)
        with self._errors():
            for line in (self._client.hget(self.prefix, f"i:{item}") or b"").decode().splitlines():
                found, day, opening, number = line.split()
                event = self._client.hget(self.prefix, f"e:{opening}:{number}") if int(found) == part else None
                if event is not None:
                    return _answer(event, int(day), repeated=True)
        return None

    def forget(self, day: int) -> None:
        """See `MatchStore`. The day is closed first, then its fields go; cut off, call it again."""
        day = whole("day", day)
        self._days.pop(day, None)
        with self._errors():
            self._client.hdel(self.prefix, f"w:{day}")
            opening, count = self._client.hmget(self.prefix, f"o:{day}", f"n:{day}")
            for numbers in _batches(0, int(count or 0)):
                names = [f"e:{opening.decode()}:{number}" for number in numbers]
                events = [decode(event) for event in self._client.hmget(self.prefix, names) if event is not None]
                items = {event.item for event in events if isinstance(event, Given)}
                self._call(redis_scripts.FORGET, [[item, opening] for item in items])
                self._client.hdel(self.prefix, *names)
            if opening is not None:
                self._call(redis_scripts.CLOSE, [[day, opening]])

    def close(self) -> None:
        """See `MatchStore`."""
        self._client.close()

    def _reserved(self, day: int, matches: DayMatches, requests: Sequence[Request]) -> list[Answer | ShortError]:
        """The answers of the first requests, of as many as the client knows enough for."""
        calls: list[list[Any]] = []
        for request in requests:
            at = np.flatnonzero(request.user < len(matches.left))
            at = at[matches.left[request.user[at]] > 0]
            user = request.user[at]
            columns = [user.astype("<i4"), request.score[at].astype("<f4")]
            columns += [np.minimum(matches.left[user], 255).astype(np.uint8)]
            head = [day, matches.opened, matches.events, request.item, request.part]
            head += [request.made, request.demand, request.least]
            calls.append([*head, *(column.tobytes() for column in columns), int(not calls), redis_scripts.MOST_GAP])
        out: list[Answer | ShortError] = []
        with self._dropped_if_broken(day), self._errors():
            for request, (state, *found) in zip(requests, self._call(redis_scripts.RESERVE, calls), strict=True):
                if state == b"behind":
                    break
                if state == b"short":
                    out.append(too_short(request, found[0]))
                elif state == b"repeated":
                    out.append(_answer(found[1], int(found[0]), repeated=True))
                else:
                    number, event, gap = found
                    for missed in gap:
                        matches.apply(decode(missed))
                    if number == matches.events + 1:  # else others came in between: read with the next call
                        matches.apply(decode(event))
                    out.append(_answer(event, day, repeated=False))
        return out

    def _append(self, day: int, event: Event) -> int:
        for _ in range(_TRIES):
            matches = self._now(day)
            with self._dropped_if_broken(day), self._errors():
                (number,) = self._call(redis_scripts.APPEND, [[day, matches.opened, event.encode()]])
                if number:
                    return self._read_on(day, matches, number)
        raise StoreError(f"day {day} is opened and forgotten all the time")

    def _now(self, day: int) -> DayMatches:
        with self._dropped_if_broken(day), self._errors():
            people, opening, count = self._client.hmget(self.prefix, f"w:{day}", f"o:{day}", f"n:{day}")
            if people is None:
                raise StoreError(f"day {day} is not open in the store; open_day first")
            matches = self._days.get(day)
            if matches is None or matches.opened != opening.decode():
                capacity = self._client.hget(self.prefix, f"d:{day}") or b""
                new = DayMatches(opening.decode(), np.frombuffer(capacity, np.int64), people.decode())
                matches = self._keep(day, new)
            self._read_on(day, matches, int(count))
        return matches

    def _read_on(self, day: int, matches: DayMatches, last: int) -> int:
        """Reads the events up to a number; what the last of them did."""
        found = 0
        for numbers in _batches(matches.events, last):
            for event in self._client.hmget(self.prefix, [f"e:{matches.opened}:{number}" for number in numbers]):
                if event is None:
                    raise StoreError(f"day {day} was forgotten in between")
                found = matches.apply(decode(event))
        return found

    def _call(self, script: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """What a script answers to each call, all sent at once."""
        digest = hashlib.sha1(script.encode()).hexdigest()
        for _ in range(2):
            pipe = self._client.pipeline(transaction=False)
            for values in calls:
                pipe.evalsha(digest, 1, self.prefix, *values)
            found = pipe.execute(raise_on_error=False)
            errors = [one for one in found if isinstance(one, Exception)]
            if not any(isinstance(one, self._library.exceptions.NoScriptError) for one in errors):
                break
            self._client.script_load(script)
        for error in errors:
            raise error
        return list(found)

    def _check_durable(self, connection: Any) -> None:
        """At each connection: a server that comes back may have other settings, or be another."""
        connection.on_connect()
        found = {}
        for name in _DURABLE:
            connection.send_command("CONFIG", "GET", name)
            told = connection.read_response() or {}  # a mapping or its two words, by the version of the protocol
            pairs = told if isinstance(told, dict) else dict([told])
            found[name] = pairs.get(name.encode(), b"unknown").decode()
        wrong = [
            f"{name} {found.get(name)}, expected {value}"
            for name, value in _DURABLE.items()
            if found.get(name) != value
        ]
        if wrong:
            connection.disconnect()
            raise StoreError(f"the server has {'; '.join(wrong)}: it would acknowledge matches that a crash can lose")

    def _check_version(self) -> None:
        (found,) = self._call(redis_scripts.VERSION, [[_VERSION]])
        if found != _VERSION:
            raise StoreError(
                f"{self.prefix!r} in the store has format {found.decode()}, expected {_VERSION.decode()}: take an "
                "empty server, or another prefix"
            )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (self._library.RedisError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise StoreError(f"the Redis store: {type(error).__name__}: {error}") from error


def _answer(event: bytes, day: int, *, repeated: bool) -> Answer:
    given = decode(event)
    assert isinstance(given, Given)
    return answer_of(given, day, repeated=repeated)


def _batches(seen: int, last: int) -> Iterator[range]:
    """Numbers from the one after seen to the last, some at a time."""
    for first in range(seen + 1, last + 1, _BATCH):
        yield range(first, min(first + _BATCH, last + 1))
