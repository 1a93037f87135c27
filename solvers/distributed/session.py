"""Workers that have their shards, and the steps of a solve over them."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..auction import POWER, SMALLEST_FIRST_EPS, USUAL_EPS, USUAL_GAP
from ..block_auction import user_shards
from ..errors import AllocationError
from .engines import Engine
from .shards import Shards
from .turns import Plan
from .worker import Round

FEW_MISSING = 0.05
"""Share of the gap asked for; so few places still bid for, of all that are held, are filled with who is free."""

BETWEEN_LOOKS = 1.0
"""Seconds of rounds that workers do on their own."""


@dataclass(frozen=True, eq=False)
class Held:
    """Where a step ended: its plan, rounds of bids, and user prices float64[users] before the last places were filled.

    eps in units of the score; read: edges read; bidding: items that still waited for a bid at the prices.
    """

    plan: Plan
    rounds: int
    prices: np.ndarray
    eps: float
    read: int
    bidding: int


@dataclass(frozen=True)
class Total:
    """A certificate that was added up: as `Certificate`, and matches."""

    value: float
    bound: float
    matches: int


class Session:
    """The workers of an engine, asked once how many candidates users have and how large scores are."""

    def __init__(self, shards: Shards, engine: Engine) -> None:
        self.shards, self.engine, self.bounds = shards, engine, shards.bounds(engine.workers)
        shapes = self._ask("shape")
        sample = np.concatenate([shape.sample for shape in shapes]).astype(np.float64)
        self.mean_score = float(sample[sample > 0].mean()) if (sample > 0).any() else 1.0
        self.rounding = 4.0 * float(np.spacing(np.float32(max(shape.highest for shape in shapes))))
        self._closed = np.zeros(shards.users)
        for shape in shapes:
            users, scores = shape.closed
            self._closed[users] = np.maximum(self._closed[users], scores)
        places = (
            np.add.reduceat(shards.capacity.astype(np.int64), np.arange(0, shards.users, 64)) if shards.users else 0
        )
        load = sum(shape.load for shape in shapes)
        work = np.minimum(load, 2 * np.maximum(places, 1))
        engine.put("shards", user_shards(np.repeat(work, 64) // 64 if shards.users else work))

    def step(
        self,
        name: str,
        share: float,
        gap: float,
        passes: float,
        stop: Callable[[], bool],
        on_round: Callable[[Round], None] | None = None,
    ) -> Held:
        """One auction from zero prices, eps at ``share`` of the mean score, for at most so many reads of all edges."""
        eps = max(share * self.mean_score, self.rounding)
        until = passes * (self.shards.edges + self.shards.items)
        plan, told = Plan(name, eps, self.mean_score, FEW_MISSING * gap, until), list[Round]()
        self._run(plan, told, stop, on_round)
        rounds, waiting = len(told), told[-1].waiting if told else 0
        prices, plan = self._prices(plan, rounds), plan._replace(closing=rounds)
        self._run(plan, told, lambda: False, on_round)
        return Held(plan, len(told), prices, eps, sum(one.read for one in told), waiting)

    def forget(self, held: Held) -> None:
        """Gives up where a step ended, and the room of its messages."""
        self.engine.forget(held.plan.step)

    def chosen(self, held: Held) -> np.ndarray:
        """The edges held, int64[matches], ascending."""
        parts = self._ask("chosen", held.plan, held.rounds)
        begin = self.shards.indptr[self.bounds]
        return np.concatenate([part + first for part, first in zip(parts, begin, strict=False)])

    def certify(self, held: Held) -> Total:
        """Value and bound, each part by the code that certifies on one machine; sums go over items in order, so that they
        are the same to the last digit for any number of workers.

        Raises AllocationError where an item or a user has more than its limit.
        """
        self.engine.put(f"{held.plan.step}-prices-{held.rounds}", held.prices)
        parts = self._ask("certify", held.plan, held.rounds)
        over = max(self._ask("loads", held.plan, held.rounds))
        if over >= 0:
            raise AllocationError(f"user row {over} has more matches than its capacity of {self.shards.capacity[over]}")
        places = float(np.dot(self.shards.capacity.astype(np.float64), held.prices))
        bound = float(np.concatenate([part.profits for part in parts]).sum()) + places
        value = float(np.concatenate([part.values for part in parts]).sum())
        return Total(value, bound, sum(part.matches for part in parts))

    def _run(
        self, plan: Plan, told: list[Round], stop: Callable[[], bool], on_round: Callable[[Round], None] | None
    ) -> None:
        """Lets workers go on until a step has ended or `stop()`, which is asked every second or so."""
        ended, many = False, 1
        while not ended:
            begun = time.perf_counter()
            ended, rounds = self._ask("run", plan, len(told) + many, len(told))[0]
            told += rounds
            if on_round is not None:
                for one in rounds:
                    on_round(one)
            if stop():
                return
            took = (time.perf_counter() - begun) / max(1, len(rounds))
            many = min(2 * many, max(1, round(BETWEEN_LOOKS / max(took, 1e-4))))

    def _prices(self, plan: Plan, rounds: int) -> np.ndarray:
        out = self._closed.copy()
        for first, prices in self._ask("prices", plan, rounds):
            mine = out[first : first + prices.size]
            np.copyto(mine, prices, where=self.shards.capacity[first : first + prices.size] > 0)
        return out

    def _ask(self, method: str, *arguments: object) -> list:
        return self.engine.each(method, [arguments] * self.engine.workers)


def first_share(gap: float, first_eps: float) -> float:
    """Eps of the first step, as a share of the mean score: see `Auction`."""
    return min(first_eps, max(USUAL_EPS * (gap / USUAL_GAP) ** POWER, SMALLEST_FIRST_EPS))
