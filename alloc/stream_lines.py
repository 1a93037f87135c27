"""`dualrec stream`: uploads as JSON lines in, answers as JSON lines out, one for each."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from .errors import InputError
from .latest_night import open_nights
from .match_store import MatchStore
from .nights import Nights
from .stop_signal import StopSignal
from .stream import Stream
from .upload_lines import MOST_LINE_BYTES, answer_told, error_told, read_upload

_REDIS = ("redis://", "rediss://")


def answer_lines(out: Path, run: str | None, store: str, source: str, demand: int) -> None:
    """Answers every line of a file or of standard input until it ends or a signal asks to stop; of a Redis stream, named by
    an address redis://..., every entry, see `stream_entries`.

    ``run``: the night, by name; None: the latest of ``out``, and each that is published later.
    Raises InputError when the run, the store or the source cannot be used; what is wrong with one line is its answer, and
    so is a store that fails: nothing has changed then, and the same line can be sent again.
    """
    with contextlib.closing(open_store(store)) as opened, StopSignal() as stop:
        stream = open_nights(out, run, opened)
        if source.startswith(_REDIS):
            from .stream_entries import answer_entries

            answer_entries(stream, source, demand, stop)
            return
        with _lines_of(source) as lines:
            for number, line in enumerate(stop.until_asked(_each(lines)), start=1):
                print(json.dumps(answer_line(stream, line, number, demand)), flush=True)


def open_store(where: str) -> MatchStore:
    """The store at redis://... or in a file. Raises StoreError."""
    if where.startswith(_REDIS):
        from .redis_store import RedisStore

        return RedisStore(where)
    from .sqlite_store import SqliteStore

    return SqliteStore(where)


def answer_line(
    stream: Stream | Nights, line: bytes, number: int, demand: int, clock: Callable[[], float] = time.time
) -> dict[str, Any]:
    """The answer to one line as a mapping: item, users, scores, repeated; or line and error, with the item where known."""
    known: dict[str, Any] = {}
    try:
        upload = read_upload(line, demand)
        known = {"item": upload.item}
        return answer_told(stream, stream.allocate(upload, int(1000 * clock())))
    except (InputError, ValueError, OverflowError) as error:
        return error_told(error, {**known, "line": number})


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
