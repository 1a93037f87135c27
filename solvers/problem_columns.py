"""Problems from columns of ids, in any order of edges: lists, NumPy, pandas, Arrow."""

import difflib
from typing import Any

import numpy as np

from .errors import ProblemError
from .ids import INT32_MAX, IdRows, id_rows
from .problem_amounts import amounts
from .problem_limits import read_only
from .problem_scores import refuse_scores, score_array, to_stored


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
    order = _edge_order(items, users)
    indptr = np.zeros(items.ids.size + 1, np.int64)
    np.cumsum(np.bincount(items.rows, minlength=items.ids.size), out=indptr[1:])
    user_rows, scores = users.rows.astype(np.int32), np.abs(to_stored(given))  # abs: a copy, and no -0
    if order is not None:
        user_rows, scores = user_rows[order], scores[order]
    return indptr, user_rows, scores, items.ids, users.ids


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
