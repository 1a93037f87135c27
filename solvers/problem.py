"""The problem: which users for each item, at most L_i users an item and Q_u items a user."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ProblemError
from .ids import IdRows, id_array, id_rows

INT32_MAX = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Problem:
    """maximise the sum of `score` over chosen edges, at most `demand` edges an item and `capacity` edges a user.

    Candidates stand by item (CSR): item i owns the edges indptr[i] to indptr[i + 1]. Made by `from_edges` or
    `from_csr`, which check everything once; the arrays are read-only afterwards. 8 bytes an edge and 12 an item.

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
    ) -> "Problem":
        """A problem from three columns of equal length (lists, NumPy, pandas or Arrow), in any order.

        `item`, `user`: outside ids, integers or strings. `item_ids`, `user_ids`: every id there is, in row order, so
        that items and users without an edge exist too; without them rows follow the first appearance in the columns.
        `demand`, `capacity`: one number, a mapping from id to number (for every id), or an array along `item_ids` or
        `user_ids`. First come serves items in row order.

        Raises ProblemError naming the item and user for a NaN, infinite or negative score, a pair given twice, an
        unknown id, columns of different length, a negative demand or capacity, ids of a wrong type.
        """
        items, users = id_rows(item, "item", item_ids), id_rows(user, "user", user_ids)
        scores = _scores(score)
        _same_length(items.rows, users.rows, scores)
        wanted = _amounts(demand, "demand", "item", items.ids, item_ids is not None)
        places = _amounts(capacity, "capacity", "user", users.ids, user_ids is not None)
        _check_scores(
            scores, lambda e: f"item {items.ids[items.rows[e]].item()!r}, user {users.ids[users.rows[e]].item()!r}"
        )
        order = _edge_order(items, users)
        indptr = np.zeros(items.ids.size + 1, np.int64)
        np.cumsum(np.bincount(items.rows, minlength=items.ids.size), out=indptr[1:])
        user_rows, scores = users.rows.astype(np.int32), scores.astype(np.float32, copy=False)
        if order is not None:
            user_rows, scores = user_rows[order], scores[order]
        return cls(*_read_only(indptr, user_rows, scores, wanted, places, items.ids, users.ids))

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
    ) -> "Problem":
        """A problem from rows: item i owns the edges indptr[i] to indptr[i + 1], users ascending inside an item.

        `demand`: one number or int[items]; `capacity`: int[users] (its length is the number of users). Arrays of the
        right dtype are used as they are, not copied. Raises ProblemError like `from_edges`.
        """
        ends = _integers(indptr, "indptr").astype(np.int64, copy=False)
        users, scores = _integers(user, "user"), _scores(score)
        if ends.size < 1 or ends[0] != 0 or ends[-1] != users.size or (np.diff(ends) < 0).any():
            raise ProblemError(f"indptr must start at 0, never fall and end at the number of edges ({users.size})")
        if scores.size != users.size:
            raise ProblemError(f"score has {scores.size} entries, expected {users.size}: one for each edge in user")
        wanted = _amounts(demand, "demand", "item", np.arange(ends.size - 1), True)
        if np.ndim(capacity) != 1:
            raise ProblemError("capacity must be an array with one entry for each user")
        places = _amounts(capacity, "capacity", "user", np.arange(len(capacity)), True)
        rows, scores = users.astype(np.int32, copy=False), scores.astype(np.float32, copy=False)
        items_named, users_named = _names(item_ids, "item", wanted.size), _names(user_ids, "user", places.size)
        ends, rows, scores, wanted, places = _read_only(ends, rows, scores, wanted, places)
        problem = cls(ends, rows, scores, wanted, places, items_named, users_named)
        _check_rows(problem, users)
        return problem


def _read_only(*arrays: np.ndarray) -> Any:
    views = tuple(np.ascontiguousarray(array).view(np.ndarray)[:] for array in arrays)
    for view in views:
        view.setflags(write=False)
    return views


def _scores(score: Any) -> np.ndarray:
    values = np.asarray(score)
    if values.ndim != 1 or (values.size and values.dtype.kind not in "fiu"):
        raise ProblemError(
            f"score is {values.dtype} of {values.ndim} dimensions, expected numbers of 1 dimension: one an edge"
        )
    return values.astype(np.float32) if values.dtype.kind != "f" else values


def _same_length(item: np.ndarray, user: np.ndarray, score: np.ndarray) -> None:
    if not item.size == user.size == score.size:
        sizes = f"{item.size}, {user.size} and {score.size}"
        raise ProblemError(f"item, user and score have {sizes} entries, expected one each for every edge")


