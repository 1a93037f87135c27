"""Writing a problem as shards of items: edges as Parquet, all else as .npy."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import ProblemError
from ..ids import INT32_MAX
from ..problem import Problem
from ..problem_columns import both_amounts
from ..problem_folder import new_folder
from ..problem_rows import row_ids, user_count
from .shards import MANIFEST, SCORES, SIDES, VERSION

_ROWS = 1 << 20
"""Edges of a row group."""


def write_shards(problem: Problem, folder: str | Path, shards: int = 64) -> Path:
    """Writes a problem as a new folder of about equally large shards, whole or not at all; returns the folder.

    ``edges-NNNNN.parquet`` hold user int32 (row) and score of consecutive items, users ascending inside an item, with page
    checksums; ``indptr``, ``demand``, ``capacity`` and the ids stand beside them. A problem too large for one machine is
    written by `new_shards`. Raises ProblemError for floors and (user, creator) limits, which shards do not hold, OSError
    where the disk fails.
    """
    if problem.floor is not None or problem.group is not None:
        raise ProblemError(
            "the problem has floors or (user, creator) limits, which the distributed auction does not know"
        )
    ends = _cuts(problem.indptr, max(1, min(shards, problem.items)))
    with new_shards(folder) as writer:
        for first, last in itertools.pairwise(ends):
            begin, end = int(problem.indptr[first]), int(problem.indptr[last])
            writer.add(np.diff(problem.indptr[first : last + 1]), problem.user[begin:end], problem.score[begin:end])
        writer.close(problem.demand, problem.capacity, problem.item_ids, problem.user_ids)
    return Path(folder)


class ShardWriter:
    """Writes shards one after the other, none of which need fit beside another in memory. See `new_shards`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.closed = folder, False
        self._lengths: list[np.ndarray] = []
        self._score = ""

    def add(self, lengths: np.ndarray, user: np.ndarray, score: np.ndarray) -> None:
        """The next items: edges of each (int[items]), and their users' rows (int) and scores[edges], float32 or float16 in
        all shards. Raises ProblemError for other types or lengths that do not fit; edges are checked where they are read.
        """
        if self.closed:
            raise ProblemError("the writer of shards is closed: no items come after its demand and capacity")
        number, lengths = len(self._lengths), np.asarray(lengths)
        user, score = np.asarray(user), np.asarray(score)
        _check_edges(number, lengths, user, score, self._score)
        self._score = score.dtype.name
        path = self._folder / f"edges-{number:05d}.parquet"
        table = pa.table({"user": pa.array(user.astype(np.int32, copy=False)), "score": pa.array(score)})
        pq.write_table(
            table, path, compression="zstd", use_dictionary=False, write_page_checksum=True, row_group_size=_ROWS
        )
        self._lengths.append(np.asarray(lengths, np.int64))

    def close(
        self, demand: np.ndarray, capacity: np.ndarray, item_ids: np.ndarray | None, user_ids: np.ndarray | None
    ) -> None:
        """Demand of every item, capacity of every user (whole numbers from 0 to 2^31 - 1), and their ids: None where the row
        numbers are the ids. Raises ProblemError for what does not fit.
        """
        counts = [part.size for part in self._lengths]
        items, users = sum(counts), user_count(capacity, user_ids)
        names = row_ids(item_ids, "item", items), row_ids(user_ids, "user", users)
        rows = [np.arange(n) if one is None else one for one, n in zip(names, (items, users), strict=True)]
        amounts = both_amounts(demand, capacity, (rows[0], rows[1]), (True, True))
        indptr = np.concatenate([np.zeros(1, np.int64), *self._lengths]).cumsum()
        sides = dict(zip(SIDES, (indptr, *amounts, *names), strict=True))
        for name, array in sides.items():
            if array is not None:
                np.save(self._folder / f"{name}.npy", array, allow_pickle=False)
        manifest = {"version": VERSION, "items": counts, "sides": [n for n in SIDES if sides[n] is not None]}
        manifest["score"] = self._score or "float32"
        (self._folder / MANIFEST).write_text(json.dumps(manifest))
        self.closed = True


@contextmanager
def new_shards(folder: str | Path) -> Iterator[ShardWriter]:
    """A writer; the folder appears at the end, whole or not at all. Raises ProblemError where the writer was not closed."""
    with new_folder(Path(folder)) as aside:
        writer = ShardWriter(aside)
        yield writer
        if not writer.closed:
            raise ProblemError("the writer of shards was not closed: demand and capacity are missing")


def _check_edges(shard: int, lengths: np.ndarray, user: np.ndarray, score: np.ndarray, before: str) -> None:
    """Raises ProblemError for columns of a new shard that do not fit each other or the score type before."""
    for name, array in (("lengths", lengths), ("user", user)):
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise ProblemError(f"shard {shard}: {name} is {array.dtype.name}{list(array.shape)}, expected int[n]")
    if score.ndim != 1 or score.dtype.name not in SCORES or before not in ("", score.dtype.name):
        expected = before or " or ".join(SCORES)
        raise ProblemError(f"shard {shard}: score is {score.dtype.name}{list(score.shape)}, expected {expected}[n]")
    if (lengths < 0).any() or not lengths.sum() == user.size == score.size:
        raise ProblemError(
            f"shard {shard}: lengths add up to {lengths.sum()} with {user.size} users and {score.size} scores, "
            "expected as many of each, and no length below 0"
        )
    wrong = np.flatnonzero((user < 0) | (user > INT32_MAX)) if user.dtype != np.int32 else user[:0]
    if wrong.size:
        raise ProblemError(f"shard {shard}: user {user[wrong[0]]} is no row, expected 0 to {INT32_MAX}")


def _cuts(indptr: np.ndarray, shards: int) -> list[int]:
    """Bounds of items with about as many edges between each two."""
    inner = np.searchsorted(indptr, np.linspace(0, indptr[-1], shards + 1)[1:-1])
    return np.unique(np.concatenate([[0], inner, [indptr.size - 1]])).tolist()
