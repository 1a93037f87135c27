"""One round of the auction with floors and (user, creator) limits: its state, and running it in slices."""

import numpy as np

from .cheap_prices import certificate_prices
from .limited_auction_kernels import Rows, State, run_limited
from .places_left import group_arrays, place_starts
from .problem import Problem
from .step import Clock

SLICE = 20_000_000
"""Edges read between two looks at the clock, about a fifth of a second."""


def limited_rows(problem: Problem, least: np.ndarray) -> Rows:
    """The problem as the kernels take it; least: int32[items], floors that can all be met at once."""
    edges = problem.indptr, problem.user, problem.score32()
    arrays = *edges, problem.demand, least, problem.capacity, *group_arrays(problem), place_starts(problem)
    views = [array.view() for array in arrays]
    for view in views:
        view.setflags(write=False)  # one type of arrays, one compilation
    return Rows(*views)


class LimitedRound:
    """Who holds what at which cost while items bid, all of them first, from the costs given.

    user_cost   float64[users] >= 0, what a place costs as long as the user is not full
    group_cost  float64[groups] >= 0, what a place of a group costs in all as long as the group is not full
    """

    def __init__(self, rows: Rows, user_cost: np.ndarray, group_cost: np.ndarray) -> None:
        items, users = rows.demand.size, rows.capacity.size
        slots = int(rows.slot_start[-1])
        waiting = np.flatnonzero((rows.demand > 0) & (np.diff(rows.indptr) > 0))
        self.rows = rows
        self.state = State(
            user_cost=np.where(rows.capacity > 0, user_cost, np.inf),
            group_cost=np.where(rows.group_limit > 0, group_cost, np.inf),
            held=np.zeros(rows.user.size, np.uint8),
            load=np.zeros(items, np.int64),
            group_load=np.zeros(rows.group_limit.size, np.int64),
            slot_count=np.zeros(users, np.int64),
            slot_bid=np.zeros(slots),
            slot_edge=np.zeros(slots, np.int64),
            queue=np.zeros(items, np.int32),
            queued=np.zeros(items, np.uint8),
            ends=np.array([0, waiting.size]),
        )
        self.state.queue[: waiting.size] = waiting
        self.state.queued[waiting] = 1

    def run(self, eps: float, clock: Clock, budget: float) -> int:
        """Runs until nobody bids any more, the clock says stop, or `budget` edges were read; returns edges read."""
        read = 0
        while self.unfinished and read < budget and not clock.stop:
            read += run_limited(self.rows, self.state, eps, SLICE)
        return read

    @property
    def unfinished(self) -> bool:
        """Whether an item still waits."""
        return bool(self.state.ends[1] > 0)

    @property
    def full_users(self) -> np.ndarray:
        """Which users have no place left, bool[users]."""
        return self.state.slot_count >= self.rows.capacity

    @property
    def full_groups(self) -> np.ndarray:
        """Which groups have reached their limit, bool[groups]."""
        return self.state.group_load >= self.rows.group_limit

    def prices(self, problem: Problem) -> tuple[np.ndarray, np.ndarray | None]:
        """Prices of users and groups for the certificate, of the problem that `rows` were made from."""
        return certificate_prices(problem, self.state.user_cost, self.state.group_cost)

    def too_dear(self, problem: Problem) -> float:
        """The prices of free places in all: by so much they loosen the bound."""
        prices, group_prices = self.prices(problem)
        free = np.dot(self.rows.capacity - self.state.slot_count, prices)
        if group_prices is not None:
            free += np.dot(self.rows.group_limit - self.state.group_load, group_prices)
        return float(free)

    def costs_below(self, back_off: float) -> tuple[np.ndarray, np.ndarray]:
        """Costs to start another round from: those of what is full less `back_off`, at least 0; 0 for the rest."""
        user_cost = np.where(self.full_users, self.state.user_cost - back_off, 0.0)
        group_cost = np.where(self.full_groups, self.state.group_cost - back_off, 0.0)
        return np.maximum(0.0, user_cost), np.maximum(0.0, group_cost)
