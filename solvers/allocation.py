"""The answer: which edges were chosen, at what prices, and how good that provably is."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np

from .certificate import relative_gap, total_score
from .explain import ItemExplanation, UserExplanation, edge_prices, explain
from .problem import Problem


class Status(StrEnum):
    """Why a solver stopped."""

    OPTIMAL = "optimal"
    WITHIN_GAP = "within_gap"
    TIME_LIMIT = "time_limit"
    STEP_LIMIT = "step_limit"
    INTERRUPTED = "interrupted"
    FEASIBLE = "feasible"

    @property
    def sentence(self) -> str:
        """Cause and cure in one sentence."""
        return _SENTENCES[self]


_SENTENCES = {
    Status.OPTIMAL: "The value equals its upper bound: no allocation is worth more.",
    Status.WITHIN_GAP: "The certified gap is within the gap asked for.",
    Status.TIME_LIMIT: "The time limit came before the gap asked for was certified; allow more time or a wider gap.",
    Status.STEP_LIMIT: "The step limit came before the gap asked for was certified; allow more steps or a wider gap.",
    Status.INTERRUPTED: "The solve was interrupted; this is the best allocation found until then.",
    Status.FEASIBLE: "The solver keeps every limit but promises no gap, and the gap asked for is not certified.",
}


@dataclass(frozen=True, eq=False)
class Allocation:
    """An allocation of `problem` with its certificate; everything else is computed when asked for.

    chosen        int64[matches], numbers of the chosen edges, ascending
    user_prices   float64[users], the prices behind `bound`: what one more place with the user would bring
    solver        name of the solver
    status        why it stopped; `status.sentence` says it in words
    bound         no allocation of this problem is worth more
    seconds       wall time of the solve
    bound_covers  which pairs the bound speaks for: "candidates", the edges of the problem
    group_prices  float64[groups], what each (user, creator) limit adds to the user's price; None: nothing
    history       what `on_step` was told, step by step
    """

    problem: Problem
    chosen: np.ndarray
    user_prices: np.ndarray
    solver: str
    status: Status
    bound: float
    seconds: float
    bound_covers: str = "candidates"
    group_prices: np.ndarray | None = None
    history: tuple[dict[str, Any], ...] = ()

    def __repr__(self) -> str:
        figures = f"value={self.value:.6g}, bound={self.bound:.6g}, gap={self.gap:.2e}, matches={self.matches}"
        return f"Allocation({self.solver}: {self.status.value}, {figures}, seconds={self.seconds:.2f})"

    @cached_property
    def value(self) -> float:
        """Sum of the scores of the chosen edges."""
        return total_score(self.problem, self.chosen)

    @property
    def gap(self) -> float:
        """(bound - value) / bound: at most this share of the optimum is missing. 0 where the bound is 0."""
        return relative_gap(self.value, self.bound)

    @property
    def matches(self) -> int:
        """Number of chosen edges."""
        return self.chosen.size

    @cached_property
    def item_load(self) -> np.ndarray:
        """Users given to each item, int64[items]."""
        return self.problem.item_load(self.chosen)

    @cached_property
    def user_load(self) -> np.ndarray:
        """Items given to each user, int64[users]."""
        return np.bincount(self.problem.user[self.chosen], minlength=self.problem.users)

    @cached_property
    def group_load(self) -> np.ndarray:
        """Matches that count against each (user, creator) limit, int64[groups]."""
        if self.problem.group is None:
            return np.zeros(0, np.int64)
        group = self.problem.group[self.chosen]
        return np.bincount(group[group >= 0], minlength=self.problem.groups)

    @property
    def shortfall(self) -> np.ndarray:
        """Users that each item lacks to its floor, int64[items]."""
        if self.problem.floor is None:
            return np.zeros(self.problem.items, np.int64)
        return np.maximum(0, self.problem.floor - self.item_load)

    @cached_property
    def lowest_net(self) -> np.ndarray:
        """The lowest score less price among the users of each full item, 0 for items with places left; float64[items].

        What another user must bring to be worth changing for.
        """
        lowest = np.zeros(self.problem.items)
        if self.chosen.size:
            net = self.problem.score[self.chosen] - edge_prices(self, self.chosen)
            owners = np.flatnonzero(self.item_load)
            starts = np.cumsum(self.item_load[owners]) - self.item_load[owners]
            lowest[owners] = np.minimum.reduceat(net, starts)
        lowest[self.item_load < self.problem.demand] = 0.0
        return lowest

    def explain(self, item: Any = None, user: Any = None) -> ItemExplanation | UserExplanation:
        """Why an item (`explain(ID)`) or a user (`explain(user=ID)`) got what it got; `str()` says it in sentences.

        Its matches with score, price and what is left; who stood next and what was lacking; what one more place would
        be worth, as the prices estimate it; why an item has too few users. Raises ProblemError for an unknown id.
        """
        return explain(self, item=item, user=user)

    @property
    def items_full(self) -> int:
        """Items that got all the users they want."""
        return int((self.item_load == self.problem.demand).sum())

    @property
    def items_short(self) -> int:
        """Items that got fewer users than they want."""
        return self.problem.items - self.items_full

    @property
    def users_at_capacity(self) -> int:
        """Users with at least one place and none left."""
        return int(((self.user_load == self.problem.capacity) & (self.problem.capacity > 0)).sum())

    def prices(self) -> dict[str, np.ndarray]:
        """The users as columns `user` (outside ids), `price`, `capacity` and `load`, by user row."""
        users = np.arange(self.problem.users) if self.problem.user_ids is None else self.problem.user_ids
        capacity, load = self.problem.capacity, self.user_load
        return {"user": users, "price": self.user_prices, "capacity": capacity, "load": load}

    def pairs(self) -> dict[str, np.ndarray]:
        """The matches as columns `item`, `user` (outside ids) and `score`, by item row, falling score, user row."""
        item, user = self.problem.item_of(self.chosen), self.problem.user[self.chosen]
        score = self.problem.score[self.chosen].astype(np.float32, copy=False)
        order = np.lexsort((user, -score, item))
        item, user = item[order], user[order]
        return {
            "item": item if self.problem.item_ids is None else self.problem.item_ids[item],
            "user": user if self.problem.user_ids is None else self.problem.user_ids[user],
            "score": score[order],
        }
