"""A problem from Parquet files that may be larger than main memory: a counting sort by item, in two readings.

The first reading counts the edges of each item, the second writes each edge to its place in memory-mapped files.
"""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import ProblemError
from .id_table import IdTable
from .ids import INT32_MAX
from .parquet_batches import Batch, batches, score_types
from .problem_columns import both_amounts
from .problem_folder import fill_folder
from .problem_kernels import drop_pairs, place_rows, sort_rows
from .problem_limits import Limits, excluded_pairs, how_many_dropped, with_limits
from .problem_scores import refuse_scores, to_stored
from .threads import over_items

if TYPE_CHECKING:
    from .problem import Problem

EDGES_AT_A_TIME = 1 << 24
"""Edges looked at together when pairs are dropped."""


class Source(NamedTuple):
    """The files and the names of their columns; `score_dtype` is how scores are kept (None: see `map_edges`)."""

    paths: list[Path]
    item: str
    user: str
    score: str
    score_dtype: Any


class Sides(NamedTuple):
    """What `Problem.from_parquet` is told about items and users beside the edges."""

    demand: Any
    capacity: Any
    item_ids: Any | None
    user_ids: Any | None


def write_problem(make: "type[Problem]", source: Source, sides: Sides, limits: Limits, folder: Path) -> None:
    """Fills `folder` with the saved problem. Raises like `Problem.from_parquet`."""
    items, users = count_ids(source, sides.item_ids, sides.user_ids)
    aligned = sides.item_ids is not None, sides.user_ids is not None
    amounts = both_amounts(sides.demand, sides.capacity, (items.ids, users.ids), aligned)
    indptr, user, score = map_edges(source, folder, items, users)
    problem = make(indptr, user, score, amounts[0], amounts[1], items.ids, users.ids)
    exclude, author = limits.pop("exclude", None), limits.pop("author", None)
    if exclude is not None or author is not None:
        problem = drop_in_place(problem, folder, *excluded_pairs(problem, exclude, author, aligned[0]))
    fill_folder(with_limits(problem, aligned[0], partial(map_array, folder), **limits), folder)


def count_ids(source: Source, item_ids: Any | None, user_ids: Any | None) -> tuple[IdTable, IdTable]:
    """The first reading: the ids of both sides and the number of edges of each. Raises ProblemError."""
    items, users = IdTable("item", item_ids), IdTable("user", user_ids)
    for batch in batches(source.paths, source.item, source.user, None):
        for table, column in ((items, batch.item), (users, batch.user)):
            try:
                table.add(column.ids, np.bincount(column.place, minlength=column.ids.size))
            except ProblemError as error:
                raise ProblemError(f"{batch.path}: {error}") from None
    items.settle()
    users.settle()
    if not items.count.any():
        raise ProblemError(f"{source.paths[0]}: the files have no rows, expected one for each edge")
    if max(items.ids.size, users.ids.size) > INT32_MAX:
        raise ProblemError(f"{items.ids.size} items and {users.ids.size} users, expected at most {INT32_MAX} of each")
    return items, users


def map_edges(source: Source, folder: Path, items: IdTable, users: IdTable) -> tuple[np.ndarray, ...]:
    """The second reading: indptr in memory, user and score as new memory-mapped files in `folder`, users ascending.

    Scores are kept as `source.score_dtype`; None: as float16 if every file has that, else float32. Raises ProblemError
    naming item and user for a score out of range or a pair given twice.
    """
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(items.count)])
    user = map_array(folder, "user", int(indptr[-1]), np.int32)
    score = map_array(folder, "score", int(indptr[-1]), _score_dtype(source))
    bits, cursor = score.view(f"u{score.itemsize}"), indptr[:-1].copy()
    complete = True
    for batch in batches(source.paths, source.item, source.user, source.score):
        item_rows, user_rows = (
            items.rows(batch.item.ids)[batch.item.place],
            users.rows(batch.user.ids)[batch.user.place],
        )
        values = _stored(batch, score.dtype).view(bits.dtype)
        complete &= place_rows((item_rows, user_rows, values), cursor, indptr[1:], user, bits)
    if not complete or (cursor != indptr[1:]).any():
        raise ProblemError(f"{source.paths[0]}: the files changed while they were read; read them again")
    _sort(indptr, user, bits, items, users)
    return indptr, user, score


