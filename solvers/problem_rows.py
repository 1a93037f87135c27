"""Problems whose edges stand by item already: CSR arrays, padded rows, SciPy's sparse matrices."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ProblemError
from .ids import INT32_MAX, id_rows
from .problem_kernels import first_wrong_item, sort_rows
from .problem_limits import read_only
from .problem_scores import highest_bits, refuse_scores, score_array, to_stored
from .threads import over_items

if TYPE_CHECKING:
    from .problem import Problem


def integers(values: Any, name: str) -> np.ndarray:
    """An array of integers of one dimension; raises ProblemError for anything else."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ProblemError(f"{name} is {array.dtype} of {array.ndim} dimensions, expected integers of 1 dimension")
    return array if array.size else array.astype(np.int64)


def row_ends(indptr: Any, edges: int) -> np.ndarray:
    """indptr as int64[items + 1], from 0, never falling, up to the number of edges; raises ProblemError otherwise."""
    ends = integers(indptr, "indptr").astype(np.int64, copy=False)
    if ends.size < 1 or ends[0] != 0 or ends[-1] != edges or (np.diff(ends) < 0).any():
        raise ProblemError(f"indptr must start at 0, never fall and end at the number of edges ({edges})")
    return ends


def row_ids(ids: Any | None, side: str, rows: int) -> np.ndarray | None:
    """Outside ids of `rows` rows, each once, read-only; None for None. Raises ProblemError."""
    if ids is None:
        return None
    array: np.ndarray = read_only(id_rows([], side, ids).ids)[0]
    if array.size != rows:
        raise ProblemError(f"{side}_ids has {array.size} entries, expected {rows}: one for each {side}")
    return array


def user_count(capacity: Any, user_ids: Any | None) -> int:
    """Number of users, from their ids or from one capacity for each."""
    if user_ids is not None:
        return len(user_ids)
    if np.ndim(capacity) != 1:
        raise ProblemError("capacity must be an array with one entry for each user, or user_ids must be given")
    return len(capacity)


def edge_arrays(user: Any, score: Any) -> tuple[np.ndarray, np.ndarray]:
    """The columns of edges as given: integers and numbers of one length, not copied. Raises ProblemError."""
    users, scores = integers(user, "user"), score_array(score)
    if scores.size != users.size:
        raise ProblemError(f"score has {scores.size} entries, expected {users.size}: one for each edge in user")
    return users, scores


def checked_edges(problem: "Problem", users: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The edges int32 and float32 (or float16), once users are known and ascending inside items and scores in range.

    `problem` tells rows and names; its own edges are not looked at. Arrays of the right dtype are not copied.
    """
    if max(problem.items, problem.users) > INT32_MAX:
        raise ProblemError(f"{problem.items} items and {problem.users} users, expected at most {INT32_MAX} of each")
    if users.dtype not in (np.int32, np.int64):
        users = users.astype(np.int64)
    stored = to_stored(scores)
    if _first_wrong(problem, users, stored) >= 0:
        _refuse(problem, users, scores)
        stored = stored + stored.dtype.type(0.0)  # nothing is wrong but -0
    return users.astype(np.int32, copy=False), stored


def _first_wrong(problem: "Problem", users: np.ndarray, stored: np.ndarray) -> int:
    """Row of an item with a wrong edge, or -1."""
    found: list[int] = []
    bits = np.ascontiguousarray(stored).view(f"u{stored.dtype.itemsize}")
    rows, most = (problem.indptr, users, bits), highest_bits(stored.dtype)
    over_items(
        lambda first, last: found.append(first_wrong_item(rows, problem.users, most, first, last)), problem.indptr
    )
    return max(found)


def _refuse(problem: "Problem", users: np.ndarray, scores: np.ndarray) -> None:
    """Raises ProblemError for the first wrong edge of each kind, looked for one after the other."""

    def names(edge: int) -> str:
        user, item = int(users[edge]), int(problem.item_of(np.array([edge]))[0])
        known = problem.user_name(user) if 0 <= user < problem.users else user
        return f"item {problem.item_name(item)!r}, user {known!r}"

    wrong = np.flatnonzero((users < 0) | (users >= problem.users))
    if wrong.size:
        edge, last = int(wrong[0]), problem.users - 1
        raise ProblemError(f"{names(edge)} (edge {edge}): there is no such user, expected rows 0 to {last}")
    falls = np.flatnonzero(users[1:] <= users[:-1]) + 1
    inside = falls[~np.isin(falls, problem.indptr)]
    if inside.size:
        edge = int(inside[0])
        if users[edge] == users[edge - 1]:
            raise ProblemError(f"{names(edge)} are paired twice, at edges {edge - 1} and {edge}, expected once")
        raise ProblemError(f"{names(edge)} (edge {edge}) stands after a user of a higher row, expected rising rows")
    refuse_scores(scores, names)


def rows_of_padded(user: Any, score: Any, item_ids: Any | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """indptr, user and score of rows padded with -1, users ascending inside an item.

    user int[items, width], score [items, width]; scores beside -1 are not looked at. Raises ProblemError.
    """
    users, scores = np.asarray(user), np.asarray(score)
    if users.ndim != 2 or users.dtype.kind not in "iu":
        raise ProblemError(f"user is {users.dtype} of {users.ndim} dimensions, expected integers (items, width)")
    if scores.shape != users.shape:
        raise ProblemError(f"score has shape {scores.shape}, expected {users.shape}: that of user")
    present = users != -1
    indptr = np.zeros(users.shape[0] + 1, np.int64)
    np.cumsum(np.count_nonzero(present, axis=1), out=indptr[1:])
    row_users, row_scores = users[present].astype(np.int64), score_array(scores[present])
    if row_users.size and not 0 <= row_users.min() <= row_users.max() <= INT32_MAX:
        item, place = np.argwhere(present & ((users < 0) | (users > INT32_MAX)))[0]
        name = int(item) if item_ids is None else list(item_ids)[item]
        raise ProblemError(f"user {users[item, place]} of item {name!r} is no row, expected -1 or rows from 0")
    if row_scores.dtype not in (np.float16, np.float32):
        row_scores = row_scores.astype(np.float64)
    bits = row_scores.view(f"u{row_scores.itemsize}")
    over_items(lambda first, last: sort_rows(indptr, row_users, bits, first, last), indptr)
    return indptr, row_users, row_scores


def rows_of_sparse(matrix: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """indptr, user and score of a SciPy sparse array or matrix (items x users); stored zeros stay, as do duplicates."""
    if getattr(matrix, "ndim", None) != 2 or not hasattr(matrix, "tocoo"):
        raise ProblemError(f"matrix is {type(matrix).__name__}, expected a SciPy sparse array of 2 dimensions")
    if matrix.format == "csr":
        rows = matrix if matrix.has_sorted_indices else matrix.sorted_indices()
        return rows.indptr, rows.indices, rows.data
    entries = matrix.tocoo()
    order = np.lexsort((entries.col, entries.row))
    indptr = np.zeros(matrix.shape[0] + 1, np.int64)
    np.cumsum(np.bincount(entries.row, minlength=matrix.shape[0]), out=indptr[1:])
    return indptr, entries.col[order], entries.data[order]
