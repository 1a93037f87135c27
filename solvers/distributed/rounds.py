"""The driver of one distributed auction: whose turn it is, round after round. It holds no edge."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..block_auction import FIRST_BLOCK, PARTS, SMALL_BLOCK
from .engines import Engine
from .worker import Bidding

MOST_BIDS = 1 << 24
"""Places for which items bid in one round, 16 bytes each in messages."""

FEW_MISSING = 0.05
"""Share of the gap asked for; so few places still bid for, of all that are held, are filled with who is free."""


class Round(NamedTuple):
    """What a round took and did: edges read, bids made, places lost to others; items that wait after it, and the places they
    wait for.
    """

    number: int
    seconds: float
    read: int
    bids: int
    lost: int
    waiting: int
    missing: int


@dataclass
class Rounds:
    """Rounds of one step.

    bounds   int64[workers + 1]: the items of each worker
    pending  int32[items]: places each item will bid for, changed in place
    guess    where thresholds are looked for first
    on_round  told of each round
    number, read, held  rounds, edges read and places held so far
    """

    engine: Engine
    step: str
    bounds: np.ndarray
    pending: np.ndarray
    guess: float
    on_round: Callable[[Round], None] | None = None
    number: int = 0
    read: int = 0
    held: int = 0
    _queue: np.ndarray = field(init=False)
    _waits: np.ndarray = field(init=False)
    _size: int = FIRST_BLOCK

    def __post_init__(self) -> None:
        self._waits = self.pending > 0
        self._queue = np.flatnonzero(self._waits).astype(np.int32)
        self._most = max(SMALL_BLOCK, self.pending.size // PARTS)

    @property
    def waiting(self) -> int:
        """Items that wait for their turn."""
        return self._queue.size

    @property
    def missing(self) -> int:
        """Places they wait for."""
        return int(self.pending[self._queue].sum(dtype=np.int64))

    def run(self, eps: float, few: float, until: float, stop: Callable[[], bool]) -> None:
        """Lets items bid until nobody waits, for ``few`` times the places held or less, or for ``until`` edges read."""
        while self.waiting and self.read < until and not stop() and not self._settled(few):
            self._round(self._size, Bidding(eps, self.guess, closing=False))
            self._size = min(2 * self._size, self._most)

    def close(self, eps: float) -> None:
        """Lets who still waits bid for users with free places only, all at once, until nobody waits."""
        while self.waiting:
            self._round(self.pending.size, Bidding(eps, self.guess, closing=True))

    def _settled(self, few: float) -> bool:
        return few > 0 and self._size >= self._most and self.missing <= few * self.held

    def _round(self, size: int, bidding: Bidding) -> None:
        begun, block = time.perf_counter(), self._queue[:size]
        block = np.sort(block[: max(1, int(np.searchsorted(self.pending[block].cumsum(dtype=np.int64), MOST_BIDS)))])
        self._queue = self._queue[block.size :]
        ends = np.searchsorted(block, self.bounds)
        parts = [block[low:high] for low, high in itertools.pairwise(ends)]
        made = self.engine.each("bid", [(self.step, self.number, part, bidding) for part in parts])
        first = next(k for k, part in enumerate(parts) if part.size)
        read, bids, lost = sum(part.read for part in made), sum(part.bids for part in made), 0
        if 0.0 < made[first].rest < np.inf:
            self.guess = made[first].rest
        self.pending[block] = 0
        for items, counts in self.engine.each("keep", [(self.step, self.number)] * self.engine.workers):
            self.pending[items] += counts
            lost += int(counts.sum())
        self.read, self.held = self.read + read, self.held + bids - lost
        self._waits[block] = False
        more = np.flatnonzero((self.pending > 0) & ~self._waits).astype(np.int32)
        self._waits[more] = True
        self._queue = np.concatenate([self._queue, more])
        if self.on_round is not None:
            took = time.perf_counter() - begun
            self.on_round(Round(self.number, took, read, bids, lost, self.waiting, self.missing))
        self.number += 1
