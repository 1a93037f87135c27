"""Prices for allocations whose solver has none, good enough for a bound that means something."""

import numpy as np

from .problem import Problem


def lowest_held(problem: Problem, chosen: np.ndarray) -> np.ndarray:
    """The lowest chosen score of each user without a place left, 0 for the others; float64[users]."""
    prices = np.full(problem.users, np.inf)
    np.minimum.at(prices, problem.user[chosen], problem.score[chosen].astype(np.float64))
    load = np.bincount(problem.user[chosen], minlength=problem.users)
    prices[load < problem.capacity] = 0.0
    closed = problem.capacity == 0
    prices[closed] = closed_user_prices(problem)[closed]
    return prices


def lowest_held_groups(problem: Problem, chosen: np.ndarray, prices: np.ndarray) -> np.ndarray | None:
    """What each full (user, creator) group adds to the price of its user, float64[groups]; None without groups.

    The lowest chosen score of the group less the user's price (float64[users]), the best score where the limit is 0.
    """
    if problem.group is None:
        return None
    group, limit = problem.group[chosen], _limits(problem)
    inside = group >= 0
    lowest = np.full(problem.groups, np.inf)
    np.minimum.at(lowest, group[inside], problem.score[chosen[inside]].astype(np.float64))
    full = np.bincount(group[inside], minlength=problem.groups) >= limit
    cost = np.where(limit > 0, np.where(full, lowest, 0.0), closed_group_costs(problem))
    return _above(problem, cost, prices)


def certificate_prices(
    problem: Problem, user_cost: np.ndarray, group_cost: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """User prices float64[users] and group prices float64[groups] from what an edge costs; no group prices without any.

    user_cost   float64[users], what an edge of a user costs if no group costs more
    group_cost  float64[groups], what an edge of a group costs in all, 0 where the group is not full

    Users and groups without places get a price at which no item asks, not even to meet its floor.
    """
    open_users, open_groups = problem.capacity > 0, _limits(problem) > 0
    highest = 0.0
    if problem.floor is not None:
        highest = user_cost.max(initial=0.0, where=open_users) + group_cost.max(initial=0.0, where=open_groups)
    prices = np.where(open_users, user_cost, closed_user_prices(problem) + highest)
    if problem.group is None:
        return prices, None
    return prices, _above(problem, np.where(open_groups, group_cost, closed_group_costs(problem) + highest), prices)


def _above(problem: Problem, cost: np.ndarray, prices: np.ndarray) -> np.ndarray:
    """What each group adds to its user's price so that an edge of it costs `cost` in all, at least 0."""
    group = np.zeros(0, np.int32) if problem.group is None else problem.group
    user, inside = np.zeros(problem.groups, np.int64), np.flatnonzero(group >= 0)
    user[group[inside]] = problem.user[inside]
    return np.maximum(0.0, cost - prices[user])


def _limits(problem: Problem) -> np.ndarray:
    return np.zeros(0, np.int32) if problem.group_limit is None else problem.group_limit


def closed_user_prices(problem: Problem) -> np.ndarray:
    """The best score of each user with capacity 0, 0 for the others: at this price nobody asks; float64[users]."""
    prices = np.zeros(problem.users)
    if not (problem.capacity == 0).any():
        return prices
    edges = np.flatnonzero(problem.capacity[problem.user] == 0)
    np.maximum.at(prices, problem.user[edges], problem.score[edges].astype(np.float64))
    return prices


def closed_group_costs(problem: Problem) -> np.ndarray:
    """The best score of each (user, creator) group of limit 0, 0 for the others: at this nobody asks; float64[groups]."""
    costs = np.zeros(problem.groups)
    if problem.group is None or problem.group_limit is None or (problem.group_limit > 0).all():
        return costs
    inside = np.flatnonzero(problem.group >= 0)
    edges = inside[problem.group_limit[problem.group[inside]] == 0]
    np.maximum.at(costs, problem.group[edges], problem.score[edges].astype(np.float64))
    return costs
