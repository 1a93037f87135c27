"""Problems on a shared path, cut into shards of items: edges as Parquet, all else as .npy that is memory-mapped."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import ProblemError
from ..memory import return_free_memory
from ..problem import Problem

VERSION = 1
MANIFEST = "shards.json"
SIDES = {"indptr": "int64", "demand": "int32", "capacity": "int32", "item_ids": "", "user_ids": ""}
"""Arrays that stand beside the edges, and what each is: ids are int64 or str."""
SCORES = ("float32", "float16")
_NEEDED = ("indptr", "demand", "capacity")


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
    score: np.dtype

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

        Raises ProblemError naming the file that is missing, damaged or does not fit, or the item and user of an edge.
        """
        begin, end = int(self.indptr[first]), int(self.indptr[last])
        chosen = np.flatnonzero((self.starts[:-1] >= first) & (self.starts[:-1] < last) & (np.diff(self.starts) > 0))
        user, score, at = np.empty(end - begin, np.int32), np.empty(end - begin, self.score), 0
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
        given = ends, user, score, demand, self.capacity
        try:
            return Problem.from_csr(*given, item_ids=items, user_ids=self.user_ids)
        except ProblemError:
            if items is not None:
                raise
        Problem.from_csr(*given, item_ids=np.arange(first, last), user_ids=self.user_ids)  # says the right item
        raise AssertionError("the same edges were right the second time")

    def _path(self, shard: int) -> Path:
        return self.folder / f"edges-{shard:05d}.parquet"

    def _batches(self, shard: int, wanted: int) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        path = self._path(shard)
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                if file.metadata.num_rows != wanted:
                    raise ProblemError(f"{path} has {file.metadata.num_rows} edges, expected {wanted}, as in indptr")
                _check_columns(path, file.schema_arrow, self.score)
                yield from _columns(file)
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(path, error) from error


def open_shards(folder: str | Path) -> Shards:
    """A folder that `write_shards` made. Raises ProblemError for one that is missing, of a later version or does not fit."""
    folder = Path(folder).absolute()
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if manifest["version"] != VERSION:
            raise ProblemError(f"{folder} is of version {manifest['version']}, expected {VERSION}")
        sides = {n: np.load(folder / f"{n}.npy", "r", allow_pickle=False) for n in manifest["sides"]}
        starts = np.concatenate([[0], np.cumsum(manifest["items"])]).astype(np.int64)
        score = np.dtype(SCORES[SCORES.index(manifest["score"])])
    except ProblemError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ProblemError(f"{folder} is no folder of shards, as write_shards makes it: {error}") from error
    _check_sides(folder, sides, starts)
    needed = sides["indptr"], sides["demand"], sides["capacity"]
    return Shards(folder, starts, *needed, sides.get("item_ids"), sides.get("user_ids"), score)


def _check_sides(folder: Path, sides: dict[str, np.ndarray], starts: np.ndarray) -> None:
    """Raises ProblemError where the arrays beside the edges are not those that `ShardWriter` wrote."""
    missing = [name for name in _NEEDED if name not in sides]
    if missing:
        raise ProblemError(f"{folder}/{MANIFEST} names no {missing[0]}, expected {', '.join(_NEEDED)}")
    for name, array in sides.items():
        if array.ndim != 1 or SIDES.get(name) not in (array.dtype.name, ""):
            raise ProblemError(f"{folder}/{name}.npy is {array.dtype.name}{list(array.shape)}, no {name} of shards")
    items, indptr = sides["demand"].size, sides["indptr"]
    if not starts[-1] == items == indptr.size - 1:
        raise ProblemError(f"{folder} has {starts[-1]} items in shards, {items} with a demand: expected as many")
    if indptr[0] != 0 or (np.diff(indptr) < 0).any() or (np.diff(starts) < 0).any():
        raise ProblemError(f"{folder}/indptr.npy does not rise from 0")
    for name, size in (("item_ids", items), ("user_ids", sides["capacity"].size)):
        if name in sides and sides[name].size != size:
            raise ProblemError(f"{folder}/{name}.npy has {sides[name].size} entries, expected {size}")


def _check_columns(path: Path, schema: pa.Schema, score: np.dtype) -> None:
    """Raises ProblemError where a file has other columns than `ShardWriter` wrote."""
    expected = {"user": pa.int32(), "score": pa.from_numpy_dtype(score)}
    found = dict(zip(schema.names, schema.types, strict=True))
    if found != expected:
        kinds = [", ".join(f"{name} {kind}" for name, kind in columns.items()) for columns in (found, expected)]
        raise ProblemError(f"{path} has the columns {kinds[0]}, expected {kinds[1]}")


def _columns(file: pq.ParquetFile) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=["user", "score"], use_threads=False)
        yield table["user"].to_numpy(), table["score"].to_numpy()


def _unreadable(path: Path, error: Exception) -> ProblemError:
    return ProblemError(f"{path} cannot be read: {' '.join(str(error).split())}")
