"""Ctrl-C during a solve: the first asks for the best answer so far, the second breaks off."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .step import Clock


@contextmanager
def interruptible(clock: Clock) -> Iterator[None]:
    """Inside, the first Ctrl-C sets `clock.interrupted` and the next raises KeyboardInterrupt.

    An exception in the middle of a step would lose what the step has found. Only in the main thread (no other may set
    handlers) and only where Ctrl-C would raise KeyboardInterrupt: a program's own handler stays in force.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        if clock.interrupted:
            raise KeyboardInterrupt
        clock.interrupted = True

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
