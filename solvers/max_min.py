"""Provider max-min fairness: the least-served provider's share counts beside the scores."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .auction_round import rows_by_user
from .cheap_prices import lowest_held, lowest_held_groups
from .max_min_kernels import take_by_user
from .places_left import group_arrays, places_left
from .problem import Problem
from .reachable import Reachable, reachable
from .step import Goal, Step

_STAGE = 42
"""With the seed, what the order of the users is drawn from."""

HIGHEST_RATE = 500.0
"""A provider's weight falls to exp(-rate) at most, which must not be 0."""


@dataclass(frozen=True)
class MaxMin:
    """A peer after a paper (P-MMF): users arrive and take their best items by score - mu of the item's provider.

    Maximises value + weight x mean score x places x (least share of a provider). A provider is a creator where the problem
    has creators (an item of no known creator is one of its own), else an item. Its share is the users that it got over
    those that it could get (demand, at most candidates). The least share is the least mean of the shares over weights w
    that sum to 1, so provider p's users each earn -mu_p = weight x mean score x places x w_p / (users it could get), and
    mirror descent lowers the weight of who was served: w ~ exp(-rate x share).

    Users arrive, not items: all candidates of an item have the same provider, so mu would change nothing for an item
    that chooses users. No guarantee; with weight 0 each user takes its best items with places left, the users in random
    order. Keeps (user, creator) limits, ignores floors.

    What differs from the paper: the mirror map is entropy, not a weighted square, so that a step changes only the
    providers served and the whole is one pass (the paper's step sorts all providers for each user); no momentum; lists
    have each user's capacity; sparse candidates, of which scores of 0 are not taken.

    weight  of the least share beside the value (the paper's lambda), 0 or more
    rate    step of the mirror descent (the paper's eta): a provider served in full weighs exp(-rate) of one that is not
            served; from 0 to 500
    seed    of the order in which users arrive

    One pass, O(edges) time and a heap for what is taken, 17 bytes an edge of scratch (4 more with groups). Takes no start
    prices; its bound is loose.

    Source: Xu et al., "P-MMF: Provider Max-min Fairness Re-ranking in Recommender System", WWW 2023.
    """

    weight: float = 1.0
    rate: float = 10.0
    seed: int = 0

    name: ClassVar[str] = "max-min"
    promises: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (0 <= self.weight < np.inf and 0 <= self.rate <= HIGHEST_RATE and self.seed >= 0):
            raise ValueError(f"{self}: expected a finite weight >= 0, a rate from 0 to {HIGHEST_RATE:g}, seed >= 0")

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        """One answer, offered with two sets of prices: the driver keeps the lower bound."""
        rows, edge = rows_by_user(problem)
        group, held = group_arrays(problem)[0], np.zeros(problem.edges, np.uint8)
        by_user = rows.indptr, rows.owner, rows.score, group[edge] if group.size else group
        arrival = np.random.default_rng([self.seed, _STAGE]).permutation(problem.users)
        found = reachable(problem)
        provider, target = providers(problem, found)
        places = min(target.sum(), np.minimum(problem.capacity, found.user).sum())
        bonus = self.weight * found.score * float(places)
        take_by_user(arrival, *by_user, provider, target, bonus, self.rate, *places_left(problem, held), held)
        chosen = np.sort(edge[np.flatnonzero(held)])
        prices = lowest_held(problem, chosen)
        yield Step(chosen, prices, group_prices=lowest_held_groups(problem, chosen, prices))
        yield Step(chosen, np.zeros(problem.users))


def providers(problem: Problem, found: Reachable) -> tuple[np.ndarray, np.ndarray]:
    """Each item's provider int32[items], and the users that each provider could get, float64[providers]."""
    provider = np.arange(problem.items, dtype=np.int32)
    if problem.creator is not None and problem.creator_ids is not None:
        provider = problem.creator.copy()
        unknown = np.flatnonzero(provider < 0)
        provider[unknown] = problem.creator_ids.size + np.arange(unknown.size)
    return provider, np.bincount(provider, weights=np.minimum(problem.demand, found.item))
