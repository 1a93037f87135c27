"""One round of the auction: its state, and running it in slices so that the clock can be looked at in between."""

import numpy as np

from .auction_kernels import KEEP, LONG, Rows, State, by_owner, last_place_worth, run_auction, seat_holders
from .problem import Problem
from .step import Clock

SLICE = 20_000_000
"""Edges read between two looks at the clock, about a tenth of a second."""


def rows_by_item(problem: Problem) -> Rows:
    """Items bid for the places of users."""
    return Rows(problem.indptr, problem.user, problem.score32(), problem.demand, problem.capacity)


def rows_by_user(problem: Problem) -> tuple[Rows, np.ndarray]:
    """Users bid for the places of items, and int64[edges]: the problem's number of each edge. 16 bytes an edge."""
    indptr = np.zeros(problem.users + 1, np.int64)
    item, score = np.empty(problem.edges, np.int32), np.empty(problem.edges, np.float32)
    edge = np.empty(problem.edges, np.int64)
    by_owner(problem.indptr, problem.user, problem.score32(), indptr, (item, score, edge))
    for array in (indptr, item, score):
        array.setflags(write=False)
    return Rows(indptr, item, score, problem.capacity, problem.demand), edge


class Round:
    """Who holds what at which price while bidders bid: `rows` and `state` as the kernels take them."""

    def __init__(self, rows: Rows, price: np.ndarray) -> None:
        bidders, owners, edges = rows.demand.size, rows.capacity.size, rows.owner.size
        places = np.minimum(rows.capacity, np.bincount(rows.owner, minlength=owners))
        slot_start = np.zeros(owners + 1, np.int64)
        np.cumsum(places, out=slot_start[1:])
        slots = int(slot_start[-1])
        has_long_rows = np.diff(rows.indptr).max(initial=0) > LONG
        self.rows = rows
        self.state = State(
            price=np.where(rows.capacity > 0, price, np.inf),
            held=np.zeros(edges, np.uint8),
            load=np.zeros(bidders, np.int64),
            slot_start=slot_start,
            slot_count=np.zeros(owners, np.int64),
            slot_bid=np.zeros(slots),
            slot_edge=np.zeros(slots, np.int64),
            queue=np.zeros(bidders, np.int32),
            queued=np.zeros(bidders, np.uint8),
            ends=np.zeros(2, np.int64),
            short_edge=np.zeros((bidders if has_long_rows else 0, KEEP), np.int32),
            short_count=np.zeros(bidders, np.int32),
            short_rest=np.full(bidders, np.inf),
        )

    def seat(self, held: np.ndarray, paid: np.ndarray) -> None:
        """Starts with edges held (uint8[edges], in this round's order), bidding score less what the bidder paid."""
        self.state.held[:] = held
        seat_holders(self.rows, self.state, paid)

    def call(self, bidders: np.ndarray) -> None:
        """Lets these bidders (rows, in order) bid first."""
        self.state.queue[: bidders.size] = bidders
        self.state.queued[bidders] = 1
        self.state.ends[:] = 0, bidders.size

    def run(self, eps: float, clock: Clock, budget: float) -> float:
        """Runs until nobody bids any more, the clock says stop, or `budget` edges were read; returns edges read."""
        read = 0
        while self.unfinished and read < budget and not clock.stop:
            try:
                read += run_auction(self.rows, self.state, eps, SLICE)
            except KeyboardInterrupt:
                clock.interrupted = True
        return read

    @property
    def unfinished(self) -> bool:
        """Whether a bidder still waits."""
        return bool(self.state.ends[1] > 0)

    def bidder_prices(self) -> np.ndarray:
        """What one more place of each bidder is worth at the owners' prices, float64[bidders]."""
        out = np.zeros(self.rows.demand.size)
        last_place_worth(self.rows, self.state, out)
        return out
