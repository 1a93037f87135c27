"""The problem: which users for each item, at most L_i users an item and Q_u items a user."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from .errors import ProblemError
from .parquet_batches import parquet_paths
from .problem_columns import both_amounts, edges_by_item, frame_column
from .problem_folder import new_folder, open_arrays, save_problem
from .problem_limits import Limits, check_given, read_only, with_limits
from .problem_parquet import Sides, Source, write_problem
from .problem_rows import checked_edges, edge_arrays, row_ends, row_ids, rows_of_padded, rows_of_sparse, user_count


@dataclass(frozen=True, eq=False)
class Problem:
    """maximise the sum of `score` over chosen edges, at most `demand` edges an item and `capacity` edges a user.

    Candidates stand by item (CSR): item i owns the edges indptr[i] to indptr[i + 1]. Made by `from_edges` and the other
    `from_...`, which check everything once; the arrays are read-only afterwards, in memory or memory-mapped. 8 bytes an
    edge (6 with half scores, 4 more where a (user, creator) limit could bind) and 12 an item.

    indptr    int64[items + 1], from 0, never falling
    user      int32[edges], row of the user, ascending inside an item
    score     float32[edges] or float16[edges], finite and not negative
    demand    int32[items], most users an item wants (L)
    capacity  int32[users], most items a user takes (Q)
    item_ids, user_ids  outside ids of the rows, int64 or str; None: the row numbers are the ids
    floor        int32[items], fewest users an item should get, at most its demand; None: 0 for all
    creator      int32[items], row of the item's creator in `creator_ids`, -1: unknown; None: not given
    group        int32[edges], number of the (user, creator) group whose limit the edge counts against, -1: of none;
                 None: no limit could bind anywhere
    group_limit  int32[groups], most edges of each group that may be chosen; fewer than the group has
    creator_ids  outside ids of the creators, int64 or str
    excluded     edges that were given and dropped, being excluded
    item_excluded  int32[items], those of each item; None: none
    """

    indptr: np.ndarray
    user: np.ndarray
    score: np.ndarray
    demand: np.ndarray
    capacity: np.ndarray
    item_ids: np.ndarray | None = None
    user_ids: np.ndarray | None = None
    floor: np.ndarray | None = None
    creator: np.ndarray | None = None
    group: np.ndarray | None = None
    group_limit: np.ndarray | None = None
    creator_ids: np.ndarray | None = None
    excluded: int = 0
    item_excluded: np.ndarray | None = None

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
        """Number of candidates: (item, user) pairs with a score."""
        return self.user.size

    @property
    def groups(self) -> int:
        """Number of (user, creator) groups that have more edges than their limit."""
        return 0 if self.group_limit is None else self.group_limit.size

    def score32(self) -> np.ndarray:
        """float32[edges]: the scores themselves, or a copy where they are float16."""
        return self.score.astype(np.float32, copy=False)

    def stored_score(self) -> np.ndarray:
        """The scores as kernels read them: float32[edges], or the bits of float16 as uint16[edges]; never a copy."""
        return self.score.view(np.uint16) if self.score.dtype == np.float16 else self.score

    def __repr__(self) -> str:
        return f"Problem(items={self.items}, users={self.users}, edges={self.edges})"

    def item_of(self, edge: np.ndarray) -> np.ndarray:
        """Rows of the items that own these edges, int64[n]."""
        return np.searchsorted(self.indptr, edge, side="right") - 1

    def item_load(self, ordered: np.ndarray) -> np.ndarray:
        """How many of these edges (ascending) each item owns, int64[items]."""
        return np.diff(np.searchsorted(ordered, self.indptr))

    def reachable_scores(self) -> np.ndarray:
        """float32[edges]: the scores, 0 where the item wants nobody or the user has no place."""
        if (self.demand > 0).all() and (self.capacity > 0).all():
            return self.score32()
        wanted = np.repeat(self.demand > 0, np.diff(self.indptr))
        return np.where(wanted & (self.capacity > 0)[self.user], self.score32(), np.float32(0.0))

    def item_name(self, row: int) -> Any:
        """Outside id of an item row."""
        return row if self.item_ids is None else self.item_ids[row].item()

    def user_name(self, row: int) -> Any:
        """Outside id of a user row."""
        return row if self.user_ids is None else self.user_ids[row].item()

    def creator_name(self, row: int) -> Any:
        """Outside id of a creator row."""
        return row if self.creator_ids is None else self.creator_ids[row].item()

    def group_name(self, group: int) -> str:
        """The (user, creator) pair of a group, in outside ids: "user 7 and creator 'x'"."""
        if self.group is None or self.creator is None:
            raise ProblemError(f"group {group} does not exist, the problem has no (user, creator) limits")
        edge = int(np.flatnonzero(self.group == group)[0])
        item = int(self.item_of(np.array([edge]))[0])
        creator = self.creator_name(int(self.creator[item]))
        return f"user {self.user_name(int(self.user[edge]))!r} and creator {creator!r}"

    @classmethod
    def from_edges(
        cls,
        item: Any,
        user: Any,
        score: Any,
        demand: Any = 200,
        capacity: Any = 10,
        *,
        item_ids: Any | None = None,
        user_ids: Any | None = None,
        **limits: Unpack[Limits],
    ) -> "Problem":
        """A problem from three columns of equal length (lists, NumPy, pandas or Arrow), in any order.

        `item`, `user`: outside ids, integers or strings. `item_ids`, `user_ids`: every id there is, in row order, so
        that items and users without an edge exist too; without them rows follow the first appearance in the columns.
        `demand`, `capacity`: one number, a mapping from id to number (for every id), or an array along `item_ids` or
        `user_ids`. First come serves items in row order. `limits`: floor, creator, creator_cap, exclude, author, see
        `Limits` in problem_limits.py.

        Raises ProblemError naming the item and user for a NaN, infinite or negative score, a pair given twice, an
        unknown id, columns of different length, a negative demand or capacity, ids of a wrong type.
        """
        check_given(limits)
        indptr, users, scores, *ids = edges_by_item(item, user, score, item_ids, user_ids)
        aligned = item_ids is not None, user_ids is not None
        wanted, places = both_amounts(demand, capacity, (ids[0], ids[1]), aligned)
        ends, users, scores, *names = read_only(indptr, users, scores, *ids)
        problem = cls(ends, users, scores, wanted, places, names[0], names[1])
        return with_limits(problem, aligned[0], **limits)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        demand: Any = 200,
        capacity: Any = 10,
        *,
        item: str = "item",
        user: str = "user",
        score: str = "score",
        item_ids: Any | None = None,
        user_ids: Any | None = None,
        **limits: Unpack[Limits],
    ) -> "Problem":
        """A problem from a pandas (or Arrow) table with one row an edge; `item`, `user`, `score` name its columns.

        The rest as in `from_edges`. Raises ProblemError like it, and where the table lacks a column.
        """
        items, users, scores = (frame_column(frame, name) for name in (item, user, score))
        return cls.from_edges(items, users, scores, demand, capacity, item_ids=item_ids, user_ids=user_ids, **limits)

    @classmethod
    def from_csr(
        cls,
        indptr: Any,
        user: Any,
        score: Any,
        demand: Any,
        capacity: Any,
        *,
        item_ids: Any | None = None,
        user_ids: Any | None = None,
        **limits: Unpack[Limits],
    ) -> "Problem":
        """A problem from rows: item i owns the edges indptr[i] to indptr[i + 1], users ascending inside an item.

        `user`: int[edges], row numbers; `score`: float32 or float16 is kept, other numbers become float32. `demand`: one
        number, int[items], or a mapping from id; `capacity`: int[users] (its length is the number of users), or with
        `user_ids` one number or a mapping. Arrays of the right dtype are used as they are, not copied. `limits` as in
        `from_edges`. Raises ProblemError like `from_edges`.
        """
        check_given(limits)
        users, scores = edge_arrays(user, score)
        ends, people = row_ends(indptr, users.size), user_count(capacity, user_ids)
        names = row_ids(item_ids, "item", ends.size - 1), row_ids(user_ids, "user", people)
        ids = tuple(np.arange(n) if one is None else one for one, n in zip(names, (ends.size - 1, people), strict=True))
        wanted, places = both_amounts(demand, capacity, (ids[0], ids[1]), (True, True))
        bare = cls(ends, users, scores, wanted, places, *names)
        ends, users, scores = read_only(ends, *checked_edges(bare, users, scores))
        return with_limits(cls(ends, users, scores, wanted, places, *names), **limits)

    @classmethod
    def from_padded(
        cls,
        user: Any,
        score: Any,
        demand: Any,
        capacity: Any,
        *,
        item_ids: Any | None = None,
        user_ids: Any | None = None,
        **limits: Unpack[Limits],
    ) -> "Problem":
        """A problem from lists of one width, as a search returns them: user int[items, width], -1 for no candidate.

        `user` holds row numbers in any order, `score` [items, width] the scores; those beside -1 are not looked at. The
        edges are copied. The rest as in `from_csr`. Raises ProblemError like it, also for a user twice in a list.
        """
        rows = rows_of_padded(user, score, item_ids)
        return cls.from_csr(*rows, demand, capacity, item_ids=item_ids, user_ids=user_ids, **limits)

    @classmethod
    def from_sparse(
        cls,
        matrix: Any,
        demand: Any,
        capacity: Any,
        *,
        item_ids: Any | None = None,
        user_ids: Any | None = None,
        **limits: Unpack[Limits],
    ) -> "Problem":
        """A problem from a SciPy sparse array or matrix of scores, items x users; a stored 0 is an edge of score 0.

        `capacity`: one number, int[users], or with `user_ids` a mapping. The rest as in `from_csr`; a sorted CSR matrix
        of float32 with int32 indices is not copied. Raises ProblemError like it, also for an entry stored twice.
        """
        rows = rows_of_sparse(matrix)
        one_for_all = np.ndim(capacity) == 0 and not isinstance(capacity, Mapping) and user_ids is None
        places = np.full(matrix.shape[1], capacity) if one_for_all else capacity
        if user_count(places, user_ids) != matrix.shape[1]:
            given = user_count(places, user_ids)
            raise ProblemError(f"the matrix has {matrix.shape[1]} columns, expected {given}: one for each user")
        return cls.from_csr(*rows, demand, places, item_ids=item_ids, user_ids=user_ids, **limits)

    @classmethod
    def from_parquet(
        cls,
        path: Any,
        folder: str | Path,
        demand: Any = 200,
        capacity: Any = 10,
        *,
        item: str = "item",
        user: str = "user",
        score: str = "score",
        item_ids: Any | None = None,
        user_ids: Any | None = None,
        score_dtype: Any | None = None,
        **limits: Unpack[Limits],
    ) -> "Problem":
        """A problem from Parquet files of edges, in any order, written to `folder` and opened memory-mapped.

        `path`: a file, a folder of *.parquet, or a list of them; `item`, `user`, `score` name their columns. The edges
        are read twice, a million rows at a time, and are never in main memory together; ids and rows are. `folder`
        must be new or empty, and becomes what `save` writes, whole or not at all. `score_dtype`: float32 or float16 (2
        bytes, 3 digits); None: as in the files. The rest as in `from_edges`.

        Raises ProblemError like `from_edges` and `save`, and for a file that is missing, cut short, damaged or empty.
        """
        check_given(limits)
        source = Source(parquet_paths(path), item, user, score, score_dtype)
        with new_folder(Path(folder)) as aside:
            write_problem(cls, source, Sides(demand, capacity, item_ids, user_ids), limits, aside)
        return cls.open(folder, verify=False)

    def save(self, folder: str | Path) -> None:
        """Writes the problem as a new folder of .npy files with a manifest, whole or not at all.

        Raises ProblemError where the folder exists and is not empty, OSError where the disk fails.
        """
        save_problem(self, Path(folder))

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool = True) -> "Problem":
        """A saved problem, its arrays memory-mapped: they may be larger than main memory.

        `verify` reads everything once and compares it with the manifest's SHA-256; the edges were checked when the
        problem was made. Raises ProblemError naming the file that is missing, cut short, damaged or of a later version.
        """
        return cls(**open_arrays(Path(folder), verify))
