"""`dualrec stream`: uploads as JSON lines in, answers as JSON lines out, one for each."""

import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, NoneType
from typing import Any, BinaryIO

from .errors import InputError
from .match_store import MatchStore, StoreError
from .new_item import read_new_item
from .serving_names import scorer_of
from .stream import Stream, Upload
from .stream_prices import load_stream_prices

MOST_LINE_BYTES = 8 << 20
"""A longer line is refused whole."""

_FIELDS = {
    "item": (str, int),
    "users": (list,),
    "scores": (list,),
    "demand": (int,),
    "excluded": (list,),
    "part": (int,),
    "category": (str, int, NoneType),
    "creator": (str, int, NoneType),
    "content": (list,),
}
_LIMITS = {"demand": 1_000_000, "part": 1_000}


def answer_lines(run_dir: Path, store: str, source: str, demand: int) -> None:
    """Answers every line of a file or of standard input until it ends or a signal asks to stop.

    Raises InputError when the run, the store or the file cannot be used; what is wrong with one line is its answer, and
    so is a store that fails: nothing has changed then, and the same line can be sent again.
    """
    prices = load_stream_prices(run_dir)
    with contextlib.closing(open_store(store)) as opened, _lines_of(source) as lines, _Stop() as stop:
        stream = Stream(prices, opened, scorer_of(run_dir, prices.user_ids))
        for number, line in enumerate(stop.until_asked(_each(lines)), start=1):
            print(json.dumps(answer_line(stream, line, number, demand)), flush=True)


def open_store(where: str) -> MatchStore:
    """The store at redis://... or in a file. Raises StoreError."""
    if where.startswith(("redis://", "rediss://")):
        from .redis_store import RedisStore

        return RedisStore(where)
    from .sqlite_store import SqliteStore

    return SqliteStore(where)


def answer_line(
    stream: Stream, line: bytes, number: int, demand: int, clock: Callable[[], float] = time.time
) -> dict[str, Any]:
    """The answer to one line as a mapping: item, users, scores, repeated; or line and error, with the item where known."""
    item: str | None = None
    try:
        upload = read_upload(line, demand)
        item = upload.item
        answer = stream.allocate(upload, int(1000 * clock()))
    except (InputError, ValueError, OverflowError) as error:
        known = {} if item is None else {"item": item}
        kind = "store" if isinstance(error, StoreError) else "input"
        return {**known, "line": number, "error": " ".join(str(error).split()), "kind": kind}
    users, scores = stream.names(answer), answer.score.tolist()
    return {"item": answer.item, "part": answer.part, "users": users, "scores": scores, "repeated": answer.repeated}


def read_upload(line: bytes, demand: int) -> Upload:
    """An upload from one line of JSON. Raises InputError saying what was found and what was expected."""
    if len(line) > MOST_LINE_BYTES:
        raise InputError(f"the line is longer than {MOST_LINE_BYTES:,} bytes")
    try:
        given = json.loads(line.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}") from None
    if not isinstance(given, dict):
        raise InputError(
            f'expected an object such as {{"item": "i7", "users": [3], "scores": [0.4]}}, found {given!r:.40}'
        )
    for name, value in given.items():
        if name not in _FIELDS:
            raise InputError(f"unknown field {name!r:.60}, expected {', '.join(_FIELDS)}")
        if not isinstance(value, _FIELDS[name]) or isinstance(value, bool):
            raise InputError(
                f"{name} is {value!r:.60}, expected {' or '.join(kind.__name__ for kind in _FIELDS[name])}"
            )
    for name, most in _LIMITS.items():
        if not 0 <= given.get(name, 0) <= most:
            raise InputError(f"{name} is {given[name]!r:.60}, expected 0 to {most:,}")
    if "item" not in given:
        raise InputError("item is missing")
    new = read_new_item(given)
    for score in given.get("scores", ()):
        if not isinstance(score, int | float) or isinstance(score, bool):
            raise InputError(f"score {score!r:.60}, expected a number")
    return Upload(
        item=str(given["item"]),
        user=given.get("users", ()),
        score=given.get("scores", ()),
        demand=given.get("demand", demand),
        excluded=given.get("excluded", ()),
        part=given.get("part", 0),
        new=new,
    )


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no number in JSON")


def _each(lines: BinaryIO) -> Iterator[bytes]:
    """Lines that are not blank; of one that is too long its beginning, long enough to be refused."""
    while line := lines.readline(MOST_LINE_BYTES + 2):
        rest = line
        while len(rest) > MOST_LINE_BYTES and not rest.endswith(b"\n"):
            rest = lines.readline(MOST_LINE_BYTES + 2)
        if line.strip():
            yield line


@contextlib.contextmanager
def _lines_of(source: str) -> Iterator[BinaryIO]:
    if source == "-":
        yield sys.stdin.buffer
        return
    if not Path(source).is_file():
        raise InputError(f"{source}: no such file, expected JSON lines")
    with Path(source).open("rb") as file:
        yield file


class _Asked(Exception):
    """A signal came while nothing was being done."""


class _Stop:
    """SIGINT and SIGTERM end the wait for the next line; during an upload they wait until it is answered."""

    def __enter__(self) -> "_Stop":
        self._asked = self._waiting = False
        self._before = {kind: signal.signal(kind, self._note) for kind in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._before.items():
            signal.signal(kind, handler)

    def until_asked(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """The lines, until they end or a signal comes."""
        while not self._asked:
            try:
                self._waiting = True
                line = next(lines)
                self._waiting = False
            except (_Asked, StopIteration):
                return
            yield line

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self._asked = True
        if self._waiting:
            self._waiting = False
            raise _Asked
