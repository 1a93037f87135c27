"""Ctrl-C during a solve: the first asks for the best answer so far, the second breaks off."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .step import Clock

_running: list[Clock] = []
"""Clocks of the solves that run in the main thread, the outermost first."""


@contextmanager
def interruptible(clock: Clock) -> Iterator[None]:
    """Inside, the first Ctrl-C sets `clock.interrupted` and the next raises KeyboardInterrupt.

    An exception in the middle of a step would lose what the step has found. Only in the main thread (no other may set
    handlers) and only where Ctrl-C would raise KeyboardInterrupt: a program's own handler stays in force. Solves inside
    solves are all told.
    """
    handler = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or handler not in (signal.default_int_handler, _tell):
        yield
        return
    _running.append(clock)
    signal.signal(signal.SIGINT, _tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        _running.remove(clock)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Inside, Ctrl-C waits: what must not be broken off half-way goes on, then KeyboardInterrupt is raised.

    Only in the main thread and only where Ctrl-C would do something of Python's. Presses count as often as they were made.
    """
    handler, pressed = signal.getsignal(signal.SIGINT), []
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not callable(handler):
        yield
        return
    signal.signal(signal.SIGINT, lambda *given: pressed.append(given))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        for given in pressed:
            handler(*given)


def _tell(number: int, frame: FrameType | None) -> None:
    if all(clock.interrupted for clock in _running):
        raise KeyboardInterrupt
    for clock in _running:
        clock.interrupted = True
