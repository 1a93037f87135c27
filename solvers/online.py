"""Users for one new item at a time, before the rest of the day is known."""

from dataclasses import dataclass, field

import numpy as np

from .errors import ProblemError
from .online_kernels import BAD_USER, TWICE, choose, replay, set_stale
from .online_prices import BidCurves, UserPrices, kernel_prices
from .problem import Problem

_STEP = 0.05
"""Prices are set anew when the items to come are this share fewer, or a fifth of this share of the day is over."""

_PACE_PRIOR = 0.02
"""The forecast number of items stands against the day's own pace with the weight of this share of a day."""


@dataclass(eq=False)
class OnlineRule:
    """Takes an item's best users by score less price among those with places left; ties by position.

    capacity   int[users], places of each user for the day
    prices     `BidCurves` (best), `UserPrices`, or None: greedy, first come, first served
    activity   float64[users] > 0: users are ranked by score / activity, as the paper's store does; only without prices.
               Activity below `threshold` closes a user
    threshold  least activity of an available user
    items      how many items a usual day brings; None: as many as the bid curves are of
    threads    most threads to set up prices of bid curves with, 0: all cores

    `left` int64[users] are the places left. `offer_one` and `offer_many` ask and change nothing, `take` and `give_back`
    move places, `run` answers a day of items in order. ``gone`` is the share of a usual day's items that has arrived by
    now. Not safe from several threads at once. ProblemError where lengths or values do not fit.
    """

    capacity: np.ndarray
    prices: BidCurves | UserPrices | None = None
    activity: np.ndarray | None = None
    threshold: float = 0.0
    items: int | None = None
    threads: int = 0
    answered: int = field(default=0, init=False)
    left: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.capacity = np.ascontiguousarray(self.capacity, np.int64)
        if self.capacity.ndim != 1 or (self.capacity < 0).any():
            raise ProblemError("OnlineRule: expected capacity int[users], not negative")
        users = len(self.capacity)
        if self.prices is not None and self.prices.users != users:
            raise ProblemError(f"OnlineRule: prices of {self.prices.users} users, expected {users} as in capacity")
        self.left = self.capacity.copy()
        self._activity = np.zeros(0)
        if self.activity is not None:
            self._activity = self._checked_activity(np.ascontiguousarray(self.activity, np.float64))
            self.left[self._activity < self.threshold] = 0
            self._activity = np.maximum(self._activity, np.finfo(np.float64).tiny)
        if self.items is None and isinstance(self.prices, BidCurves):
            self.items = self.prices.items
        self._kernel = kernel_prices(self.prices, int(self.capacity.max(initial=0)), self.threads)
        self._now, self._set_at = np.empty(users, np.float32), (-1.0, -1.0, -1.0)
        self._set_in, self._turn = np.zeros(users, np.int32), 0
        self._seen, self._mark = np.full(users, -1, np.int32), 0
        self._spare, self._out = np.empty((2, 1)), np.empty(1, np.int64)

    def _checked_activity(self, activity: np.ndarray) -> np.ndarray:
        if self.prices is not None:
            raise ProblemError(
                "OnlineRule: activity and prices, expected one of them: prices are in units of the score"
            )
        if activity.shape != self.capacity.shape or not ((activity >= 0) & (activity <= 1)).all():
            raise ProblemError(f"OnlineRule: expected activity float[{len(self.capacity)}] from 0 to 1")
        return activity

    def offer_one(self, user: np.ndarray, score: np.ndarray, demand: int, gone: float = 0.0) -> np.ndarray:
        """Positions int64[k <= demand] of the users that the item would take now, ascending; changes nothing.

        user   int[n], rows of the candidates, each once, in any order
        score  float[n], finite and not negative; 0: never matched
        """
        users, scores = np.asarray(user), np.asarray(score)
        scores = scores if scores.dtype in (np.float32, np.float64) else scores.astype(np.float64)
        if users.ndim != 1 or users.shape != scores.shape or users.dtype.kind not in "iu":
            raise ProblemError(
                f"offer: user {users.dtype}{users.shape}, score {scores.shape}, expected int[n] rows and float[n]"
            )
        self._set_prices(users, gone)
        self._mark = (self._mark + 1) % np.iinfo(np.int32).max
        if users.size > self._out.size:
            self._spare, self._out = np.empty((2, users.size)), np.empty(users.size, np.int64)
        scratch = self._seen, self._mark, self._spare, self._out
        count = choose(users, scores, max(int(demand), 0), self._now, self._activity, *scratch)
        if count < 0:
            raise ProblemError(_complaint(count, int(self._out[0]), users, scores))
        return self._out[:count].copy()

    def offer_many(self, problem: Problem, gone: float = 0.0) -> list[np.ndarray]:
        """`offer_one` of each item of a problem as if it were asked alone, now."""
        self._fits(problem)
        rows = zip(problem.indptr[:-1].tolist(), problem.indptr[1:].tolist(), problem.demand.tolist(), strict=True)
        scores = problem.score32()
        return [self.offer_one(problem.user[a:b], scores[a:b], wanted, gone) for a, b, wanted in rows]

    def take(self, user: np.ndarray, *, new: bool = True) -> None:
        """One item was answered with the users ``user`` (each once): one place less for each of them.

        Not ``new``: an item that was answered before got more users.
        """
        rows = np.asarray(user, np.int64)
        in_order = np.sort(rows)
        twice = (in_order[1:] == in_order[:-1]).any()
        outside = rows.size and (in_order[0] < 0 or in_order[-1] >= len(self.left))
        if twice or outside or (self.left[rows] <= 0).any():
            raise ProblemError("take: expected users given once and with places left; offer anew")
        self.left[rows] -= 1
        self.answered += new
        self._price_of(rows)

    def give_back(self, user: np.ndarray) -> None:
        """Places that were taken and never used, one for each of ``user``."""
        rows, more = np.unique(np.asarray(user, np.int64), return_counts=True)
        if rows.size and (rows[0] < 0 or rows[-1] >= len(self.left)):
            raise ProblemError("give_back: expected rows of capacity")
        if (self.left[rows] + more > self.capacity[rows]).any():
            raise ProblemError("give_back: a user would have more places than its capacity")
        self.left[rows] += more
        self._price_of(rows)

    def know(self, left: np.ndarray, answered: int) -> None:
        """What others did: places left int[users], from 0 to the capacity, and how many items were answered in all."""
        places = np.asarray(left, np.int64)
        if places.shape != self.capacity.shape or ((places < 0) | (places > self.capacity)).any():
            raise ProblemError("know: expected places left int[users], from 0 to the capacity")
        closed = self._activity < self.threshold if self._activity.size else np.zeros(0, bool)
        self.left[:] = places
        if closed.size:
            self.left[closed] = 0
        self.answered, self._set_at = answered, (-1.0, -1.0, -1.0)

    def net(self, user: np.ndarray, score: np.ndarray) -> np.ndarray:
        """float[n]: score less the price of the last offer, -infinity without places; without activity."""
        out: np.ndarray = score - self._now[user]
        return out

    def run(self, problem: Problem, gone: np.ndarray) -> np.ndarray:
        """Offers and takes for each item of a problem in row order; gone float[items]. Chosen edges int64, ascending."""
        self._fits(problem)
        share = np.asarray(gone, np.float64)
        if share.shape != (problem.items,):
            raise ProblemError(f"run: gone has shape {share.shape}, expected one share an item, ({problem.items},)")
        held = np.zeros(problem.edges, np.uint8)
        clock = np.array([self._clock(s, self.answered + i) for i, s in enumerate(share.tolist())]).reshape(-1, 3)
        edges = problem.indptr, problem.user, problem.score32(), problem.demand
        replay(*edges, *self._state(), self._activity, clock, self._now, held)
        self._set_at = (-1.0, -1.0, -1.0)
        self.answered += problem.items
        return np.flatnonzero(held)

    def to_come(self, gone: float, answered: int | None = None) -> float:
        """How many items are still to come, at least one: a usual day's rest at this day's own pace so far."""
        if not 0 <= gone <= 1:
            raise ProblemError(f"gone is {gone}, expected a share of the day from 0 to 1")
        usual = self.items or 0
        if not usual:
            return 1.0
        prior = _PACE_PRIOR * usual
        pace = ((self.answered if answered is None else answered) + prior) / (gone * usual + prior)
        return max((1.0 - gone) * usual * pace, 1.0)

    def reprice(self, curves: BidCurves) -> None:
        """Goes on with other bid curves, such as `refreshed` ones."""
        if curves.users != len(self.capacity) or self._activity.size:
            raise ProblemError(
                f"reprice: curves of {curves.users} users, expected {len(self.capacity)}, without activity"
            )
        self.items = self.items or curves.items
        self.prices = curves
        self._kernel = kernel_prices(curves, int(self.capacity.max(initial=0)), self.threads)
        self._set_at = (-1.0, -1.0, -1.0)

    def _clock(self, gone: float, answered: int) -> tuple[float, float, float]:
        """`gone`, `rest`, `correction` as the kernels take them, in steps, so that prices need not be set for each item."""
        come = self.to_come(gone, answered)
        if isinstance(self.prices, BidCurves):
            rest = come / self.prices.items
            return 0.0, float(np.exp(_STEP * round(np.log(rest) / _STEP))), 0.0
        if isinstance(self.prices, UserPrices):
            return round(gone * 5 / _STEP) * _STEP / 5, 1.0, self.prices.correction
        return 0.0, 1.0, 0.0

    def _set_prices(self, rows: np.ndarray, gone: float) -> None:
        """Brings the prices of some users up to the clock: no item waits for those of all."""
        clock = self._clock(gone, self.answered)
        if clock != self._set_at:
            self._turn, self._set_at = (self._turn + 1) % np.iinfo(np.int32).max, clock
        set_stale(rows, *self._state(), clock, self._now, self._set_in, self._turn)

    def _price_of(self, rows: np.ndarray) -> None:
        """The places of these users have changed: their prices are set when they are next asked for."""
        self._set_in[rows] = -1

    def _state(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return self.left, self.capacity, *self._kernel

    def _fits(self, problem: Problem) -> None:
        if problem.users != len(self.capacity):
            raise ProblemError(f"the problem has {problem.users} users, expected {len(self.capacity)} as in capacity")


def _complaint(code: int, at: int, users: np.ndarray, scores: np.ndarray) -> str:
    if code == BAD_USER:
        return f"offer: candidate {at} is user row {users[at]}, expected a row of capacity"
    if code == TWICE:
        return f"offer: candidate {at} is user row {users[at]} again, expected each user once"
    return f"offer: candidate {at} has score {scores[at]}, expected a finite number >= 0"
