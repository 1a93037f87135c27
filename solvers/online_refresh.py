"""New bid curves in the middle of a day: what arrived so far stands for the rest, filled up with the day before."""

import numpy as np

from .online import OnlineRule
from .online_prices import BidCurves, curves_of
from .problem import Problem
from .problem_parts import joined, some_items
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
    pooled = joined(today, some_items(before, np.sort(drawn)))
    places = np.ceil(rule.left * (pooled.items / rule.to_come(gone)))
    capacity = np.minimum(places, np.iinfo(np.int32).max).astype(np.int32)
    problem = Problem(pooled.indptr, pooled.user, pooled.score, pooled.demand, capacity)
    solved = solve(problem, gap=gap, threads=threads)
    return curves_of(problem, solved.user_prices, int(rule.capacity.max(initial=0)))
