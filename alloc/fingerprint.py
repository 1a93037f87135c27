"""What the data was: one checksum over every file of the data folder."""

import hashlib
from pathlib import Path

from .artifacts import sha256_file
from .config import Config
from .errors import InputError


def data_fingerprint(config: Config) -> str:
    """SHA-256 over names and contents of the files in the data folder; empty for the built-in world.

    Hidden files and the output folder are left out. Raises InputError when the folder is missing, empty, or not wanted.
    """
    data = config.data
    if data.reader == "world":
        if data.path is not None:
            raise InputError(f"data.path is {data.path} but data.reader is 'world': name a reader, data.reader=generic")
        return ""
    if data.path is None:
        raise InputError(f"data.path is not set: reader {data.reader!r} needs a folder, give --data DIR")
    folder = Path(data.path)
    if not folder.exists():
        raise InputError(f"data folder {folder} does not exist; give --data DIR")
    files = _files(folder, Path(config.out).resolve())
    if not files:
        raise InputError(f"data folder {folder} holds no file; give --data DIR")
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + sha256_file(path).encode())
    return digest.hexdigest()


def _files(folder: Path, out: Path) -> list[Path]:
    """The visible files at or below `folder`, sorted, without those below `out`."""
    if folder.is_file():
        return [folder]
    found = (path for path in folder.rglob("*") if path.is_file() and out not in path.resolve().parents)
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