def map_array(folder: Path, name: str, size: int, dtype: Any) -> np.ndarray:
    """A new array as the memory-mapped file `name`.npy of `folder`."""
    array: np.ndarray = np.lib.format.open_memmap(
        folder / f"{name}.npy", mode="w+", dtype=np.dtype(dtype), shape=(size,)
    )
    return array


def drop_in_place(problem: "Problem", folder: Path, item: np.ndarray, user: np.ndarray) -> "Problem":
    """The problem without these (item row, user row) pairs; the files of its edges in `folder` become shorter."""
    order = np.argsort(item, kind="stable")
    item, user = item[order], user[order]
    written, dropped = 0, []
    for first, last in _blocks(problem.indptr):
        edges = slice(problem.indptr[first], problem.indptr[last])
        pairs = slice(*np.searchsorted(item, [first, last]))
        ends, keep = problem.indptr[first : last + 1] - edges.start, np.ones(edges.stop - edges.start, bool)
        drop_pairs(ends, problem.user[edges], item[pairs] - first, user[pairs], keep)
        dropped.append(edges.start + np.flatnonzero(~keep))
        kept = slice(written, written + int(np.count_nonzero(keep)))
        problem.user[kept], problem.score[kept] = problem.user[edges][keep], problem.score[edges][keep]
        written = kept.stop
    gone = np.concatenate([np.zeros(0, np.int64), *dropped])
    indptr = problem.indptr - np.searchsorted(gone, problem.indptr)
    user_left, score_left = (_shorten(folder, name, written) for name in ("user", "score"))
    return replace(problem, indptr=indptr, user=user_left, score=score_left, **how_many_dropped(problem, gone))


def _blocks(indptr: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of items with about EDGES_AT_A_TIME edges each."""
    starts = np.searchsorted(indptr, np.arange(0, int(indptr[-1]), EDGES_AT_A_TIME), side="right") - 1
    bounds = np.unique(np.concatenate([starts, [0, indptr.size - 1]])).tolist()
    return list(pairwise(bounds))


def _shorten(folder: Path, name: str, size: int) -> np.ndarray:
    """The first `size` entries of the array file, which is cut to them; writable, memory-mapped unless empty."""
    path = folder / f"{name}.npy"
    with path.open("r+b") as file:
        np.lib.format.read_magic(file)
        _, _, dtype = np.lib.format.read_array_header_1_0(file)
        header = file.tell()
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": (size,)})
        if file.tell() != header:
            raise OSError(f"{path}: the header of {size} entries has another length than before")
        file.truncate(header + size * dtype.itemsize)
    array: np.ndarray = np.load(path, mmap_mode="r+" if size else None)
    return array


def _score_dtype(source: Source) -> np.dtype:
    asked = source.score_dtype
    if asked is None:
        return np.dtype(np.float16 if score_types(source.paths, source.score) == {"halffloat"} else np.float32)
    if np.dtype(asked) not in (np.float16, np.float32):
        raise ProblemError(f"score_dtype is {asked}, expected float32 or float16")
    return np.dtype(asked)


def _stored(batch: Batch, dtype: np.dtype) -> np.ndarray:
    """The scores of a batch as they are kept; raises ProblemError naming file, item and user."""

    def describe(row: int) -> str:
        item, user = batch.item.ids[batch.item.place[row]].item(), batch.user.ids[batch.user.place[row]].item()
        return f"item {item!r}, user {user!r} in {batch.path}"

    def at(row: int) -> str:
        return describe(row - batch.first)

    refuse_scores(batch.score, at, batch.first)
    with np.errstate(over="ignore"):
        stored = np.abs(to_stored(batch.score).astype(dtype, copy=False))  # abs: no -0
    refuse_scores(stored, at, batch.first)
    return stored


def _sort(indptr: np.ndarray, user: np.ndarray, bits: np.ndarray, items: IdTable, users: IdTable) -> None:
    found: list[int] = []
    over_items(lambda first, last: found.append(sort_rows(indptr, user, bits, first, last)), indptr)
    row = max(found)
    if row >= 0:
        listed = user[indptr[row] : indptr[row + 1]]
        twice = users.ids[listed[1:][listed[1:] == listed[:-1]][0]].item()
        raise ProblemError(f"item {items.ids[row].item()!r} and user {twice!r} are paired twice, expected once")
