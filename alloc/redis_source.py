"""Uploads from a Redis stream: a consumer group shares its entries out, and each is kept until it was answered."""

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from .errors import InputError
from .match_store import StoreError

MOST_TOGETHER = 64
"""Entries read at once, and allocated together."""

_WAIT_MS = 500
_SECONDS = 10
_OURS = ("stream", "group", "answers", "consumer", "claim")

# An error at the first command leaves the entry unanswered and pending. A crash between the two does so as well.
_ANSWER = """
for k = 2, #ARGV, 2 do
  redis.call('XADD', KEYS[2], '*', 'upload', ARGV[k], 'answer', ARGV[k + 1])
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[k])
end
"""


class SourceError(StoreError):
    """The server of the stream fails; no entry is lost by that."""


@dataclass(frozen=True)
class Entry:
    """An entry by its id, with the line of JSON in its field `upload`; ``times`` it was handed to a consumer."""

    name: str
    line: bytes | None
    times: int = 1


class RedisSource:
    """The stream that an address redis://host:port/0?stream=NAME names, and that of its answers. One consumer of a group.

    Of the address: ``stream``; ``group`` (dualrec); ``answers``, a stream (NAME:answers); ``consumer``, its name (one of its
    own); ``claim``, seconds (30) after which what another consumer was given and has not answered is taken over. The rest
    is the Redis library's. Raises InputError for an address that says less or more, SourceError when the server fails.
    """

    def __init__(self, address: str) -> None:
        try:
            import redis
        except ImportError:
            raise InputError("a Redis stream needs the package redis: pip install 'dualrec[redis]'") from None
        url, given = _split(address)
        self.stream, self.group = given["stream"], given.get("group", "dualrec")
        self.answers = given.get("answers", f"{self.stream}:answers")
        self.consumer = given.get("consumer") or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._claim = _seconds(given.get("claim", "30"))
        self._look_at, self._cursor = 0.0, "0-0"
        self._library = redis
        with self._errors():
            limits = {"socket_timeout": _SECONDS, "socket_connect_timeout": _SECONDS, "protocol": 2}
            self._client: Any = redis.Redis.from_url(url, **limits)
        self._check_answers()
        self._make_group()

    def read(self) -> list[Entry]:
        """What nobody was given yet, up to 64 entries, or one that another consumer was given long ago.

        None after half a second without any. One that was handed out before comes alone, so that what kills its
        consumers harms no other.
        """
        with self._errors():
            try:
                return self._abandoned_or_new()
            except self._library.ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    raise
            self._make_group()  # the server came back without it
            return []

    def answer(self, answers: Sequence[tuple[str, str]]) -> None:
        """Entry and answer: adds the answers to their stream, and acknowledges the entries."""
        with self._errors():
            words = [word for pair in answers for word in pair]
            self._client.eval(_ANSWER, 2, self.stream, self.answers, self.group, *words)

    def close(self) -> None:
        """Lets go of the connection, and of the consumer's name unless entries still wait under it."""
        with contextlib.suppress(self._library.RedisError):
            if not self._client.xpending_range(self.stream, self.group, "-", "+", 1, self.consumer):
                self._client.xgroup_delconsumer(self.stream, self.group, self.consumer)
        self._client.close()

    def _check_answers(self) -> None:
        with self._errors():
            kind = self._client.type(self.answers).decode()
        if kind not in ("none", "stream"):
            raise InputError(f"{self.answers!r} on the server is a {kind}, expected a stream for the answers")

    def _make_group(self) -> None:
        """Unless it is there; from the stream's first entry on, and with an empty stream where there is none."""
        with self._errors():
            try:
                self._client.xgroup_create(self.stream, self.group, "0", mkstream=True)
            except self._library.ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    def _abandoned_or_new(self) -> list[Entry]:
        if time.monotonic() >= self._look_at:
            old = self._abandoned()
            if old is not None:
                return [old]
            self._look_at = time.monotonic() + self._claim / 2
        new = {self.stream: ">"}
        found = self._client.xreadgroup(self.group, self.consumer, new, count=MOST_TOGETHER, block=_WAIT_MS)
        return [_entry(name, fields) for _, entries in found for name, fields in entries]

    def _abandoned(self) -> Entry | None:
        """The next entry that was given to some consumer and not answered for long; it is this one's now."""
        while True:
            self._cursor, found, *_ = self._client.xautoclaim(
                self.stream, self.group, self.consumer, int(1000 * self._claim), self._cursor, 1
            )
            for name, fields in found:
                (pending,) = self._client.xpending_range(self.stream, self.group, name, name, 1) or [{}]
                return _entry(name, fields, int(pending.get("times_delivered", 1)))
            if self._cursor in (b"0-0", "0-0"):
                return None

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (self._library.RedisError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise SourceError(f"the Redis stream {self.stream!r}: {type(error).__name__}: {error}") from error


def _entry(name: bytes, fields: dict[bytes, bytes], times: int = 1) -> Entry:
    return Entry(name.decode(), fields.get(b"upload"), times)


def _split(address: str) -> tuple[str, dict[str, str]]:
    """The library's address, and what is said of the stream. Raises InputError."""
    try:
        parts = urlsplit(address)
        words = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise InputError(f"--input {address}: {error}") from None
    given = {name: value for name, value in words if name in _OURS}
    if not given.get("stream"):
        raise InputError(f"--input {address}: names no stream, expected redis://host:port/0?stream=NAME")
    for name, value in given.items():
        if not value:
            raise InputError(f"--input {address}: {name} is empty")
    rest = urlencode([(name, value) for name, value in words if name not in _OURS])
    return urlunsplit(parts._replace(query=rest)), given


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 < seconds < 1e6:
        raise InputError(f"claim is {text!r}, expected seconds above 0")
    return seconds
