"""Messages between workers: arrays under a name, written once, whole or not at all, and never changed."""

import os
import secrets
import threading
import time
from io import RawIOBase
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import SolverError

PATIENCE = 600.0
"""Seconds without a message or an answer after which a solve is given up; a lost worker is back much sooner."""

LONGEST_PAUSE = 0.05
"""Seconds between two looks for a message."""

_HEAD, _ALIGN = 128, 64
_TYPES = tuple(np.dtype(kind) for kind in (np.uint8, np.int32, np.uint32, np.int64, np.uint64, np.float64))


class Message(Protocol):
    """Arrays that somebody wrote; not to be changed."""

    def part(self, number: int, first: int = 0, last: int | None = None) -> np.ndarray:
        """From ``first`` to ``last`` (None: the end) of an array, by its number."""
        ...


class Messages(Protocol):
    """What every worker can write to and read from."""

    def put(self, name: str, *arrays: np.ndarray) -> bool:
        """Keeps 1 to 6 arrays of one dimension. A name that is taken stays as it is, and the answer is False."""
        ...

    def has(self, name: str) -> bool:
        """Whether the name is taken."""
        ...

    def wait(self, name: str) -> Message:
        """As `get`, once the name is taken. Raises SolverError where nobody takes it for PATIENCE seconds."""
        ...

    def get(self, name: str) -> Message:
        """The arrays of a name. Raises FileNotFoundError where it is not taken."""
        ...


class FolderMessages:
    """Messages as files of a folder that all workers see; they outlive the process that wrote them.

    A file is 128 bytes of lengths and types, then each array at the next 64 bytes. It is written aside and linked to its
    name, which fails where the name exists: of two workers that think they are the same one, both read what one wrote.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, *arrays: np.ndarray) -> bool:
        """See `Messages`. One write of the arrays, no flush: a lost machine loses no file of the shared folder.

        Raises SolverError where the file system does not take them.
        """
        head, at = np.zeros(_HEAD // 8, np.int64), _HEAD
        parts: list[bytes | memoryview] = [head.data]
        head[0] = len(arrays)
        for k, array in enumerate(arrays):
            head[1 + 2 * k], head[2 + 2 * k] = _TYPES.index(array.dtype), array.size
            parts += [b"\0" * (-at % _ALIGN), np.ascontiguousarray(array).data]
            at += -at % _ALIGN + array.nbytes
        aside = self._folder / f".{name}.{secrets.token_hex(8)}"
        try:
            with aside.open("wb", buffering=0) as file:
                _write(file, parts)
            os.link(aside, self._folder / name)
        except FileExistsError:
            return False
        except OSError as error:
            raise SolverError(f"a message of {at:,} bytes cannot be written to {self._folder}: {error}") from error
        finally:
            aside.unlink(missing_ok=True)
        return True

    def probe(self) -> None:
        """Raises SolverError where the folder cannot hold messages: it is not there, or knows no hard links."""
        name = f"probe-{secrets.token_hex(8)}"
        if not self.put(name, np.zeros(1, np.uint8)) or self.put(name, np.zeros(1, np.uint8)):
            raise SolverError(f"{self._folder} lets a name be taken twice; name a folder of another file system")
        (self._folder / name).unlink()

    def has(self, name: str) -> bool:
        """See `Messages`."""
        return (self._folder / name).exists()

    def wait(self, name: str) -> Message:
        """See `Messages`. Looks again after 0.2 ms or a thirtieth of the time it has waited."""
        begun = time.monotonic()
        while True:
            try:
                return self.get(name)
            except FileNotFoundError:
                waited = time.monotonic() - begun
            if waited > PATIENCE:
                raise _nobody(name)
            time.sleep(min(max(0.0002, waited / 30), LONGEST_PAUSE))

    def get(self, name: str) -> Message:
        """See `Messages`."""
        return _File(self._folder / name)

    def forget(self, step: str) -> None:
        """Deletes the messages of a step, which nobody may ask for again."""
        for path in self._folder.glob(f"{step}-*"):
            path.unlink(missing_ok=True)


class _File:
    """Reads what is asked for: mapping the file instead takes as long as several reads, one interrupt for each page."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY)
        head, at = np.frombuffer(os.pread(self._handle, _HEAD, 0), np.int64).tolist(), _HEAD
        self._arrays = []
        for k in range(head[0]):
            kind, size = _TYPES[head[1 + 2 * k]], head[2 + 2 * k]
            at += -at % _ALIGN
            self._arrays.append((kind, size, at))
            at += size * kind.itemsize

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            os.close(self._handle)

    def part(self, number: int, first: int = 0, last: int | None = None) -> np.ndarray:
        """See `Message`."""
        kind, size, at = self._arrays[number]
        out = np.empty((size if last is None else last) - first, kind)
        left, at = out.view(np.uint8).data, at + first * kind.itemsize
        while left:
            done = os.preadv(self._handle, [left], at)
            if done == 0:
                raise OSError("a message ends before its arrays do")
            left, at = left[done:], at + done
        return out


class _Kept:
    def __init__(self, arrays: tuple[np.ndarray, ...]) -> None:
        self._arrays = arrays

    def part(self, number: int, first: int = 0, last: int | None = None) -> np.ndarray:
        """See `Message`."""
        return self._arrays[number][first:last]


class MemoryMessages:
    """Messages within one process, for workers that are threads."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._news, self._given_up = threading.Condition(), False

    def put(self, name: str, *arrays: np.ndarray) -> bool:
        """See `Messages`. Copies, as workers use their arrays again."""
        copies = _Kept(tuple(array.copy() for array in arrays))
        with self._news:
            mine = self._kept.setdefault(name, copies) is copies
            self._news.notify_all()
        return mine

    def has(self, name: str) -> bool:
        """See `Messages`."""
        return name in self._kept

    def wait(self, name: str) -> Message:
        """See `Messages`."""
        with self._news:
            self._news.wait_for(lambda: name in self._kept or self._given_up, PATIENCE)
            if name not in self._kept:
                raise _nobody(name)
            return self._kept[name]

    def forget(self, step: str) -> None:
        """See `FolderMessages`."""
        for name in [name for name in self._kept if name.startswith(f"{step}-")]:
            del self._kept[name]

    def give_up(self) -> None:
        """Nobody waits any more."""
        with self._news:
            self._given_up = True
            self._news.notify_all()

    def get(self, name: str) -> Message:
        """See `Messages`."""
        if name not in self._kept:
            raise FileNotFoundError(name)
        return self._kept[name]


def _nobody(name: str) -> SolverError:
    return SolverError(f"no worker wrote {name}, waited for up to {PATIENCE:.0f} seconds")


def _write(file: RawIOBase, parts: list[bytes | memoryview]) -> None:
    """All of the parts, with as few calls as the system takes them by."""
    left = [memoryview(part).cast("B") for part in parts if len(part)]
    while left:
        done = os.writev(file.fileno(), left)
        while left and done >= len(left[0]):
            done -= len(left.pop(0))
        if left:
            left[0] = left[0][done:]
