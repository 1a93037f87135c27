"""Problems on a shared path, cut into shards of items: edges as Parquet, all else as .npy that is memory-mapped."""

import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import ProblemError
from ..memory import return_free_memory
from ..problem import Problem
from ..problem_folder import new_folder

VERSION = 1
_MANIFEST = "shards.json"
_SIDES = ("indptr", "demand", "capacity", "item_ids", "user_ids")
_ROWS = 1 << 20


def write_shards(problem: Problem, folder: str | Path, shards: int = 64) -> Path:
    """Writes a problem as a new folder of about equally large shards, whole or not at all; returns the folder.

    ``edges-NNNNN.parquet`` hold user int32 (row) and score of consecutive items, users ascending inside an item, with page
    checksums; ``indptr``, ``demand``, ``capacity`` and the ids stand beside them. A problem too large for one machine is
    written by `new_shards`. Raises ProblemError for floors and (user, creator) limits, which shards do not hold.
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

    def add(self, lengths: np.ndarray, user: np.ndarray, score: np.ndarray) -> None:
        """The next items: edges of each (int[items]), and their users' rows and scores (float32 or float16)[edges]."""
        path = self._folder / f"edges-{len(self._lengths):05d}.parquet"
        table = pa.table({"user": pa.array(user, pa.int32()), "score": pa.array(score)})
        pq.write_table(
            table, path, compression="zstd", use_dictionary=False, write_page_checksum=True, row_group_size=_ROWS
        )
        self._lengths.append(np.asarray(lengths, np.int64))

    def close(
        self, demand: np.ndarray, capacity: np.ndarray, item_ids: np.ndarray | None, user_ids: np.ndarray | None
    ) -> None:
        """Demand of every item, capacity of every user, and their ids: None where the row numbers are the ids."""
        counts = [part.size for part in self._lengths]
        indptr = np.concatenate([np.zeros(1, np.int64), *self._lengths]).cumsum()
        sides = dict(zip(_SIDES, (indptr, demand, capacity, item_ids, user_ids), strict=True))
        for name, array in sides.items():
            if array is not None:
                np.save(self._folder / f"{name}.npy", array, allow_pickle=False)
        manifest = {"version": VERSION, "items": counts, "sides": [n for n in _SIDES if sides[n] is not None]}
        (self._folder / _MANIFEST).write_text(json.dumps(manifest))
        self.closed = True


@contextmanager
def new_shards(folder: str | Path) -> Iterator[ShardWriter]:
    """A writer; the folder appears at the end, whole or not at all. Raises ProblemError where the writer was not closed."""
    with new_folder(Path(folder)) as aside:
        writer = ShardWriter(aside)
        yield writer
        if not writer.closed:
            raise ProblemError("the writer of shards was not closed: demand and capacity are missing")


@dataclass(frozen=True, eq=False)
class Shards:
    """A folder of shards, opened: ``starts`` int64[shards + 1], the first item of each; the sides are memory-mapped."""

    folder: Path
    starts: np.ndarray
    indptr: np.ndarray
    demand: np.ndarray
    capacity: np.ndarray
    item_ids: np.ndarray | None
    user_ids: np.ndarray | None

    @property
    def items(self) -> int:
        """Number of items."""
        return self.demand.size

    @property
    def users(self) -> int:
        """Number of users."""
        return self.capacity.size

    @property
    def edges(self) -> int:
        """Number of candidates in all shards."""
        return int(self.indptr[-1])

    def bounds(self, workers: int) -> np.ndarray:
        """First item of each worker and the number of items, int64[workers + 1]: whole shards, about as many edges each."""
        ends = self.indptr[self.starts]
        middles, wanted = (ends[:-1] + ends[1:]) / 2, np.linspace(0, ends[-1], workers + 1)[1:-1]
        inner = np.searchsorted(middles, wanted)
        return self.starts[np.concatenate([[0], inner, [self.starts.size - 1]])]

    def part(self, first: int, last: int) -> Problem:
        """The problem of the items first to last (bounds of shards) and all users; every edge is checked.

        Raises ProblemError naming the file that is missing, damaged or does not fit.
        """
        begin, end = int(self.indptr[first]), int(self.indptr[last])
        chosen = np.flatnonzero((self.starts[:-1] >= first) & (self.starts[:-1] < last) & (np.diff(self.starts) > 0))
        dtype = np.dtype(np.float32) if not chosen.size else self._score_dtype(int(chosen[0]))
        user, score, at = np.empty(end - begin, np.int32), np.empty(end - begin, dtype), 0
        for shard in chosen:
            wanted = int(self.indptr[self.starts[shard + 1]] - self.indptr[self.starts[shard]])
            for columns in self._batches(int(shard), wanted):
                many = columns[0].size
                user[at : at + many], score[at : at + many] = columns
                at += many
        pa.default_memory_pool().release_unused()
        return_free_memory()
        items = None if self.item_ids is None else self.item_ids[first:last]
        demand, ends = np.ascontiguousarray(self.demand[first:last]), self.indptr[first : last + 1] - begin
        return Problem.from_csr(ends, user, score, demand, self.capacity, item_ids=items, user_ids=self.user_ids)

    def _path(self, shard: int) -> Path:
        return self.folder / f"edges-{shard:05d}.parquet"

    def _score_dtype(self, shard: int) -> np.dtype:
        try:
            kind = pq.read_schema(self._path(shard)).field("score").type
        except (OSError, KeyError, pa.ArrowException) as error:
            raise _unreadable(self._path(shard), error) from error
        return np.dtype(np.float16 if pa.types.is_float16(kind) else np.float32)

    def _batches(self, shard: int, wanted: int) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        path, found = self._path(shard), 0
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                if file.metadata.num_rows != wanted:
                    raise ProblemError(f"{path} has {file.metadata.num_rows} edges, expected {wanted}, as in indptr")
                for batch in _columns(file):
                    found += batch[0].size
                    yield batch
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(path, error) from error


def open_shards(folder: str | Path) -> Shards:
    """A folder that `write_shards` made. Raises ProblemError for one that is missing, of a later version or does not fit."""
    folder = Path(folder)
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        if manifest["version"] != VERSION:
            raise ProblemError(f"{folder} is of version {manifest['version']}, expected {VERSION}")
        sides = {n: np.load(folder / f"{n}.npy", "r", allow_pickle=False) for n in manifest["sides"]}
        starts = np.concatenate([[0], np.cumsum(manifest["items"])]).astype(np.int64)
        shards = Shards(folder, starts, *(sides.get(name) for name in _SIDES))  # type: ignore[arg-type]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProblemError(f"{folder} is no folder of shards, as write_shards makes it: {error}") from error
    if not starts[-1] == shards.items == shards.indptr.size - 1:
        raise ProblemError(f"{folder} has {starts[-1]} items in shards, {shards.items} with a demand: expected as many")
    return shards


def _columns(file: pq.ParquetFile) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=["user", "score"], use_threads=False)
        yield table["user"].to_numpy(), table["score"].to_numpy()


def _unreadable(path: Path, error: Exception) -> ProblemError:
    return ProblemError(f"{path} cannot be read: {' '.join(str(error).split())}")


def _cuts(indptr: np.ndarray, shards: int) -> list[int]:
    """Bounds of items with about as many edges between each two."""
    inner = np.searchsorted(indptr, np.linspace(0, indptr[-1], shards + 1)[1:-1])
    return np.unique(np.concatenate([[0], inner, [indptr.size - 1]])).tolist()
