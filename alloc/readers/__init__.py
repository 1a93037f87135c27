"""Readers: one file for each data set, each with ``read(path) -> Tables``."""

import importlib
from pathlib import Path

from ..errors import InputError, nearest_hint
from ..tables import Tables

READERS = ("generic", "globo", "deskdrop", "kuairand", "stackexchange")


def read_tables(reader: str, path: Path | str) -> Tables:
    """Read the data set at ``path`` (a folder, or the one file of a data set that has one) with the named reader.

    Raises InputError for an unknown reader (with the nearest known one) and for everything wrong with the files.
    """
    if reader not in READERS:
        raise InputError(
            f"data.reader is {reader!r}, expected one of {', '.join(READERS)}{nearest_hint(reader, READERS)}"
        )
    path = Path(path).expanduser()
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give the data set's folder with --data")
    tables: Tables = importlib.import_module(f"{__name__}.{reader}").read(path)
    return tables
