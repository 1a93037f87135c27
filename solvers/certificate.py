"""The certificate: value, bound and gap from (problem, chosen edges, prices) alone, by code that is no solver's.

For any user prices p >= 0 and prices r >= 0 of the (user, creator) limits, with net_iu = w_iu - p_u - r_group(iu), no
allocation is worth more than

    D(p, r) = sum_u Q_u p_u + sum_g limit_g r_g + sum_i ( sum of the L_i largest of max(0, net_iu) ),

by linear programming duality. Where item i must have at least m_i users, its m_i largest nets count as they are, below
0 too: the bound is then for every allocation that gives each item at least m_i users. A solver that errs, or that was
stopped, can loosen the bound but never break it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .certificate_kernels import SUMMED, Limits, Rows, item_profits, lowest_place, sum_of_scores, tally
from .errors import AllocationError, ProblemError
from .problem import Problem
from .threads import EDGES_WORTH_A_THREAD, at_once, cores, over_items


@dataclass(frozen=True)
class Certificate:
    """What was earned, what at most could be, and the gap between: (bound - value) / bound, 0 where bound is 0."""

    value: float
    bound: float
    gap: float


def certify(
    problem: Problem,
    chosen: np.ndarray,
    user_prices: np.ndarray | None = None,
    group_prices: np.ndarray | None = None,
    *,
    threads: int | None = None,
) -> Certificate:
    """Value, bound and gap, after checking every limit. Raises like `check` and `upper_bound`.

    Where the problem has floors, the bound is for allocations that give each item min(floor, its users in `chosen`):
    all of them where every floor is met.
    """
    value, item_load, _ = checked(problem, np.asarray(chosen), threads)
    least = None if problem.floor is None else np.minimum(problem.floor, item_load)
    bound = upper_bound(problem, user_prices, group_prices=group_prices, least=least, threads=threads)
    return Certificate(value, bound, relative_gap(value, bound))


def relative_gap(value: float, bound: float) -> float:
    """(bound - value) / bound, at least 0 (rounding may lift the value of an optimum above its bound by an ulp)."""
    return max(0.0, (bound - value) / bound) if bound > 0 else 0.0


def total_score(problem: Problem, chosen: np.ndarray) -> float:
    """Sum of the scores of the chosen edges, in float64; raises AllocationError for one that is no edge."""
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < problem.edges:
        _refuse_edges(problem, np.sort(chosen))
    sums = np.zeros(chosen.size // SUMMED + 1)
    sum_of_scores(chosen, problem.stored_score(), sums)
    return float(sums.sum())


def upper_bound(
    problem: Problem,
    user_prices: np.ndarray | None = None,
    *,
    group_prices: np.ndarray | None = None,
    least: np.ndarray | None = None,
    threads: int | None = None,
) -> float:
    """D(p, r) of the module's formula: no allocation is worth more. One pass over the edges, one row of scratch.

    user_prices   float64[users], finite, >= 0. None gives the trivial bound, the lower of two: every item gets its best
                  users as if alone, every user its best items as if alone
    group_prices  float64[groups], finite, >= 0; None: all 0
    least         int[items], users that each item has at the least (0 to its demand and its edges); None: 0 for all.
                  Floors of the problem are not looked at
    threads       how many threads read the edges; None or 0: one for each core. The bound does not depend on it

    Raises ProblemError for other prices or another `least`.
    """
    if group_prices is not None:
        group_prices = check_group_prices(problem, group_prices)
    if least is not None:
        least = _check_least(problem, least)
    if user_prices is not None:
        return _dual_value(problem, check_prices(problem, user_prices), group_prices, least, threads)
    trivial = (np.zeros(problem.users), _own_best(problem))
    return min(_dual_value(problem, prices, group_prices, least, threads) for prices in trivial)


def check_prices(problem: Problem, user_prices: Any) -> np.ndarray:
    """The prices as float64[users]; raises ProblemError where one is missing, not finite or negative."""
    prices = np.asarray(user_prices, dtype=np.float64)
    if prices.shape != (problem.users,):
        raise ProblemError(f"user prices have shape {prices.shape}, expected ({problem.users},): one for each user")
    user = _first_wrong_price(prices)
    if user >= 0:
        raise ProblemError(
            f"price of user {problem.user_name(user)!r} is {prices[user]}, expected a finite number >= 0"
        )
    return np.ascontiguousarray(prices)


def check_group_prices(problem: Problem, group_prices: Any) -> np.ndarray:
    """The prices as float64[groups]; raises ProblemError where one is missing, not finite or negative."""
    prices = np.asarray(group_prices, dtype=np.float64)
    if prices.shape != (problem.groups,):
        raise ProblemError(
            f"group prices have shape {prices.shape}, expected ({problem.groups},): one for each (user, creator) limit"
        )
    group = _first_wrong_price(prices)
    if group >= 0:
        raise ProblemError(
            f"price of the limit of {problem.group_name(group)} is {prices[group]}, expected a finite number >= 0"
        )
    return np.ascontiguousarray(prices)


def check(problem: Problem, chosen: np.ndarray) -> None:
    """Raises AllocationError unless every chosen edge exists, stands once, and nobody is over a limit.

    `chosen`: integer edge numbers, in any order. The limits are those of items, of users, and of users with one creator.
    """
    checked(problem, np.asarray(chosen))


def checked(problem: Problem, chosen: np.ndarray, threads: int | None = None) -> tuple[float, np.ndarray, np.ndarray]:
    """The sum of the scores, each item's users, int64[items], and each user's items, int32[users], after `check`."""
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise AllocationError(
            f"chosen edges are {chosen.dtype} of {chosen.ndim} dimensions, expected integers of 1 dimension"
        )
    found = _tally(problem, chosen, threads)
    if found is None:
        chosen = np.sort(chosen)
        _refuse_edges(problem, chosen)
        found = _tally(problem, chosen, threads)
        assert found is not None
    value, user_load = found
    item_load = problem.item_load(chosen)
    _within(item_load, problem.demand, "item", "demand", problem.item_name)
    _within(user_load, problem.capacity, "user", "capacity", problem.user_name)
    if problem.group is not None and problem.group_limit is not None:
        _within_groups(problem, problem.group[chosen], problem.group_limit)
    return value, item_load, user_load


def _tally(problem: Problem, chosen: np.ndarray, threads: int | None) -> tuple[float, np.ndarray] | None:
    """The sum of the scores and each user's matches, int32[users]; None where `chosen` are not ascending edges."""
    blocks = chosen.size // SUMMED + 1
    sums, score = np.zeros(blocks), problem.stored_score()
    parts = max(1, min(threads or cores(), chosen.size // EDGES_WORTH_A_THREAD))
    ends = [min(chosen.size, SUMMED * (blocks * part // parts)) for part in range(parts)] + [chosen.size]
    loads = np.zeros((parts, problem.users), np.int32)

    def count(part: int) -> int:
        return tally(chosen, problem.edges, problem.user, score, ends[part], ends[part + 1], sums, loads[part])

    if max(at_once(count, parts)) >= 0:
        return None
    return float(sums.sum()), loads[0] if parts == 1 else loads.sum(axis=0, dtype=np.int32)


def _refuse_edges(problem: Problem, ordered: np.ndarray) -> None:
    """Raises where an edge of the sorted `ordered` is none or stands twice."""
    outside = ordered[(ordered < 0) | (ordered >= problem.edges)]
    if outside.size:
        raise AllocationError(f"edge {outside[0]} is chosen, expected 0 to {problem.edges - 1}")
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if twice.size:
        item, user = int(problem.item_of(twice[:1])[0]), int(problem.user[twice[0]])
        pair = f"item {problem.item_name(item)!r} and user {problem.user_name(user)!r}"
        raise AllocationError(f"{pair} are matched twice (edge {twice[0]}), expected once")


def _within(load: np.ndarray, limit: np.ndarray, side: str, limit_name: str, name: Any) -> None:
    over = np.flatnonzero(load > limit)
    if over.size:
        row = int(over[0])
        raise AllocationError(f"{side} {name(row)!r} has {load[row]} matches, over its {limit_name} of {limit[row]}")


def _within_groups(problem: Problem, group: np.ndarray, limit: np.ndarray) -> None:
    load = np.bincount(group[group >= 0], minlength=limit.size)
    over = np.flatnonzero(load > limit)
    if over.size:
        row = int(over[0])
        raise AllocationError(f"{problem.group_name(row)} have {load[row]} matches, over the limit of {limit[row]}")


def _first_wrong_price(prices: np.ndarray) -> int:
    """Row of the first price that is not finite and >= 0; -1 where all are."""
    wrong = np.flatnonzero(~((prices >= 0) & (prices < np.inf)))
    return int(wrong[0]) if wrong.size else -1


def _check_least(problem: Problem, least: Any) -> np.ndarray:
    counts = np.asarray(least)
    if counts.shape != (problem.items,) or counts.dtype.kind not in "iu":
        raise ProblemError(
            f"least is {counts.dtype} of shape {counts.shape}, expected whole numbers ({problem.items},): one an item"
        )
    most = np.minimum(problem.demand, np.diff(problem.indptr))
    wrong = np.flatnonzero((counts < 0) | (counts > most))
    if wrong.size:
        item = int(wrong[0])
        raise ProblemError(
            f"least of item {problem.item_name(item)!r} is {counts[item]}, expected 0 to {most[item]}: "
            f"its demand is {problem.demand[item]}"
        )
    return np.ascontiguousarray(counts, dtype=np.int32)


def item_bounds(
    problem: Problem,
    prices: np.ndarray,
    group_prices: np.ndarray | None = None,
    least: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """What each item can earn at most at these prices, float64[items]: the last term of the module's formula.

    The arguments are those of `upper_bound`, checked already.
    """
    profits = np.zeros(problem.items)
    rows = Rows(problem.indptr, problem.user, problem.stored_score(), problem.demand)
    limits = _limits(problem, group_prices, least)
    over_items(lambda first, last: item_profits(rows, prices, limits, first, last, profits), problem.indptr, threads)
    return profits


def _dual_value(
    problem: Problem,
    prices: np.ndarray,
    group_prices: np.ndarray | None = None,
    least: np.ndarray | None = None,
    threads: int | None = None,
) -> float:
    profits = item_bounds(problem, prices, group_prices, least, threads)
    total = float(profits.sum() + np.dot(problem.capacity.astype(np.float64), prices))
    if group_prices is not None and problem.group_limit is not None:
        total += float(np.dot(problem.group_limit.astype(np.float64), group_prices))
    return total


def _limits(problem: Problem, group_prices: np.ndarray | None, least: np.ndarray | None) -> Limits:
    none = np.empty(0, np.int32)
    least = none if least is None else least
    if problem.group is None or group_prices is None:
        return Limits(none, np.empty(0), least)
    return Limits(problem.group, group_prices, least)


def _own_best(problem: Problem) -> np.ndarray:
    """Prices whose bound is at most what users could take if each chose its own best items."""
    prices = np.zeros(problem.users)
    order = np.argsort(problem.score, kind="stable")[::-1]
    lowest_place(order, problem.user, problem.stored_score(), problem.capacity, prices)
    return prices
