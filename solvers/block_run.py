"""Runs of the block auction on a problem: cold, or from earlier prices and matches; steps for the driver."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .block_auction import BlockAuction
from .block_state import Rows
from .cheap_prices import closed_user_prices
from .errors import ProblemError
from .identical_rows import join_identical
from .problem import Problem
from .step import Clock, Step
from .workers import Workers

FIRST_REPORT, NEXT_REPORT = 3.0, 1.5
"""A long run shows how far it has come after so many reads of all edges, and when that has grown by this factor."""

LONG_RUN = 10_000_000
"""Edges from which on a run counts as long. Not seconds: an interim answer may end the solve, and must be repeatable."""

WARM_EPS = 0.25
"""Eps of a warm start as a share of a cold one's: few bid, so that it costs little, and prices stay closer to right."""

SAMPLE = 100_000
"""Edges whose scores say how large scores are."""


class BlockRun:
    """What the runs on one problem share, and where the last one ended.

    eps     of the last run, in units of the score
    prices  float64[users] at its end
    passes  reads of all edges it took
    """

    def __init__(self, problem: Problem, clock: Clock, workers: Workers) -> None:
        if problem.edges >= 2**32:
            raise ProblemError(f"{problem.edges} edges, the auction takes fewer than {2**32}")
        self.problem, self.clock, self.workers = problem, clock, workers
        demand = np.minimum(problem.demand, np.diff(problem.indptr)).astype(np.int32)
        self.rows = Rows(problem.indptr, problem.user.view(np.uint32), problem.stored_score(), demand)
        self.joined = join_identical(self.rows, problem.capacity)
        self.closed = closed_user_prices(problem)
        self.mean_score, self.rounding = _mean_score(problem), _rounding(problem)
        self.prices, self.eps, self.passes = self.closed, 0.0, 0.0
        self.auction: BlockAuction | None = None

    def finest_eps(self, share: float) -> float:
        """Eps at this share of the mean score, and not below what float32 can tell apart."""
        return max(share * self.mean_score, self.rounding)

    def cold(self, share: float, passes: float) -> Iterator[Step]:
        """From zero prices until nobody bids any more, or for so many reads of all edges."""
        rows = self.rows if self.joined is None else self.joined.rows
        self.forget()
        self.auction = BlockAuction(rows, self.problem.capacity, np.zeros(1, np.float32), self.workers)
        self.auction.call(np.flatnonzero(rows.demand > 0))
        yield from self._run(self.finest_eps(share), passes * (rows.user.size + rows.demand.size))

    def warm(self, prices: np.ndarray, chosen: np.ndarray, share: float, passes: float) -> Iterator[Step]:
        """From an earlier answer's prices (float64[users]) and matches (int64[matches], ascending).

        Items keep what is still right for them at those prices and bid for the rest; then places that this opened at
        users with a price are filled by swaps. Soon done, and certified like all else, but no smaller eps makes it better.
        Nothing where identical items were joined: they are quick from zero.
        """
        if self.joined is not None:
            return
        eps = self.finest_eps(WARM_EPS * share)
        self.auction = BlockAuction(self.rows, self.problem.capacity, prices, self.workers)
        self.auction.seat(chosen, eps)
        self.auction.run(eps, passes * self.problem.edges, lambda: self.clock.stop)
        if not self.auction.waiting:
            self.auction.fill_open_places()
        self.eps, self.passes = eps, self.auction.read / max(1, self.problem.edges)
        yield self._step({"warm": True})

    def _run(self, eps: float, budget: float) -> Iterator[Step]:
        auction, self.eps = self._started, eps
        report = FIRST_REPORT * auction.rows.user.size if auction.rows.user.size >= LONG_RUN else np.inf
        while True:
            auction.run(eps, min(budget, report), lambda: self.clock.stop)
            self.passes = auction.read / max(1, auction.rows.user.size)
            if not auction.waiting or auction.read >= budget or self.clock.stop:
                break
            yield self._step({})
            report = NEXT_REPORT * auction.read
        yield self._step({})

    def _step(self, notes: dict[str, Any]) -> Step:
        """What stands now."""
        auction, problem = self._started, self.problem
        price = np.where(problem.capacity > 0, auction.state.price, self.closed).astype(np.float64)
        chosen = auction.chosen()
        if self.joined is not None and auction.rows is self.joined.rows:
            price, chosen = self.joined.prices(chosen, price), self.joined.edges(chosen)
        self.prices = price
        waiting = {"bidding": auction.waiting} if auction.waiting else {}  # then eps promises nothing yet
        return Step(chosen, price, {"eps": self.eps, "passes": self.passes, **waiting, **notes})

    @property
    def _started(self) -> BlockAuction:
        assert self.auction is not None
        return self.auction

    def forget(self) -> None:
        """Gives the memory of the last run back."""
        self.auction = None


def _mean_score(problem: Problem) -> float:
    """Mean positive score of a sample of the edges that can be matched, 1 if there is none."""
    edge = np.arange(0, problem.edges, max(1, problem.edges // SAMPLE))
    edge = edge[(problem.capacity[problem.user[edge]] > 0) & (problem.demand[problem.item_of(edge)] > 0)]
    score = problem.score[edge].astype(np.float64)
    positive = score[score > 0]
    return float(positive.mean()) if positive.size else 1.0


def _rounding(problem: Problem) -> float:
    """An eps that float32 can add to any price of the problem."""
    bits = problem.score.view(np.uint16 if problem.score.dtype == np.float16 else np.uint32)
    highest = bits.max(initial=0).astype(bits.dtype).reshape(1).view(problem.score.dtype)[0]
    return 4.0 * float(np.spacing(np.float32(highest)))
