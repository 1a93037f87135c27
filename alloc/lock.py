"""One run at a time on an output folder."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError

LOCK = ".lock"
_PATIENCE_SECONDS = 1.0


@contextlib.contextmanager
def run_lock(out: Path) -> Iterator[None]:
    """Hold `out` (made if need be) for this process; the system lets go of it when the process ends, however it ends.

    Raises InputError naming the process that holds it, or saying why the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(f"cannot write in {out}: {error.strerror}; give another folder with --out") from None
    try:
        _acquire(descriptor, out)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, out: Path) -> None:
    """Take the lock at once or raise InputError naming the holder."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(descriptor)
        raise InputError(f"{out} is in use by {holder}; wait for it to end, or give another --out") from None


def _holder(descriptor: int) -> str:
    """The process that holds the lock; it may need a moment to write its number over that of an earlier run."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        if text.isdecimal() and _is_running(int(text)):
            return f"process {text}"
        if time.monotonic() > deadline:
            return "an unknown process"
        time.sleep(0.01)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True
