"""How many edges could be chosen at all, and what they score: by these, options mean the same whatever the scores are."""

from typing import NamedTuple

import numpy as np

from .problem import Problem
from .reachable_kernels import count_reachable


class Reachable(NamedTuple):
    """Edges with a score above 0 whose item wants users and whose user has places.

    item   int64[items], how many each item has
    user   int64[users], how many each user has
    score  their mean score; 1 without any
    """

    item: np.ndarray
    user: np.ndarray
    score: float


def reachable(problem: Problem) -> Reachable:
    """One pass over the edges, without scratch where scores are float32."""
    item, user = np.zeros(problem.items, np.int64), np.zeros(problem.users, np.int64)
    limits = problem.demand, problem.capacity
    total = count_reachable(problem.indptr, problem.user, problem.score32(), limits, item, user)
    return Reachable(item, user, total / int(item.sum()) if item.any() else 1.0)
