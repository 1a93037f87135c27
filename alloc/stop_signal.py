"""SIGINT and SIGTERM end a loop between two pieces of work, never within one."""

import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import TypeVar

_PAUSE = 0.05
Value = TypeVar("Value")


class _Asked(Exception):
    """A signal came while nothing was being done."""


class StopSignal:
    """``asked``: whether a signal came. A context: outside of it signals do what they did before."""

    def __enter__(self) -> "StopSignal":
        self.asked = self._waiting = False
        self._before = {kind: signal.signal(kind, self._note) for kind in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._before.items():
            signal.signal(kind, handler)

    def until_asked(self, values: Iterator[Value]) -> Iterator[Value]:
        """The values, until they end or a signal comes; one that comes in the wait for the next ends the wait."""
        while not self.asked:
            try:
                self._waiting = True
                value = next(values)
                self._waiting = False
            except (_Asked, StopIteration):
                return
            yield value

    def sleep(self, seconds: float) -> None:
        """Sleeps, less long if a signal comes."""
        end = time.monotonic() + seconds
        while not self.asked and time.monotonic() < end:
            time.sleep(min(_PAUSE, seconds))

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True
        if self._waiting:
            self._waiting = False
            raise _Asked
