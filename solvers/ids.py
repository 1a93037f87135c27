"""Outside ids stop here: columns of ids in, int64 row numbers out."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ProblemError

INT32_MAX = int(np.iinfo(np.int32).max)
"""Most rows of one side, and the most that an amount may be."""

INT64 = np.iinfo(np.int64)
"""The range of integer ids."""


@dataclass(frozen=True, eq=False)
class IdRows:
    """The ids of one side and the row of each edge's id: ``ids[rows[e]]`` is the id that edge e was given."""

    ids: np.ndarray
    rows: np.ndarray


def id_rows(column: Any, name: str, known: Any | None) -> IdRows:
    """Rows of the ids in `column`: places in `known` where given, else in order of first appearance.

    Raises ProblemError for ids that are neither integers nor strings, ids twice in `known` and ids not in it.
    """
    values = id_array(column, name)
    if known is None:
        return _by_first_appearance(values)
    ids = id_array(known, f"{name}_ids")
    if values.size and ids.size and (values.dtype.kind == "U") != (ids.dtype.kind == "U"):
        raise ProblemError(
            f"{name} ids are {_kind(values)} but {name}_ids are {_kind(ids)}, expected both of the same type"
        )
    order = np.argsort(ids, kind="stable")
    _refuse_repeats(ids, order, name)
    return IdRows(ids, _look_up(values, ids, order, name))


def known_rows(column: Any, name: str, ids: np.ndarray | None, rows: int) -> np.ndarray:
    """Row of each id in `column`, -1 where it is not among `ids` (None: the ids are 0 to rows - 1); int64[n].

    Raises ProblemError for ids that are neither integers nor strings, or integers where `ids` are strings.
    """
    values = id_array(column, name)
    if ids is None:
        ids = np.arange(rows)
    if values.size and rows and (values.dtype.kind == "U") != (ids.dtype.kind == "U"):
        raise ProblemError(f"{name} ids are {_kind(values)} but the problem's are {_kind(ids)}, expected the same type")
    return find_rows(values, ids, np.argsort(ids, kind="stable"))


def id_array(column: Any, name: str) -> np.ndarray:
    """One-dimensional array of int64 or str ids from a list, NumPy array, pandas Series or Arrow column."""
    try:
        values = np.asarray(column)
    except ValueError as error:  # lists of different lengths
        raise ProblemError(
            f"{name} ids cannot be read ({error}), expected one integer or string for each entry"
        ) from None
    if values.ndim != 1:
        raise ProblemError(f"{name} ids have {values.ndim} dimensions, expected 1: one id for each entry")
    if values.size == 0:
        return values.astype(np.int64) if values.dtype.kind not in "iuU" else values
    if values.dtype.kind == "O":
        values = _objects(values, name)
    elif values.dtype.kind == "U" and isinstance(column, list | tuple):  # where NumPy makes strings of integers
        values = _objects(np.array(column, object), name)
    elif values.dtype.kind == "T":
        values = values.astype(np.str_)
    if values.dtype.kind not in "iuU":
        raise ProblemError(
            f"{name} ids are {values.dtype} (first: {values[0].item()!r}), expected integers or strings{_hint(values)}"
        )
    if values.dtype.kind == "u" and values.max() > INT64.max:
        raise ProblemError(
            f"{name} id {values.max()} does not fit into 64 signed bits, expected smaller integers or strings"
        )
    return values if values.dtype.kind == "U" else values.astype(np.int64, copy=False)


def _objects(values: np.ndarray, name: str) -> np.ndarray:
    """Python integers as int64, Python strings as str; raises ProblemError for anything else and for both at once."""
    first = values[0]
    wanted, word = (str, "strings") if isinstance(first, str) else (int | np.integer, "integers")
    for position, value in enumerate(values):
        if not isinstance(value, wanted) or isinstance(value, bool):
            kind = type(value).__name__
            expected = "strings or integers" if position == 0 else f"{word} like the ids before it"
            raise ProblemError(f"{name} id {value!r} at position {position} is {kind}, expected {expected}")
        if not isinstance(value, str) and not INT64.min <= value <= INT64.max:
            raise ProblemError(
                f"{name} id {value} does not fit into 64 signed bits, expected smaller integers or strings"
            )
    return values.astype(np.str_ if wanted is str else np.int64)


def _hint(values: np.ndarray) -> str:
    return " (a column of integers with missing values becomes floats)" if values.dtype.kind == "f" else ""


def _kind(values: np.ndarray) -> str:
    return "strings" if values.dtype.kind == "U" else "integers"


def _by_first_appearance(values: np.ndarray) -> IdRows:
    lowest = _lowest_of_dense(values, values.size)
    if lowest is not None:
        return _dense_by_first_appearance(values, lowest)
    sorted_ids, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    row_of = np.empty(order.size, np.int64)
    row_of[order] = np.arange(order.size)
    return IdRows(sorted_ids[order], row_of[inverse.reshape(-1)])


def _dense_by_first_appearance(values: np.ndarray, lowest: int) -> IdRows:
    """As `_by_first_appearance` by a table over all integers from the lowest id to the highest, without sorting."""
    place, at = values - lowest, np.arange(values.size)
    table = np.full(int(place.max()) + 1, -1, np.int64)
    table[place[::-1]] = at[::-1]  # of equal ids the first in the column is written last, and stays
    first = table[place] == at
    ids = values[first]
    table[place[first]] = np.arange(ids.size)
    return IdRows(ids, table[place])


def _lowest_of_dense(ids: np.ndarray, work: int) -> int | None:
    """The lowest of integer ids that fill their range enough for a table beside `work` look-ups; None otherwise."""
    if ids.size == 0 or ids.dtype.kind == "U":
        return None
    lowest, highest = int(ids.min()), int(ids.max())
    return lowest if highest - lowest < 4 * (ids.size + work) else None


def _refuse_repeats(ids: np.ndarray, order: np.ndarray, name: str) -> None:
    in_order = ids[order]
    repeats = np.flatnonzero(in_order[1:] == in_order[:-1])
    if repeats.size:
        first, second = order[repeats[0]], order[repeats[0] + 1]
        raise ProblemError(
            f"{name}_ids names {ids[first].item()!r} twice, at positions {first} and {second}, expected each id once"
        )


def _look_up(values: np.ndarray, ids: np.ndarray, order: np.ndarray, name: str) -> np.ndarray:
    place = find_rows(values, ids, order)
    if (place < 0).any():
        position = int(np.flatnonzero(place < 0)[0])
        raise ProblemError(
            f"edge {position} names {name} {values[position].item()!r}, which is not among the {ids.size} {name}_ids"
        )
    return place


def find_rows(values: np.ndarray, ids: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Place of each value in `ids` (ascending in `order`), int64; -1 where it is not there."""
    if ids.size == 0 or values.size == 0:
        return np.full(values.size, -1, np.int64)
    lowest = _lowest_of_dense(ids, values.size)
    if lowest is not None:
        table = np.full(int(ids[order[-1]]) - lowest + 1, -1, np.int64)
        table[ids - lowest] = np.arange(ids.size)
        inside = (values >= lowest) & (values < lowest + table.size)
        return (
            table[values - lowest]
            if inside.all()
            else np.where(inside, table[np.where(inside, values - lowest, 0)], -1)
        )
    place = order[np.minimum(np.searchsorted(ids, values, sorter=order), ids.size - 1)]
    return np.where(ids[place] == values, place, -1)
