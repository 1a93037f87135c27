"""Columns of a Parquet table as checked arrays. Every error names file, column, row, what was expected and the cure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .errors import InputError
from .parquet import parquet_files, read_parquet

# Times outside these years are taken for a wrong unit: seconds read as milliseconds fall into 1970.
EARLIEST_MS = 315_532_800_000  # 1980-01-01
LATEST_MS = 4_102_444_800_000  # 2100-01-01


@dataclass(frozen=True)
class Columns:
    """A table read from ``path``; ``keys`` are the columns that name a row in messages."""

    path: Path
    table: pa.Table
    keys: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path, columns: Sequence[str], keys: Sequence[str] = (), others: bool = False) -> "Columns":
        """Read the columns and, if ``others``, all that the file has besides; ``keys`` must be among them."""
        return cls(path, read_parquet(path, columns, others), tuple(keys))

    @classmethod
    def read_all(cls, path: Path, columns: Sequence[str], keys: Sequence[str]) -> "Columns":
        """Read the columns of the file ``path``, or of all Parquet files of a folder one after the other."""
        files = parquet_files(path)
        if len(files) == 1:
            return cls.read(files[0], columns, keys)
        parts = [read_parquet(file, columns) for file in files]
        try:
            return cls(path, pa.concat_tables(parts, promote_options="permissive"), tuple(keys))
        except pa.ArrowException as error:
            raise InputError(f"{path}: its files have different column types ({error}); write them alike") from error

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def has(self, name: str) -> bool:
        """Whether the table has the column."""
        return name in self.table.column_names

    @property
    def metadata(self) -> dict[str, str]:
        """The file's own metadata."""
        raw = self.table.schema.metadata or {}
        return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in raw.items()}

    def with_prefix(self, prefix: str) -> list[str]:
        """Names of the columns that begin with ``prefix``."""
        return [name for name in self.table.column_names if name.startswith(prefix)]

    def input_error(self, column: str, row: int | None, found: str, expected: str, cure: str) -> InputError:
        """The one-line error for a column, and for one 0-based row of it if given."""
        place = f"{self.path}, column {column!r}"
        if row is not None:
            keys = ", ".join(f"{key} {self.table[key][row].as_py()!r}" for key in self.keys)
            place += f", row {row}" + (f" ({keys})" if keys else "")
        return InputError(f"{place}: {found}, expected {expected}; {cure}")

    def ids(self, name: str) -> np.ndarray:
        """int64[n] or str[n] outside ids; no nulls."""
        self._refuse_nulls(name, "an id", "remove the row or give the id")
        return self.known_ids(name)[0]

    def known_ids(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The ids that are not null, int64[k] or str[k], and bool[n], where they stand."""
        kind = self.table.schema.field(name).type
        if not (pa.types.is_integer(kind) or _is_text(kind)):
            raise self._wrong_type(name, "integers or strings", "convert the ids")
        column = self.table[name]
        values = _numpy(column.drop_null())
        if values.dtype == np.uint64 and len(values) and values.max() > np.iinfo(np.int64).max:
            row = int(np.argmax(_numpy(column.fill_null(0))))
            raise self.input_error(name, row, f"{values.max()}", "ids that fit into int64", "write the ids as strings")
        return values.astype(str if _is_text(kind) else np.int64), _numpy(column.is_valid())

    def integers(self, name: str) -> np.ndarray:
        """int64[n]; no nulls."""
        if not pa.types.is_integer(self.table.schema.field(name).type):
            raise self._wrong_type(name, "integers", "convert the column")
        self._refuse_nulls(name, "an integer", "remove the row or give the value")
        return self._numpy(name).astype(np.int64, copy=False)

    def times(self, name: str, unit_ms: int = 1) -> np.ndarray:
        """int64[n], ms since 1970 UTC, from timestamps or from integers counting ``unit_ms`` ms."""
        kind = self.table.schema.field(name).type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            self._refuse_nulls(name, "a time", "remove the row or give the time")
            values = _numpy(
                self.table[name].cast(pa.timestamp("ms", getattr(kind, "tz", None)), safe=False).cast(pa.int64())
            )
        elif pa.types.is_integer(kind):
            values = self.integers(name) * unit_ms
        else:
            raise self._wrong_type(name, "timestamps or integers (ms since 1970 UTC)", "convert the column")
        absurd = (values < EARLIEST_MS) | (values >= LATEST_MS)
        if absurd.any():
            row = int(np.argmax(absurd))
            unit = "milliseconds" if unit_ms == 1 else "seconds"
            found = f"time {self.table[name][row].as_py()!s}"
            raise self.input_error(name, row, found, "a time from 1980 to 2099", f"give {unit} since 1970 UTC")
        return values

    def flags(self, name: str, allow_integers: bool = False) -> np.ndarray:
        """bool[n]; no nulls. ``allow_integers`` accepts the integers 0 and 1 as well."""
        kind = self.table.schema.field(name).type
        if allow_integers and pa.types.is_integer(kind):
            values = self.integers(name)
            wrong = (values != 0) & (values != 1)
            if wrong.any():
                row = int(np.argmax(wrong))
                raise self.input_error(name, row, f"{values[row]}", "0 or 1", "correct the value")
            return values == 1
        if not pa.types.is_boolean(kind):
            raise self._wrong_type(name, "booleans", "convert the column to bool")
        self._refuse_nulls(name, "true or false", "write false where nothing happened")
        return self._numpy(name)

    def codes(self, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
        """int32[n] codes and their labels in sorted order, from integers, strings or booleans; null becomes -1.

        Floats are accepted where all are whole: that is how pandas writes integers with gaps.
        """
        kind = self.table.schema.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_floating(kind):
            self._refuse_fractions(name)
            kind = pa.int64()
        if not (pa.types.is_integer(kind) or pa.types.is_boolean(kind) or _is_text(kind)):
            raise self._wrong_type(name, "integers, strings or booleans", "write the groups as strings")
        values = self.table[name].cast(kind).combine_chunks()
        labels = pc.unique(values.drop_null())
        labels = labels.take(pc.sort_indices(labels))
        rows = pc.fill_null(pc.index_in(values, value_set=labels), -1)
        return _numpy(rows).astype(np.int32), tuple(str(label) for label in labels.to_pylist())

    def labels(self, name: str, known: Collection[str]) -> np.ndarray:
        """str[n] of a column of strings, every one of them among ``known``."""
        codes, labels = self.codes(name)
        wrong = np.array([label not in known for label in labels] + [True])[codes]
        if wrong.any():
            row = int(np.argmax(wrong))
            found = repr(self.table[name][row].as_py())
            raise self.input_error(
                name, row, found, f"one of {', '.join(known)}", "correct the value or remove the row"
            )
        return np.array(labels)[codes]

    def vectors(self, name: str) -> np.ndarray:
        """float32[n, d] from a column of lists of one length; finite numbers, no nulls."""
        kind = self.table.schema.field(name).type
        if not (_is_list(kind) and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))):
            raise self._wrong_type(name, "lists of floats", "write one list of floats for each item")
        self._refuse_nulls(name, "a list of floats", "give every item a vector or leave the column out")
        values = self.table[name].combine_chunks()
        lengths = _numpy(pc.list_value_length(values)).astype(np.int64)
        wrong = lengths != lengths[0]
        if wrong.any() or lengths[0] == 0:
            row = int(np.argmax(wrong))
            expected = f"{lengths[0] or 'at least 1'} as in row 0" if wrong.any() else "at least 1"
            raise self.input_error(
                name, row, f"{lengths[row]} numbers", expected, "give all items vectors of one length"
            )
        flat = pc.list_flatten(values)
        matrix = _numpy(flat.cast(pa.float32(), safe=False).fill_null(np.nan)).reshape(len(self), -1)
        self._refuse_not_finite(name, matrix)
        return matrix

    def _refuse_not_finite(self, name: str, matrix: np.ndarray) -> None:
        bad = ~np.isfinite(matrix)
        if bad.any():
            row, place = (int(number) for number in np.argwhere(bad)[0])
            found = f"{matrix[row, place]} at place {place}"
            raise self.input_error(name, row, found, "finite float32 numbers", "correct the vector")

    def _refuse_fractions(self, name: str) -> None:
        values = _numpy(self.table[name].fill_null(0))
        bad = ~(np.abs(values) < 2**53) | (values != np.round(values))
        if bad.any():
            row = int(np.argmax(bad))
            raise self.input_error(
                name, row, f"{values[row]}", "whole numbers, strings or null", "write groups as strings"
            )

    def _refuse_nulls(self, name: str, expected: str, cure: str) -> None:
        if self.table[name].null_count:
            row = int(np.argmax(_numpy(self.table[name].is_null())))
            raise self.input_error(name, row, "null", expected, cure)

    def _wrong_type(self, name: str, expected: str, cure: str) -> InputError:
        return self.input_error(name, None, f"type {self.table.schema.field(name).type}", expected, cure)

    def _numpy(self, name: str) -> np.ndarray:
        return _numpy(self.table[name])


def _numpy(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    if isinstance(values, pa.ChunkedArray):
        return np.asarray(values.to_numpy())
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
