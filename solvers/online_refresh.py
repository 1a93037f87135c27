"""New bid curves in the middle of a day: what arrived so far stands for the rest, filled up with the day before."""

import numpy as np

from .online import OnlineRule
from .online_prices import BidCurves, curves_of
from .problem import Problem
from .solve import solve


def refreshed(
    rule: OnlineRule,
    before: Problem,
    today: Problem,
    gone: float,
    *,
    seed: int = 0,
    gap: float = 3e-3,
    threads: int = 0,
) -> BidCurves:
    """Curves from the items of ``today`` that arrived and, where they are no day yet, random ones of the day ``before``.

    Both problems have the rule's users. One solve of a day's items with the places left, scaled from the rest of the day
    to a whole one; at the sizes of a night a few seconds.
    """
    missing = max(before.items - today.items, 0)
    drawn = np.random.default_rng([seed, today.items]).choice(before.items, missing, replace=False)
    pooled = _joined(today, _rows(before, np.sort(drawn)))
    places = np.ceil(rule.left * (pooled.items / rule.to_come(gone)))
    capacity = np.minimum(places, np.iinfo(np.int32).max).astype(np.int32)
    problem = Problem(pooled.indptr, pooled.user, pooled.score, pooled.demand, capacity)
    solved = solve(problem, gap=gap, threads=threads)
    return curves_of(problem, solved.user_prices, int(rule.capacity.max(initial=0)))


def _rows(problem: Problem, items: np.ndarray) -> Problem:
    """The problem with some of its items."""
    length = np.diff(problem.indptr)[items]
    indptr = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    edge = np.repeat(problem.indptr[items] - indptr[:-1], length) + np.arange(indptr[-1])
    return Problem(indptr, problem.user[edge], problem.score32()[edge], problem.demand[items], problem.capacity)


def _joined(first: Problem, second: Problem) -> Problem:
    """The items of both."""
    indptr = np.concatenate([first.indptr, second.indptr[1:] + first.indptr[-1]])
    user, demand = (np.concatenate([getattr(one, name) for one in (first, second)]) for name in ("user", "demand"))
    return Problem(indptr, user, np.concatenate([first.score32(), second.score32()]), demand, first.capacity)
