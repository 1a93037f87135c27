"""What narrows a problem further, given when it is made: floors, caps per (user, creator), pairs that are excluded."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from .errors import ProblemError
from .ids import INT32_MAX, id_array, id_rows, known_rows
from .problem_amounts import amounts
from .problem_kernels import drop_pairs, number_groups

if TYPE_CHECKING:
    from .problem import Problem


class Limits(TypedDict, total=False):
    """Keywords that every way to make a problem takes; each may be left out.

    floor        fewest users an item should get, at most its demand: a number, an array like `demand`, or a mapping
                 from item id (0 where it has no entry). A floor that cannot be met is no error
    creator      who made each item: a mapping from item id to creator id, or an array of creator ids like `demand`
                 (None in an array, or no entry: unknown)
    creator_cap  most items of one creator for one user: a number, or a mapping from creator id (no entry: no cap)
    exclude      two columns of ids (item, user): pairs that must not be matched, as blocked or seen. Pairs that are no
                 candidates are fine
    author       mapping from item id to user id, or an array of user ids like `demand`: these pairs are excluded too

    An entry of `floor` for an item that is not in the problem is an error. `creator`, `creator_cap`, `exclude` and
    `author` may name items, creators and users that are not.
    """

    floor: Any
    creator: Any
    creator_cap: Any
    exclude: tuple[Any, Any] | None
    author: Any


Allocate = Callable[[str, int, Any], np.ndarray]


def check_given(limits: Limits) -> None:
    """Looks at the keywords before any edge is read: TypeError for an unknown one, ProblemError for one left out."""
    unknown = next((name for name in limits if name not in Limits.__annotations__), None)
    if unknown is not None:
        raise TypeError(f"unexpected keyword {unknown!r}, the limits are {', '.join(Limits.__annotations__)}")
    if limits.get("creator") is None and limits.get("creator_cap") is not None:
        raise ProblemError("creator_cap is given without creator, expected who made each item")


def in_memory(_name: str, size: int, dtype: Any) -> np.ndarray:
    """A new array of the problem, in main memory; the contents are whatever was there."""
    return np.empty(size, dtype)


def with_limits(
    problem: "Problem",
    aligned: bool = True,
    allocate: Allocate = in_memory,
    *,
    floor: Any = None,
    creator: Any = None,
    creator_cap: Any = None,
    exclude: tuple[Any, Any] | None = None,
    author: Any = None,
) -> "Problem":
    """The problem narrowed by what is given, see `Limits`.

    `aligned`: whether arrays along items mean something. `allocate(name, size, dtype)` makes the array of groups.
    Raises ProblemError naming the item, user or creator.
    """
    if exclude is not None or author is not None:
        problem = _without(problem, *excluded_pairs(problem, exclude, author, aligned))
    if floor is not None:
        problem = _with_floor(problem, floor, aligned)
    if creator is not None:
        problem = _with_creator(problem, creator, aligned)
    return problem if creator_cap is None else _with_groups(problem, creator_cap, allocate)


def excluded_pairs(
    problem: "Problem", exclude: tuple[Any, Any] | None, author: Any, aligned: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Item rows and user rows int64[pairs] of the excluded pairs whose item and user both exist."""
    item, user = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    if exclude is not None:
        columns = _pair_columns(exclude)
        item.append(known_rows(columns[0], "excluded item", problem.item_ids, problem.items))
        user.append(known_rows(columns[1], "excluded user", problem.user_ids, problem.users))
    if author is not None:
        rows, ids = _along_items(problem, author, "author", aligned)
        item.append(rows)
        user.append(known_rows(ids, "author", problem.user_ids, problem.users))
    items, users = np.concatenate(item), np.concatenate(user)
    known = (items >= 0) & (users >= 0)
    return items[known], users[known]


