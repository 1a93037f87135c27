"""Messages between workers: arrays under a name, written once, whole or not at all, and never changed."""

import os
import tempfile
from pathlib import Path
from typing import Protocol

import numpy as np

_HEAD, _ALIGN = 64, 64
_TYPES = tuple(np.dtype(kind) for kind in (np.uint8, np.int32, np.uint32, np.int64, np.uint64))


class Messages(Protocol):
    """What every worker can write to and read from."""

    def put(self, name: str, *arrays: np.ndarray) -> bool:
        """Keeps 1 to 3 arrays of one dimension. A name that is taken stays as it is, and the answer is False."""
        ...

    def has(self, name: str) -> bool:
        """Whether the name is taken."""
        ...

    def get(self, name: str) -> tuple[np.ndarray, ...]:
        """The arrays of a name, not to be changed. Raises FileNotFoundError where it is not taken."""
        ...


class FolderMessages:
    """Messages as files of a folder that all workers see; they outlive the process that wrote them.

    A file is 64 bytes of lengths and types, then each array from the next 64 bytes on. It is written aside and linked to its
    name, which fails where the name exists: of two workers that think they are the same one, both read what one wrote.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, *arrays: np.ndarray) -> bool:
        """See `Messages`. One write of the arrays, no flush: a lost machine loses no file of the shared folder."""
        head = np.zeros(_HEAD // 8, np.int64)
        head[0] = len(arrays)
        for k, array in enumerate(arrays):
            head[1 + 2 * k], head[2 + 2 * k] = _TYPES.index(array.dtype), array.size
        handle, aside = tempfile.mkstemp(prefix=f".{name}.", dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(head.data)
                for array in arrays:
                    file.write(b"\0" * (-file.tell() % _ALIGN))
                    file.write(np.ascontiguousarray(array).data)
            os.link(aside, self._folder / name)
        except FileExistsError:
            return False
        finally:
            Path(aside).unlink()
        return True

    def has(self, name: str) -> bool:
        """See `Messages`."""
        return (self._folder / name).exists()

    def get(self, name: str) -> tuple[np.ndarray, ...]:
        """See `Messages`. The arrays are views of the file, memory-mapped."""
        whole = np.memmap(self._folder / name, np.uint8, "r")
        head, at, out = whole[:_HEAD].view(np.int64), _HEAD, []
        for k in range(int(head[0])):
            kind, size = _TYPES[head[1 + 2 * k]], int(head[2 + 2 * k])
            at += -at % _ALIGN
            out.append(np.asarray(whole[at : at + size * kind.itemsize]).view(kind))
            at += size * kind.itemsize
        return tuple(out)


class MemoryMessages:
    """Messages within one process, for workers that are threads."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[np.ndarray, ...]] = {}

    def put(self, name: str, *arrays: np.ndarray) -> bool:
        """See `Messages`. Copies, as workers use their arrays again."""
        copies = tuple(array.copy() for array in arrays)
        return self._kept.setdefault(name, copies) is copies

    def has(self, name: str) -> bool:
        """See `Messages`."""
        return name in self._kept

    def get(self, name: str) -> tuple[np.ndarray, ...]:
        """See `Messages`."""
        if name not in self._kept:
            raise FileNotFoundError(name)
        return self._kept[name]
