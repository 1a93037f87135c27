"""Seeded instance families in which every (item, user) pair has a score: sources for the search over all pairs."""

from dataclasses import dataclass

import numpy as np

from .candidate_source import RowSource


@dataclass(frozen=True)
class Dense:
    """Items and users around common centres, users of uneven attraction: every item's best users are the same few.

    score = max(0, attraction of the user x (<item vector, user vector> + 0.3))
    """

    items: int = 3_000
    users: int = 40_000
    centres: int = 40
    dim: int = 32
    spread: float = 0.12

    def draw(self, seed: int = 0) -> "DensePairs":
        """The vectors."""
        rng = np.random.default_rng(seed)
        centre = rng.normal(size=(self.centres, self.dim))
        centre /= np.linalg.norm(centre, axis=1, keepdims=True)
        of_user = rng.integers(0, self.centres, self.users)
        of_item = rng.choice(self.centres, self.items, p=rng.dirichlet(np.full(self.centres, 0.7)))
        user = centre[of_user] + rng.normal(0, self.spread, (self.users, self.dim))
        item = (centre[of_item] + rng.normal(0, self.spread, (self.items, self.dim))).astype(np.float32)
        attraction = rng.beta(1.2, 1.0, self.users) * rng.lognormal(0, 0.6, self.users)
        vectors = (user * attraction[:, None]).astype(np.float32)
        return DensePairs(item, vectors, (0.3 * attraction).astype(np.float32))

    def make(self, seed: int = 0, *, block_items: int | None = None, threads: int = 0) -> RowSource:
        """The source; `block_items` and `threads` as for RowSource."""
        pairs = self.draw(seed)
        columns = np.ascontiguousarray(pairs.user.T)

        def rows(item_rows: np.ndarray) -> np.ndarray:
            return np.maximum(pairs.item[item_rows] @ columns + pairs.base, np.float32(0))

        return RowSource(rows, self.items, self.users, block_items=block_items, threads=threads)


@dataclass(frozen=True, eq=False)
class DensePairs:
    """score = max(0, <item, user> + base): item float32[items, dim], user float32[users, dim], base float32[users]."""

    item: np.ndarray
    user: np.ndarray
    base: np.ndarray


@dataclass(frozen=True)
class CategoryRows:
    """Cold items known by their category alone: items of a category have identical rows, most scores are tiny.

    score = activity of the user x (share of the user's past clicks in the category, or `base` without one)
    """

    items: int = 3_226
    users: int = 255_710
    categories: int = 350
    base: float = 0.002

    def make(self, seed: int = 0, *, block_items: int | None = None, threads: int = 0) -> RowSource:
        """The source; `block_items` and `threads` as for RowSource. 4 bytes a (category, user) pair."""
        rng = np.random.default_rng(seed)
        popularity = rng.dirichlet(np.full(self.categories, 0.5))
        of_item = rng.choice(self.categories, self.items, p=rng.dirichlet(np.full(self.categories, 0.5)))
        affinity = np.full((self.categories, self.users), self.base, np.float32)
        clicks = np.minimum(rng.geometric(0.3, self.users), 20)
        clicker = np.repeat(np.arange(self.users), clicks)
        share = (1.0 / clicks[clicker]).astype(np.float32)
        np.add.at(affinity, (rng.choice(self.categories, clicker.size, p=popularity), clicker), share)
        affinity *= rng.beta(0.6, 3.0, self.users).astype(np.float32)
        return RowSource(
            lambda item_rows: affinity[of_item[item_rows]],
            self.items,
            self.users,
            block_items=block_items,
            threads=threads,
        )
