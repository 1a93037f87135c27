"""Seeded families with something uneven about them: users in nearly every list, one giant row, ratings."""

from dataclasses import dataclass

import numpy as np

from .instance_kernels import draw_best
from .instance_rows import alias_of, draw_rows, in_ranges, lognormal_scores, stream_seed, to_levels
from .instances import by_rank
from .problem import Problem


@dataclass(frozen=True)
class HubUsers:
    """Uniform candidates, but `hubs` users are in about 95 % of all lists and score three times as much there."""

    items: int = 10_000
    users: int = 50_000
    candidates: int = 200
    hubs: int = 20
    demand: int = 40
    capacity: int = 10

    def make(self, seed: int = 0) -> Problem:
        """The problem: score = lognormal, x 3 for a hub; the hubs are the first users."""
        weight, factor = np.ones(self.users), np.ones(self.users)
        weight[: self.hubs] = -np.log(0.05) * self.users / self.candidates
        factor[: self.hubs] = 3.0
        indptr, user = draw_rows(seed, np.full(self.items, self.candidates), weight)
        score = lognormal_scores(seed, user, 1.0, factor)
        return Problem.from_csr(indptr, user, score, self.demand, np.full(self.users, self.capacity))


@dataclass(frozen=True)
class GiantRow:
    """Skewed candidates, but the item in the middle has all users as candidates and wants half of them."""

    items: int = 9_751
    users: int = 50_000
    candidates: int = 200
    demand: int = 40
    capacity: int = 10
    skew: float = 0.7

    def make(self, seed: int = 0) -> Problem:
        """The problem: lognormal scores."""
        lengths, demand = np.full(self.items, self.candidates), np.full(self.items, self.demand)
        lengths[self.items // 2], demand[self.items // 2] = self.users, self.users // 2
        indptr, user = draw_rows(seed, lengths, by_rank(self.users, self.skew))
        return Problem.from_csr(indptr, user, lognormal_scores(seed, user), demand, np.full(self.users, self.capacity))


@dataclass(frozen=True)
class SkewedLists:
    """Lists as a retriever makes them: the best half of what was drawn, users of uneven attraction, 50 topics.

    Attraction = Beta(1.2, 1) x LogNormal(0, 0.7); twice as many users as wanted are drawn with probability
    ~ attraction^1.5 x LogNormal(0, 0.8), the best are kept;
    score = attraction x LogNormal(0, 0.5) of the item x exp(N(0, 0.6) + 1 where user and item share their topic).
    """

    items: int = 2_000
    users: int = 15_000
    candidates: int = 1_000
    demand: int = 200
    capacity: int = 30

    def make(self, seed: int = 0) -> Problem:
        """The problem, each item with `candidates` distinct users (all users if there are fewer)."""
        rng, length = np.random.default_rng(seed), min(self.candidates, self.users)
        attraction = rng.beta(1.2, 1.0, self.users) * rng.lognormal(0.0, 0.7, self.users)
        weight = attraction**1.5 * rng.lognormal(0.0, 0.8, self.users) + 1e-12
        of_user = attraction.astype(np.float32), rng.integers(0, 50, self.users, np.int32)
        of_item = rng.lognormal(0.0, 0.5, self.items).astype(np.float32), rng.integers(0, 50, self.items, np.int32)
        user, score = np.empty((self.items, length), np.int32), np.empty((self.items, length), np.float32)
        in_ranges(
            draw_best, self.items, stream_seed(seed, 0), weight, *alias_of(weight), *of_user, *of_item, user, score
        )
        indptr = np.arange(self.items + 1, dtype=np.int64) * length
        return Problem.from_csr(
            indptr, user.reshape(-1), score.reshape(-1), self.demand, np.full(self.users, self.capacity)
        )


RATING_SHARES = (0.016, 0.031, 0.016, 0.066, 0.050, 0.196, 0.127, 0.266, 0.088, 0.144)
"""About how frequent 0.5, 1, ... 5 stars are in MovieLens 25M."""


@dataclass(frozen=True)
class Ratings:
    """Ratings like MovieLens': half stars, a few items with most of the ratings, users from idle to tireless.

    How often an item is rated ~ 1 / its rank (rows in no order), a user ~ LogNormal(0, 1). A rating follows the
    sum of the item's quality N(0, 0.35), the user's mood N(0, 0.35) and N(0, 0.6); levels as in RATING_SHARES.
    The sizes are chosen so that sorting loses: 25 ratings a user, near the 20 that MovieLens asks of its users, and fewer
    places than the items want; many users have rated only what everybody has.
    """

    items: int = 10_000
    users: int = 80_000
    ratings: int = 2_160_000
    demand: int = 20
    capacity: int = 2

    def make(self, seed: int = 0) -> Problem:
        """The problem: score = stars; edges are a few less than `ratings`, as no user rates an item twice."""
        rng = np.random.default_rng(seed)
        popularity = rng.permutation(by_rank(self.items, 1.0))
        lengths = np.maximum(1, np.rint(popularity / popularity.sum() * self.ratings)).astype(np.int64)
        indptr, user = draw_rows(seed, lengths, rng.lognormal(0.0, 1.0, self.users))
        opinion = lognormal_scores(seed, user, 0.6, rng.lognormal(0.0, 0.35, self.users))
        opinion *= np.repeat(rng.lognormal(0.0, 0.35, self.items).astype(np.float32), np.diff(indptr))
        score = to_levels(opinion, np.arange(1, 11) / 2, np.array(RATING_SHARES))
        return Problem.from_csr(indptr, user, score, self.demand, np.full(self.users, self.capacity))
