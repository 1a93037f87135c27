"""What the online rule knows of the day to come: prices of users' places, or the bids that a day brings for each user."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .allocation import Allocation
from .errors import ProblemError
from .online_kernels import best_bids
from .place_values import place_values
from .problem import Problem

LEAST_BIDS, MOST_BIDS = 8, 256


@dataclass(frozen=True, eq=False)
class UserPrices:
    """Prices of an earlier allocation, times exp(correction * (share of the user's capacity used - share of the day gone)).

    price       float64[users] >= 0
    correction  how strongly a user that fills up too early gets dearer; 0: never

    Source: the dual mirror descent of Balseiro, Lu and Mirrokni (2020) moves prices the same way, without a start.
    """

    price: np.ndarray
    correction: float = 2.0

    def __post_init__(self) -> None:
        price = np.ascontiguousarray(self.price, np.float64)
        if price.ndim != 1 or not np.isfinite(price).all() or (price < 0).any():
            raise ProblemError("UserPrices: expected price float64[users], finite and not negative")
        if not 0 <= self.correction < np.inf:
            raise ProblemError(f"UserPrices: correction is {self.correction}, expected a number >= 0")
        object.__setattr__(self, "price", price)

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.price)


@dataclass(frozen=True, eq=False)
class BidCurves:
    """The largest bids that a day of ``items`` items brings for each user: float32[users, n], falling, 4 n bytes a user.

    A bid is what an item would give for the place beyond its next best user. With r places left and a share s of a day's
    items still to come, the price is about the bid of rank r / s: as many as there are places are expected above it; how
    much lower or higher says `place_values`.
    """

    bids: np.ndarray
    items: int

    def __post_init__(self) -> None:
        if self.bids.ndim != 2 or self.bids.dtype != np.float32 or not self.bids.shape[1] or self.items < 1:
            raise ProblemError("BidCurves: expected bids float32[users, n > 0] of at least one item")
        falling = (self.bids[:, 1:] <= self.bids[:, :-1]).all()
        if not (falling and (self.bids[:, -1] >= 0).all() and np.isfinite(self.bids[:, 0]).all()):
            raise ProblemError("BidCurves: expected finite bids >= 0 that fall along each row")

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.bids)


def bid_curves(allocation: Allocation) -> BidCurves:
    """Of an allocation's candidates at its prices: as many bids as twice the largest capacity, 8 to 256 of them.

    Limits other than demand and capacity play no part. Two passes over the edges.
    """
    return curves_of(allocation.problem, allocation.user_prices, int(allocation.problem.capacity.max(initial=0)))


def no_bids(users: int, most: int) -> np.ndarray:
    """float32[users, n] of zeros, n as in `bid_curves` for capacities up to `most`."""
    return np.zeros((users, min(max(2 * most, LEAST_BIDS), MOST_BIDS)), np.float32)


def curves_of(problem: Problem, price: np.ndarray, most: int) -> BidCurves:
    """Bid curves of a problem at prices float64[users] for capacities up to `most`."""
    bids = no_bids(problem.users, most)
    best_bids(problem.indptr, problem.user, problem.score32(), problem.demand, np.asarray(price, np.float64), bids)
    return BidCurves(bids, max(problem.items, 1))


def kernel_prices(prices: Any, most: int, threads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(price float64, bids float32, values uint16) as the kernels take them for capacities up to `most`, size 0 for what is
    not there.
    """
    if isinstance(prices, BidCurves):
        return np.zeros(0), prices.bids, place_values(prices.bids, most, threads)
    price = prices.price if isinstance(prices, UserPrices) else np.zeros(0)
    return price, np.zeros((0, 1), np.float32), np.zeros((0, 1, 1), np.uint16)
