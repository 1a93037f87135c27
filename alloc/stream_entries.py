"""`dualrec stream` on a Redis stream: reads entries, allocates those that come together, answers, until asked to stop."""

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from .errors import InputError
from .latest_night import say
from .match_store import StoreError
from .nights import Nights
from .redis_source import Entry, RedisSource
from .stop_signal import StopSignal
from .stream import Stream, Upload
from .upload_lines import answer_told, error_told, read_upload

MOST_TIMES = 10
"""An entry handed out that often was with consumers that ended before they answered: it is refused."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
Value = TypeVar("Value")


def answer_entries(
    stream: Stream | Nights, address: str, demand: int, stop: StopSignal, clock: Callable[[], float] = time.time
) -> None:
    """Answers the entries of a Redis stream until a signal asks to stop; see `RedisSource` for the address.

    An entry is acknowledged once its answer is both in the store and in the stream of answers: after a crash it is
    answered again, with the same users. What cannot be used is answered by what is wrong with it. While the store or the
    server of the stream fails everything waits, and one line on standard error says so.
    """
    with contextlib.closing(RedisSource(address)) as source:
        while not stop.asked:
            entries = _patiently(source.read, stop)
            answers = _patiently(lambda: _answers(stream, entries, demand, clock), stop) if entries else None  # noqa: B023
            if answers:
                # A stop waits for this: the answers are kept already.
                _patiently(lambda: source.answer(answers), stop)  # noqa: B023


def _answers(
    stream: Stream | Nights, entries: Sequence[Entry], demand: int, clock: Callable[[], float]
) -> list[tuple[str, str]]:
    """Entry and answer. Raises StoreError when the store fails."""
    uploads = [_upload(entry, demand) for entry in entries]
    usable = [upload for upload in uploads if isinstance(upload, Upload)]
    found = iter(stream.allocate_many(usable, int(1000 * clock())) if usable else ())
    out = []
    for entry, upload in zip(entries, uploads, strict=True):
        if isinstance(upload, Upload):
            answer = next(found)
            known = {"item": str(upload.item), "entry": entry.name}
            told = error_told(answer, known) if isinstance(answer, Exception) else answer_told(stream, answer)
        else:
            told = error_told(upload, {"entry": entry.name})
        out.append((entry.name, json.dumps(told)))
    return out


def _upload(entry: Entry, demand: int) -> Upload | Exception:
    if entry.line is None:
        return InputError('the entry has no field upload, expected upload {"item": ...}')
    if entry.times > MOST_TIMES:
        return InputError(f"was handed out {entry.times} times, and each time the process ended before it answered")
    try:
        return read_upload(entry.line, demand)
    except (InputError, ValueError, OverflowError) as error:
        return error


def _patiently(call: Callable[[], Value], stop: StopSignal) -> Value | None:
    """The result of a call, made again while it raises StoreError; None if a signal comes first."""
    pause, said = _FIRST_PAUSE, False
    while True:
        try:
            found = call()
        except StoreError as error:
            if not said:
                say(f"{error}; trying again")
                said = True
            stop.sleep(pause)
            if stop.asked:
                return None
            pause = min(2 * pause, _LONGEST_PAUSE)
            continue
        if said:
            say("works again")
        return found
