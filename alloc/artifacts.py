"""Files that appear whole or not at all: atomic writes, checksums, arrays and JSON.

Every write goes to a temporary file beside the target, is flushed to disk, and takes the target's name by a rename.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from .errors import InputError

_CHUNK_BYTES = 1 << 20


class _Writer(io.RawIOBase):
    """A write-only file over a descriptor; a short write is continued, so that a full disk is always an error."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = left.nbytes
        while left.nbytes:
            left = left[os.write(self._descriptor, left) :]
        return size


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a new binary file that replaces `path` when the block ends, and leaves it untouched when the block fails.

    Raises OSError (with the path) when the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            yield cast(BinaryIO, _Writer(descriptor))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, atomically. Raises OSError."""
    with atomic_write(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path` by `text` in UTF-8, atomically. Raises OSError."""
    write_bytes(path, text.encode())


def copy_file(source: Path, target: Path) -> None:
    """Copy one file, atomically. Raises OSError."""
    with source.open("rb") as old, atomic_write(target) as new:
        while chunk := old.read(_CHUNK_BYTES):
            new.write(chunk)


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder`, then `folder` itself. Raises OSError."""
    for path in sorted(folder.rglob("*")):
        sync(path)
    sync(folder)


def rename_folder(old: Path, new: Path) -> None:
    """Flush the folder `old` and give it the name `new`, which must not be taken. Raises OSError."""
    sync_tree(old)
    old.replace(new)
    sync(new.parent)


def remove(path: Path) -> None:
    """Delete a file, a link or a folder with all it holds; nothing there is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_records(folder: Path) -> dict[str, dict[str, Any]]:
    """`{"sha256": hexadecimal, "size": bytes}` for each file below `folder`, by its relative path, sorted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {"sha256": sha256_file(path), "size": path.stat().st_size}
        for path in paths
    }


def find_damage(folder: Path, records: Mapping[str, Mapping[str, Any]], manifest: str) -> str | None:
    """One phrase on the first file of `folder` that differs from `records`, or None when all are as recorded.

    `manifest` is the name of the file that holds the records, which is not among them.
    """
    found = file_records(folder)
    found.pop(manifest, None)
    for name in sorted({*found, *records}):
        if name not in found:
            return f"{name} is missing"
        if name not in records:
            return f"{name} does not belong there"
        if found[name] != dict(records[name]):
            return f"{name} is damaged"
    return None


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text. Raises ValueError on NaN and infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def save_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON with sorted keys, atomically; NaN and infinity become null. Raises OSError."""
    text = json.dumps(_plain(value), sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n")


def load_json(path: Path) -> Any:
    """Read a JSON file. Raises InputError naming the file when it is missing or not JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except ValueError as error:
        raise InputError(f"{path} is not a JSON file: {error}") from None


def _plain(value: object) -> object:
    """`value` with NumPy numbers and arrays as Python's own, and numbers that JSON cannot hold as None."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save_array(path: Path, array: np.ndarray) -> None:
    """Write one array as `.npy`, atomically. Raises ValueError for dtype object (nothing is pickled), OSError."""
    with atomic_write(path) as file:
        np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def save_arrays(folder: Path, **arrays: np.ndarray) -> None:
    """Write each array to `folder/NAME.npy`, atomically. Raises ValueError for dtype object, OSError."""
    for name, array in arrays.items():
        save_array(folder / f"{name}.npy", array)


def load_array(path: Path) -> np.ndarray:
    """Open a `.npy` file memory-mapped and read-only. Raises InputError naming the file when it cannot be read."""
    try:
        return cast(np.ndarray, np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is not an array file: {error}") from None
