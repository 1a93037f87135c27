"""Edges read from Parquet files a batch at a time, ids as places in the batch's distinct ids."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .errors import ProblemError
from .ids import id_array
from .problem_scores import score_array

BATCH_ROWS = 1 << 20
"""Rows in main memory at a time."""


class Column(NamedTuple):
    """Ids of a batch: distinct ones in order of first appearance, and the place of each row's id in them."""

    ids: np.ndarray
    place: np.ndarray


class Batch(NamedTuple):
    """Some rows of a file, from row `first` on; `score` as in the file, of no row where it was not asked for."""

    path: Path
    first: int
    item: Column
    user: Column
    score: np.ndarray


def parquet_paths(path: Any) -> list[Path]:
    """The files of a path, a folder (its *.parquet by name) or a list; raises ProblemError where there is none."""
    given = [path] if isinstance(path, str | Path) else list(path)
    found: list[Path] = []
    for one in map(Path, given):
        found += sorted(one.glob("*.parquet")) if one.is_dir() else [one]
    missing = next((one for one in found if not one.is_file()), None)
    if missing is not None or not found:
        raise ProblemError(f"{missing or path}: no such file, expected Parquet files or a folder of *.parquet")
    return found


def score_types(paths: list[Path], name: str) -> set[str]:
    """Names of the Arrow types that the column of scores has; raises ProblemError like `batches`."""
    types = set()
    for path in paths:
        with _opened(path) as file:
            _refuse_missing(path, file.schema_arrow.names, name)
            types.add(str(file.schema_arrow.field(name).type))
    return types


def batches(paths: list[Path], item: str, user: str, score: str | None) -> Iterator[Batch]:
    """Every row of the files, in order; `score` None leaves that column unread.

    Raises ProblemError naming the file for one that is damaged or cut short, a missing column or value, ids or scores of
    a wrong type.
    """
    import pyarrow as pa

    names = [item, user] + ([score] if score else [])
    for path in paths:
        with _opened(path) as file:
            for name in names:
                _refuse_missing(path, file.schema_arrow.names, name)
            first = 0
            try:
                for rows in file.iter_batches(BATCH_ROWS, columns=names):
                    yield _batch(path, first, rows, names)
                    first += rows.num_rows
            except (pa.ArrowException, OSError) as error:
                raise _unreadable(path, error) from error


def _batch(path: Path, first: int, rows: Any, names: list[str]) -> Batch:
    for name in names:
        if rows.column(name).null_count:
            empty = int(np.flatnonzero(rows.column(name).is_null().to_numpy(zero_copy_only=False))[0])
            raise ProblemError(f"{path}: row {first + empty} has no {name}, expected a value in each row")
    try:
        item, user = (_column(rows.column(name), name) for name in names[:2])
        score = np.zeros(0, np.float32)
        if len(names) == 3:
            score = score_array(rows.column(names[2]).to_numpy(zero_copy_only=False))
    except ProblemError as error:
        raise ProblemError(f"{path}: {error}") from None
    return Batch(path, first, item, user, score)


def _column(values: Any, name: str) -> Column:
    import pyarrow as pa

    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    encoded = values.dictionary_encode()
    ids = id_array(encoded.dictionary.to_numpy(zero_copy_only=False), name)
    return Column(ids, encoded.indices.to_numpy().astype(np.int64))


def _opened(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ProblemError:
    reason = " ".join(str(error).split()).rstrip(".")
    return ProblemError(f"{path}: damaged, cut short or not Parquet ({reason}); copy or write the file again")


def _refuse_missing(path: Path, names: list[str], name: str) -> None:
    if name not in names:
        raise ProblemError(f"{path}: column {name!r} is missing, the file has {', '.join(names)}")
