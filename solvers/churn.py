"""A limit on changes: the best allocation with at most so many matches that an earlier one did not have."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .allocation import Allocation
from .best import OPTIMAL_GAP
from .churn_search import ChurnSearch
from .errors import ProblemError, SolverError
from .ids import known_rows
from .interrupt import interruptible
from .near_allocation import NearAllocation
from .problem import Problem
from .solve import check_asked
from .start import matched_edges, rows_among
from .step import Clock, Solver


def solve_near(
    problem: Problem,
    previous: Allocation | NearAllocation | Mapping[str, Any],
    most_changes: int,
    solver: str | Solver = "auction",
    *,
    gap: float = 1e-3,
    time_limit: float | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    threads: int = 0,
    throw: bool = False,
) -> NearAllocation:
    """The best allocation of `problem` with at most `most_changes` matches that `previous` did not have.

    previous      an answer of `solve` or `solve_near`, of this or of another problem with some of the same ids, or a
                  mapping or frame with the columns `item` and `user` (outside ids), as from `Allocation.pairs()`
    most_changes  how many matches may be new; a match given up is no change. Never exceeded
    solver        as for `solve`; it solves the problem for each charge. With one that certifies its answers the gap is
                  what the limit leaves between whole and fractional changes, often under 1e-3
    gap           stop once (bound - value) / bound is certified to be at most this
    time_limit, on_step, threads, throw  as for `solve`; the dict of each step has `changed` and `penalty` too

    Floors are met as far as the changes allow. Takes 3 to 10 solves; each is given the prices of the one before, for
    solvers that begin from prices. Raises ProblemError for a limit that is no whole number >= 0, for other columns, and
    as `solve`.
    """
    check_asked(problem, gap, time_limit, threads)
    previous = previous.allocation if isinstance(previous, NearAllocation) else previous
    if not isinstance(most_changes, int | np.integer) or most_changes < 0:
        raise ProblemError(f"most_changes is {most_changes!r}, expected a whole number >= 0")
    before, gone = _edges_before(problem, previous)
    search = ChurnSearch(problem, before, int(most_changes), solver, gap, Clock(time_limit), on_step, threads)
    start = previous if isinstance(previous, Allocation) else None
    try:
        with interruptible(search.clock):
            search.run(start)
    except KeyboardInterrupt:
        if search.first is None:
            raise
        search.clock.interrupted = True
    if throw and search.gap > max(gap, OPTIMAL_GAP):
        raise SolverError(f"solve_near: {search.status.sentence} The gap is {search.gap:.2e}, asked for {gap:.2e}.")
    return search.answer(gone)


def _edges_before(problem: Problem, previous: Allocation | Mapping[str, Any]) -> tuple[np.ndarray, int]:
    """Edges of the earlier matches, int64, ascending, each once, and how many are no edges here."""
    if isinstance(previous, Allocation):
        old = previous.problem
        items = rows_among(problem.item_ids, problem.items, old.item_ids, old.items)[old.item_of(previous.chosen)]
        users = rows_among(problem.user_ids, problem.users, old.user_ids, old.users)[old.user[previous.chosen]]
    else:
        columns = getattr(previous, "column_names", previous)  # an Arrow table's, else the keys
        if not isinstance(columns, Iterable):
            kind = type(previous).__name__
            raise ProblemError(f"previous is {kind}, expected an Allocation or the columns item and user")
        missing = [name for name in ("item", "user") if name not in columns]
        if missing:
            raise ProblemError(f"previous has no column {missing[0]!r}, expected the columns item and user")
        items = known_rows(previous["item"], "item", problem.item_ids, problem.items)
        users = known_rows(previous["user"], "user", problem.user_ids, problem.users)
        if items.size != users.size:
            raise ProblemError(f"previous has {items.size} items and {users.size} users, expected one of each a match")
    edge = matched_edges(problem, items, users)
    return np.unique(edge[edge >= 0]), int((edge < 0).sum())
