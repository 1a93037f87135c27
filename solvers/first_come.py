"""First come, first served: the paper's sequential store, and the way to fill what an interrupted solver left empty."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .cheap_prices import lowest_held, lowest_held_groups
from .errors import ProblemError
from .first_come_kernels import take_by_item
from .places_left import group_arrays, places_left
from .problem import Problem
from .step import Goal, Step


@dataclass(frozen=True, eq=False)
class FirstCome:
    """Items in row order (upload order) each take their best users among those with places left, ties by user row.

    With `threshold` and `activity` it is the paper's Algorithm 1: a user is available if its activity, the probability
    of a visit the next day, is at least the threshold, and as long as it has places left; activity plays no other part.
    So users are then ranked by the creator-side score alone, which is score / activity where the problem's scores are
    the product of the two (`weighted`), up to the rounding of that product, and the score itself where they are not.

    threshold  least activity of an available user; None: all users are available
    activity   float64[users], from 0 to 1, in the order of the problem's `user_ids`; needed with `threshold`
    weighted   whether the problem's scores are activity x creator-side score

    No guarantee: late items find the good users gone (0.47 to 0.8 of the optimum on the measured families). Keeps
    (user, creator) limits and ignores floors, which the paper does not know. One pass, O(edges) time, 1 byte an edge of
    scratch. Takes no start prices; its bound is loose. ProblemError where activity does not fit the problem's users.

    Source: "Creator-Side Recommender System: Challenges, Designs, and Applications" (DualRec), section 4.
    """

    threshold: float | None = None
    activity: np.ndarray | None = None
    weighted: bool = True

    name: ClassVar[str] = "first-come"
    promises: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if (self.threshold is None) != (self.activity is None):
            raise ValueError("FirstCome: expected threshold and activity, both or neither")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"FirstCome: threshold is {self.threshold}, expected a probability from 0 to 1")

    def _content(self) -> tuple[Any, ...]:
        activity = None if self.activity is None else np.asarray(self.activity, np.float64).tobytes()
        return self.threshold, activity, self.weighted

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FirstCome) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        """One answer, offered with two sets of prices: the driver keeps the lower bound."""
        held = np.zeros(problem.edges, np.uint8)
        if self.threshold is None or self.activity is None:
            fill(problem, held)
        else:
            activity = _activity_of_users(problem, self.activity)
            available = activity >= self.threshold
            if self.weighted:  # who never comes is worth nothing
                fill(problem, held, available & (activity > 0), activity)
            else:
                fill(problem, held, available)
        chosen = np.flatnonzero(held)
        prices = lowest_held(problem, chosen)
        yield Step(chosen, prices, group_prices=lowest_held_groups(problem, chosen, prices))
        yield Step(chosen, np.zeros(problem.users))


def fill(
    problem: Problem, held: np.ndarray, available: np.ndarray | None = None, activity: np.ndarray | None = None
) -> None:
    """Gives short items, in row order, their best users with places left. Sets held (uint8[edges]) in place.

    available  bool[users], who may be given anything; None: all
    activity   float64[users], best is the largest score / activity; None: the largest score
    """
    left = places_left(problem, held)
    if available is not None:
        left.user[~available] = 0
    edges = problem.indptr, problem.user, problem.score32()
    rank_by = np.zeros(0) if activity is None else activity
    take_by_item(*edges, rank_by, group_arrays(problem)[0], *left, held)


def _activity_of_users(problem: Problem, given: np.ndarray) -> np.ndarray:
    activity = np.asarray(given, np.float64)
    if activity.shape != (problem.users,):
        raise ProblemError(f"activity has shape {activity.shape}, expected ({problem.users},): one for each user")
    wrong = np.flatnonzero(~((activity >= 0) & (activity <= 1)))
    if wrong.size:
        user = int(wrong[0])
        raise ProblemError(
            f"activity of user {problem.user_name(user)!r} is {activity[user]}, expected a probability from 0 to 1"
        )
    return activity