def _pair_columns(exclude: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(exclude, tuple | list) or len(exclude) != 2:
        raise ProblemError(f"exclude is {type(exclude).__name__}, expected two columns of ids: (items, users)")
    if isinstance(exclude, list) and all(isinstance(one, tuple) for one in exclude):
        raise ProblemError(
            f"exclude looks like a list of pairs ({exclude[0]!r} and another), expected two columns of ids: (items, users)"
        )
    item, user = id_array(exclude[0], "excluded item"), id_array(exclude[1], "excluded user")
    if item.size != user.size:
        raise ProblemError(f"exclude has {item.size} items and {user.size} users, expected one each for every pair")
    return item, user


def _without(problem: "Problem", item: np.ndarray, user: np.ndarray) -> "Problem":
    keep = np.ones(problem.edges, bool)
    drop_pairs(problem.indptr, problem.user, item, user, keep)
    dropped = np.flatnonzero(~keep)
    if dropped.size == 0:
        return problem
    indptr = problem.indptr - np.searchsorted(dropped, problem.indptr)
    edges = read_only(indptr, problem.user[keep], problem.score[keep])
    return replace(problem, indptr=edges[0], user=edges[1], score=edges[2], **how_many_dropped(problem, dropped))


def how_many_dropped(problem: "Problem", dropped: np.ndarray) -> dict[str, Any]:
    """The fields `excluded` and `item_excluded` once these edges of the problem (ascending) are dropped."""
    by_item = problem.item_load(dropped).astype(np.int32)
    return {"excluded": dropped.size, "item_excluded": read_only(by_item)[0] if dropped.size else None}


def _with_floor(problem: "Problem", floor: Any, aligned: bool) -> "Problem":
    ids = np.arange(problem.items) if problem.item_ids is None else problem.item_ids
    least = amounts(floor, "floor", "item", ids, aligned=aligned, missing=0)
    above = np.flatnonzero(least > problem.demand)
    if above.size:
        row = int(above[0])
        raise ProblemError(
            f"floor of item {problem.item_name(row)!r} is {least[row]}, expected at most its demand of "
            f"{problem.demand[row]}"
        )
    return replace(problem, floor=read_only(least)[0]) if least.any() else problem


def _with_creator(problem: "Problem", creator: Any, aligned: bool) -> "Problem":
    rows, ids = _along_items(problem, creator, "creator", aligned)
    known = id_rows(ids, "creator", None)
    row_of = np.full(problem.items, -1, np.int32)
    row_of[rows] = known.rows
    row_of, names = read_only(row_of, known.ids)
    return replace(problem, creator=row_of, creator_ids=names)


def _along_items(problem: "Problem", given: Any, name: str, aligned: bool) -> tuple[np.ndarray, np.ndarray]:
    """Item rows int64[n] and the id that `given`, a mapping from item id or an array along items, has for each."""
    if isinstance(given, Mapping):
        known = {item: value for item, value in given.items() if value is not None}
        rows = known_rows(list(known), f"{name}'s item", problem.item_ids, problem.items)
        return rows[rows >= 0], id_array(list(known.values()), name)[rows >= 0]
    if not aligned:
        raise ProblemError(f"{name} is an array, so item_ids must say which item each of its entries is for")
    values = np.asarray(given)
    if values.shape != (problem.items,):
        raise ProblemError(f"{name} has shape {values.shape}, expected ({problem.items},): one entry for each item")
    present = np.flatnonzero([value is not None for value in values]) if values.dtype.kind == "O" else slice(None)
    return np.arange(problem.items)[present], id_array(values[present], name)


def _with_groups(problem: "Problem", creator_cap: Any, allocate: Allocate) -> "Problem":
    if problem.creator is None or problem.creator_ids is None:
        return problem
    cap = _caps(creator_cap, problem.creator_ids)
    order = np.argsort(problem.creator, kind="stable")
    start = np.searchsorted(problem.creator[order], np.arange(cap.size + 1))
    rows, none = (problem.indptr, problem.user), np.empty(0, np.int32)
    found = number_groups(rows, (start, order), cap, problem.capacity, none, none)
    if found == 0:
        return problem
    group, limit = allocate("group", problem.edges, np.int32), np.empty(found, np.int32)
    group[:] = -1
    number_groups(rows, (start, order), cap, problem.capacity, group, limit)
    group, limit = read_only(group, limit)
    return replace(problem, group=group, group_limit=limit)


def _caps(given: Any, ids: np.ndarray) -> np.ndarray:
    """Cap of each creator, int64[creators]; INT32_MAX where there is none."""
    if not isinstance(given, Mapping):
        if np.ndim(given):
            raise ProblemError("creator_cap is an array, expected one number or a mapping from creator id")
        return amounts(given, "creator_cap", "creator", ids).astype(np.int64)
    known = set(ids.tolist())
    if given and known and isinstance(next(iter(given)), str) != (ids.dtype.kind == "U"):
        raise ProblemError(f"creator_cap names creator {next(iter(given))!r}, expected ids as {ids[0].item()!r}")
    caps = {creator: cap for creator, cap in given.items() if creator in known}
    return amounts(caps, "creator_cap", "creator", ids, missing=INT32_MAX).astype(np.int64)


def read_only(*arrays: np.ndarray) -> Any:
    """The arrays, contiguous, as views that nobody can write through."""
    views = tuple(np.ascontiguousarray(array).view(np.ndarray)[:] for array in arrays)
    for view in views:
        view.setflags(write=False)
    return views
