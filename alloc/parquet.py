"""Parquet files: read with page checksums verified, written with checksums and whole or not at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .artifacts import atomic_write
from .errors import InputError


def read_parquet(path: Path, columns: Sequence[str], others: bool = False) -> pa.Table:
    """The named columns of one file, in this order, then all its other columns if ``others``.

    The file's own metadata stay on the table's schema. Raises InputError naming the file and the cure if it is
    missing, empty, truncated, damaged or not Parquet, or lacks a column.
    """
    schema = read_schema(path)
    for column in columns:
        if column not in schema.names:
            raise InputError(
                f"{path}: column {column!r} is missing, expected the columns {', '.join(columns)}; the file has "
                f"{', '.join(schema.names)}; add or rename the column"
            )
    wanted = [*columns, *(name for name in schema.names if others and name not in columns)]
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(columns=wanted).select(wanted)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    if not table.num_rows:
        raise InputError(f"{path}: the file has no rows, expected at least one; check what wrote it")
    return table.replace_schema_metadata(schema.metadata)


def read_schema(path: Path) -> pa.Schema:
    """The columns and metadata of a Parquet file. Raises InputError as ``read_parquet`` does."""
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a Parquet file; check the path given with --data")
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def write_parquet(path: Path, columns: Mapping[str, object], metadata: Mapping[str, str] | None = None) -> None:
    """Write columns (arrays of one length) as ``path``, compressed with zstd, with page checksums.

    The file is written beside its place and renamed, so a reader sees the old file or the whole new one. Raises OSError.
    """
    table = pa.table(dict(columns)).replace_schema_metadata(dict(metadata) if metadata else None)
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def parquet_files(path: Path) -> list[Path]:
    """The Parquet files at ``path``: itself, or those of a folder in name order. Raises InputError if none."""
    if path.is_file():
        return [path]
    files = sorted(path.glob("*.parquet"))
    if not files:
        raise InputError(f"{path}: no Parquet file here, expected a .parquet file or a folder of them")
    return files


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, PermissionError):
        return InputError(f"{path}: permission denied; make the file readable")
    reason = str(error).strip().rstrip(".")
    return InputError(f"{path}: damaged, truncated or not Parquet ({reason}); copy or write the file again")
