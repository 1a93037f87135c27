"""User prices for allocations whose solver has none, good enough for a bound that means something."""

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


def closed_user_prices(problem: Problem) -> np.ndarray:
    """The best score of each user with capacity 0, 0 for the others: at this price nobody asks; float64[users]."""
    prices = np.zeros(problem.users)
    if not (problem.capacity == 0).any():
        return prices
    edges = np.flatnonzero(problem.capacity[problem.user] == 0)
    np.maximum.at(prices, problem.user[edges], problem.score[edges].astype(np.float64))
    return prices