def _check_scores(score: np.ndarray, describe: Any) -> None:
    limit = np.finfo(np.float32).max
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~((score >= 0) & (score <= limit)))
    if wrong.size:
        edge = int(wrong[0])
        raise ProblemError(
            f"score of {describe(edge)} (edge {edge}) is {score[edge]}, expected a finite number from 0 to {limit:.1e}"
        )


def _integers(values: Any, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ProblemError(f"{name} is {array.dtype} of {array.ndim} dimensions, expected integers of 1 dimension")
    return array if array.size else array.astype(np.int64)


def _names(ids: Any | None, side: str, rows: int) -> np.ndarray | None:
    if ids is None:
        return None
    array = _read_only(id_rows([], side, ids).ids)[0]
    if array.size != rows:
        raise ProblemError(f"{side}_ids has {array.size} entries, expected {rows}: one for each {side}")
    return array


def _amounts(given: Any, name: str, side: str, ids: np.ndarray, aligned: bool) -> np.ndarray:
    """Demand or capacity of each row, int32, from a number, a mapping or an array."""
    if isinstance(given, Mapping):
        given = _from_mapping(given, name, side, ids)
    elif np.ndim(given) and not aligned:
        raise ProblemError(f"{name} is an array, so {side}_ids must say which {side} each of its entries is for")
    values = np.asarray(given)
    if values.size and values.dtype.kind not in "iu":
        raise ProblemError(f"{name} is {values.dtype}, expected whole numbers")
    if values.ndim and values.shape != ids.shape:
        raise ProblemError(
            f"{name} has shape {values.shape}, expected {ids.shape}: one entry for each of the {ids.size} {side}s"
        )
    rows = np.broadcast_to(values, ids.shape)
    wrong = np.flatnonzero((rows < 0) | (rows > INT32_MAX))
    if wrong.size:
        row = wrong[0]
        raise ProblemError(
            f"{name} of {side} {ids[row].item()!r} is {rows[row]}, expected a whole number from 0 to {INT32_MAX}"
        )
    return rows.astype(np.int32)


def _from_mapping(given: Mapping[Any, Any], name: str, side: str, ids: np.ndarray) -> np.ndarray:
    values = [given.get(one) for one in ids.tolist()]
    for one, value in zip(ids.tolist(), values, strict=True):
        if value is None:
            raise ProblemError(
                f"{name} has no entry for {side} {one!r}, expected one for each of the {ids.size} {side}s"
            )
    unknown = set(id_array(list(given), side).tolist()) - set(ids.tolist())
    if unknown:
        raise ProblemError(f"{name} has an entry for {side} {min(unknown)!r}, which is not in the problem")
    return np.array(values) if values else np.zeros(0, np.int64)


def _edge_order(items: IdRows, users: IdRows) -> np.ndarray | None:
    """Order of the edges by (item row, user row), or None where they stand so already; no pair twice."""
    if max(items.ids.size, users.ids.size) > INT32_MAX:
        raise ProblemError(f"{items.ids.size} items and {users.ids.size} users, expected at most {INT32_MAX} of each")
    key = items.rows.astype(np.int64) * max(users.ids.size, 1) + users.rows
    if (key[1:] > key[:-1]).all():
        return None
    order = np.argsort(key, kind="stable")
    key = key[order]
    repeats = np.flatnonzero(key[1:] == key[:-1])
    if repeats.size:
        first, second = order[repeats[0]], order[repeats[0] + 1]
        item, user = items.ids[items.rows[first]].item(), users.ids[users.rows[first]].item()
        raise ProblemError(
            f"item {item!r} and user {user!r} are paired twice, at edges {first} and {second}, expected once"
        )
    return order


def _check_rows(problem: Problem, given_users: np.ndarray) -> None:
    """Users known and strictly ascending inside each item, scores in range."""

    def names(edge: int) -> str:
        user = int(given_users[edge])
        known = problem.user_name(user) if 0 <= user < problem.users else user
        return f"item {problem.item_name(int(problem.item_of(np.array([edge]))[0]))!r}, user {known!r}"

    wrong = np.flatnonzero((given_users < 0) | (given_users >= problem.users))
    if wrong.size:
        edge = int(wrong[0])
        raise ProblemError(
            f"{names(edge)} (edge {edge}): there is no such user, expected rows 0 to {problem.users - 1}"
        )
    falls = np.flatnonzero(problem.user[1:] <= problem.user[:-1]) + 1
    inside = falls[~np.isin(falls, problem.indptr)]
    if inside.size:
        edge = int(inside[0])
        raise ProblemError(
            f"{names(edge)} (edge {edge}) stands after a user of the same or a higher row, expected rising rows"
        )
    _check_scores(problem.score, names)
