"""The certificate: value, bound and gap from (problem, chosen edges, user prices) alone, by code that is no solver's.

For any prices p >= 0 no allocation is worth more than

    D(p) = sum_u Q_u p_u + sum_i ( sum of the L_i largest of max(0, w_iu - p_u) ),

by linear programming duality. A solver that errs, or that was stopped, can loosen the bound but never break it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .certificate_kernels import item_profits, lowest_place
from .errors import AllocationError, ProblemError
from .problem import Problem


@dataclass(frozen=True)
class Certificate:
    """What was earned, what at most could be, and the gap between: (bound - value) / bound, 0 where bound is 0."""

    value: float
    bound: float
    gap: float


def certify(problem: Problem, chosen: np.ndarray, user_prices: np.ndarray | None = None) -> Certificate:
    """Value, bound and gap, after checking every limit. Raises like `check` and `upper_bound`."""
    check(problem, chosen)
    value = total_score(problem, chosen)
    bound = upper_bound(problem, user_prices)
    return Certificate(value, bound, relative_gap(value, bound))


def relative_gap(value: float, bound: float) -> float:
    """(bound - value) / bound, at least 0 (rounding may lift the value of an optimum above its bound by an ulp)."""
    return max(0.0, (bound - value) / bound) if bound > 0 else 0.0


def total_score(problem: Problem, chosen: np.ndarray) -> float:
    """Sum of the scores of the chosen edges, in float64."""
    return float(problem.score[chosen].sum(dtype=np.float64))


def upper_bound(problem: Problem, user_prices: np.ndarray | None = None) -> float:
    """D(p) of the module's formula: no allocation is worth more. O(edges) time, one row of scratch.

    `user_prices`: float64[users], finite, >= 0. None gives the trivial bound, the lower of two: every item gets its
    best users as if alone, every user its best items as if alone. Raises ProblemError for other prices.
    """
    if user_prices is None:
        return min(_dual_value(problem, np.zeros(problem.users)), _dual_value(problem, _own_best(problem)))
    return _dual_value(problem, check_prices(problem, user_prices))


def check_prices(problem: Problem, user_prices: Any) -> np.ndarray:
    """The prices as float64[users]; raises ProblemError where one is missing, not finite or negative."""
    prices = np.asarray(user_prices, dtype=np.float64)
    if prices.shape != (problem.users,):
        raise ProblemError(f"user prices have shape {prices.shape}, expected ({problem.users},): one for each user")
    wrong = np.flatnonzero(~((prices >= 0) & (prices < np.inf)))
    if wrong.size:
        user = int(wrong[0])
        raise ProblemError(
            f"price of user {problem.user_name(user)!r} is {prices[user]}, expected a finite number >= 0"
        )
    return np.ascontiguousarray(prices)


def check(problem: Problem, chosen: np.ndarray) -> None:
    """Raises AllocationError unless every chosen edge exists, stands once, and no item or user is over its limit.

    `chosen`: integer edge numbers, in any order.
    """
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise AllocationError(
            f"chosen edges are {chosen.dtype} of {chosen.ndim} dimensions, expected integers of 1 dimension"
        )
    outside = chosen[(chosen < 0) | (chosen >= problem.edges)]
    if outside.size:
        raise AllocationError(f"edge {outside[0]} is chosen, expected 0 to {problem.edges - 1}")
    ordered = chosen if (chosen[1:] > chosen[:-1]).all() else np.sort(chosen)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if twice.size:
        item, user = int(problem.item_of(twice[:1])[0]), int(problem.user[twice[0]])
        pair = f"item {problem.item_name(item)!r} and user {problem.user_name(user)!r}"
        raise AllocationError(f"{pair} are matched twice (edge {twice[0]}), expected once")
    _within(problem.item_load(ordered), problem.demand, "item", "demand", problem.item_name)
    _within(
        np.bincount(problem.user[ordered], minlength=problem.users),
        problem.capacity,
        "user",
        "capacity",
        problem.user_name,
    )


def _within(load: np.ndarray, limit: np.ndarray, side: str, limit_name: str, name: Any) -> None:
    over = np.flatnonzero(load > limit)
    if over.size:
        row = int(over[0])
        raise AllocationError(f"{side} {name(row)!r} has {load[row]} matches, over its {limit_name} of {limit[row]}")


def _dual_value(problem: Problem, prices: np.ndarray) -> float:
    profits = np.zeros(problem.items)
    item_profits(problem.indptr, problem.user, problem.score, problem.demand, prices, profits)
    return float(profits.sum() + np.dot(problem.capacity.astype(np.float64), prices))


def _own_best(problem: Problem) -> np.ndarray:
    """Prices whose bound is at most what users could take if each chose its own best items."""
    prices = np.zeros(problem.users)
    order = np.argsort(problem.score, kind="stable")[::-1]
    lowest_place(order, problem.user, problem.score, problem.capacity, prices)
    return prices
