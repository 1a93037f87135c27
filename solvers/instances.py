"""Seeded instance families for benchmarks and tests: the same options always give the same problem."""

from dataclasses import dataclass

import numpy as np

from .instance_rows import draw_rows, lognormal_scores, to_levels
from .problem import Problem


@dataclass(frozen=True)
class Skewed:
    """Each item's users drawn with probability ~ rank^-skew, lognormal scores: a few users everybody wants.

    levels: number of distinct scores, each as frequent; 0 for continuous ones
    """

    items: int = 10_000
    users: int = 50_000
    candidates: int = 200
    demand: int = 40
    capacity: int = 10
    skew: float = 0.7
    levels: int = 0

    def make(self, seed: int = 0) -> Problem:
        """The problem, each item with `candidates` distinct users (all users if there are fewer)."""
        indptr, user = draw_rows(seed, np.full(self.items, self.candidates), by_rank(self.users, self.skew))
        score = lognormal_scores(seed, user)
        if self.levels:
            score = to_levels(score, np.arange(1, self.levels + 1) / self.levels)
        return Problem.from_csr(indptr, user, score, self.demand, np.full(self.users, self.capacity))


@dataclass(frozen=True)
class TiedGroups:
    """Items in groups with identical rows, as cold items of one category have: thousands of equal bidders.

    levels: number of distinct scores; 0 for continuous ones (equal only inside a group)
    """

    items: int = 3_226
    groups: int = 250
    users: int = 255_000
    candidates: int = 400
    demand: int = 200
    capacity: int = 10
    skew: float = 0.5
    levels: int = 0

    def make(self, seed: int = 0) -> Problem:
        """The problem: score = the group's affinity x the user's activity."""
        rng = np.random.default_rng(seed)
        ends, listed = draw_rows(seed, np.full(self.groups, self.candidates), by_rank(self.users, self.skew))
        group = rng.integers(0, self.groups, self.items)
        length = np.diff(ends)[group]
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(length)])
        at = np.repeat(ends[:-1][group] - indptr[:-1], length) + np.arange(indptr[-1])
        score = (rng.lognormal(sigma=0.5, size=listed.size) * rng.beta(1.2, 1.0, self.users)[listed]).astype(np.float32)
        if self.levels:
            score = (np.ceil(np.minimum(score, 2.0) * self.levels / 2.0) / self.levels).astype(np.float32)
        return Problem.from_csr(indptr, listed[at], score[at], self.demand, np.full(self.users, self.capacity))


@dataclass(frozen=True)
class TightFlat:
    """Uniform candidates, demand 99 % of supply: the hard case, in which the last places are fought for."""

    items: int = 4_000
    users: int = 30_000
    candidates: int = 500
    demand: int = 200
    capacity: int = 27

    def make(self, seed: int = 0) -> Problem:
        """The problem: score = lognormal x the user's lognormal."""
        indptr, user = draw_rows(seed, np.full(self.items, self.candidates), np.ones(self.users))
        of_user = np.random.default_rng(seed).lognormal(sigma=0.5, size=self.users)
        score = lognormal_scores(seed, user, 0.7, of_user)
        return Problem.from_csr(indptr, user, score, self.demand, np.full(self.users, self.capacity))


def by_rank(users: int, skew: float) -> np.ndarray:
    """float64[users]: rank^-skew, the most popular user first."""
    return np.arange(1, users + 1, dtype=np.float64) ** -skew


SCORE_KINDS = ("spread", "levels", "equal", "wide", "zeros")
"""How scores of a `Ragged` problem fall: lognormal, three values, one value, 1e-6 to 1e6, half of them 0."""


@dataclass(frozen=True)
class Ragged:
    """Small and irregular: rows of any length down to 0, demands and capacities from 0, scores of one `kind`."""

    items: int = 8
    users: int = 10
    density: float = 0.5
    most: int = 4
    kind: str = "spread"

    def make(self, seed: int = 0) -> Problem:
        """The problem; demands and capacities are uniform from 0 to `most`."""
        rng = np.random.default_rng(seed)
        item, user = np.nonzero(rng.random((self.items, self.users)) < self.density * rng.random((self.items, 1)) * 2)
        indptr = np.searchsorted(item, np.arange(self.items + 1))
        demand, capacity = rng.integers(0, self.most + 1, self.items), rng.integers(0, self.most + 1, self.users)
        return Problem.from_csr(indptr, user, draw_scores(rng, self.kind, user.size), demand, capacity)


def draw_scores(rng: np.random.Generator, kind: str, count: int) -> np.ndarray:
    """float32[count] scores of one of SCORE_KINDS."""
    draws = {
        "spread": rng.lognormal(size=count),
        "levels": rng.integers(1, 4, count),
        "equal": np.full(count, 0.7),
        "wide": 10.0 ** rng.uniform(-6, 6, count),
        "zeros": rng.random(count) * (rng.random(count) < 0.5),
    }
    return draws[kind].astype(np.float32)
