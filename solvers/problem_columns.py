"""Problems from columns of ids, in any order of edges: lists, NumPy, pandas, Arrow."""

import difflib
from typing import Any

import numpy as np

from .errors import ProblemError
from .ids import INT32_MAX, IdRows, id_rows
from .problem_amounts import amounts
from .problem_kernels import place_rows, sort_rows
from .problem_limits import read_only
from .problem_scores import refuse_scores, score_array, to_stored
from .threads import over_items


def edges_by_item(
    item: Any, user: Any, score: Any, item_ids: Any | None, user_ids: Any | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """indptr, user, score, item ids and user ids of `Problem.from_edges`, checked; raises like it."""
    items, users = id_rows(item, "item", item_ids), id_rows(user, "user", user_ids)
    given = score_array(score)
    _same_length(items.rows, users.rows, given)
    refuse_scores(
        given, lambda e: f"item {items.ids[items.rows[e]].item()!r}, user {users.ids[users.rows[e]].item()!r}"
    )
    if max(items.ids.size, users.ids.size) > INT32_MAX:
        raise ProblemError(f"{items.ids.size} items and {users.ids.size} users, expected at most {INT32_MAX} of each")
    indptr = np.zeros(items.ids.size + 1, np.int64)
    np.cumsum(np.bincount(items.rows, minlength=items.ids.size), out=indptr[1:])
    return indptr, *_placed(indptr, items, users, np.abs(to_stored(given))), items.ids, users.ids  # abs: no -0


def _placed(indptr: np.ndarray, items: IdRows, users: IdRows, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """User rows int32 and scores by (item row, user row), by a counting sort; raises ProblemError for a pair twice."""
    bits = score.view(f"u{score.itemsize}")
    user_rows, placed = np.empty(bits.size, np.int32), np.empty_like(bits)
    place_rows((items.rows, users.rows, bits), indptr[:-1].copy(), indptr[1:], user_rows, placed)
    twice: list[int] = []
    over_items(lambda first, last: twice.append(sort_rows(indptr, user_rows, placed, first, last)), indptr)
    if max(twice) >= 0:
        _refuse_repeats(items, users)
    return user_rows, placed.view(score.dtype)


def both_amounts(
    demand: Any, capacity: Any, ids: tuple[np.ndarray, np.ndarray], aligned: tuple[bool, bool]
) -> tuple[np.ndarray, np.ndarray]:
    """Demand int32[items] and capacity int32[users] for rows with these (item, user) ids; raises as `amounts`."""
    wanted = amounts(demand, "demand", "item", ids[0], aligned=aligned[0])
    places = amounts(capacity, "capacity", "user", ids[1], aligned=aligned[1])
    return read_only(wanted, places)


def frame_column(frame: Any, name: str) -> Any:
    """The column `name` of a pandas (or polars, or Arrow) table; raises ProblemError naming the columns it has."""
    has = [str(one) for one in getattr(frame, "column_names", None) or frame.columns]
    if name not in has:
        near = difflib.get_close_matches(name, has, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ProblemError(f"the frame has no column {name!r}: {hint}it has {', '.join(has) or 'none'}")
    return frame[name]


def _same_length(item: np.ndarray, user: np.ndarray, score: np.ndarray) -> None:
    if not item.size == user.size == score.size:
        sizes = f"{item.size}, {user.size} and {score.size}"
        raise ProblemError(f"item, user and score have {sizes} entries, expected one each for every edge")


def _refuse_repeats(items: IdRows, users: IdRows) -> None:
    """Raises ProblemError naming a pair that stands at two edges, and these."""
    order = np.lexsort((users.rows, items.rows))
    item, user = items.rows[order], users.rows[order]
    repeat = np.flatnonzero((item[1:] == item[:-1]) & (user[1:] == user[:-1]))[0]
    first, second = order[repeat], order[repeat + 1]
    pair = f"item {items.ids[item[repeat]].item()!r} and user {users.ids[user[repeat]].item()!r}"
    raise ProblemError(f"{pair} are paired twice, at edges {first} and {second}, expected once")
