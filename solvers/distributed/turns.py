"""Whose turn it is to bid: the queue of items, which every worker keeps alike."""

from typing import NamedTuple

import numpy as np

from ..block_auction import FIRST_BLOCK, PARTS, SMALL_BLOCK

MOST_BIDS = 1 << 24
"""Places for which items bid in one round, 16 bytes each in messages."""

NEVER = 1 << 62

GOLDEN = (5**0.5 - 1) / 2

WORTH_A_LOOK = 50
"""Looking at so many items takes as long as sorting one."""


class Plan(NamedTuple):
    """How a step goes, the same for all workers.

    step     its name
    eps      and guess, where thresholds are looked for first, in units of the score
    few      share of the places held: so few that are still bid for end the bidding
    until    edges read that end the bidding
    closing  the first round in which items bid for users with free places only, all at once
    """

    step: str
    eps: float
    guess: float
    few: float
    until: float
    closing: int = NEVER


class Turns:
    """The queue, first come first served; 13 bytes an item of the whole.

    pending  int32[items]: places each item will bid for, changed in place
    held     places held, and read: edges read, so far
    """

    def __init__(self, pending: np.ndarray) -> None:
        self.pending, self.held, self.read = pending, 0, 0
        self._waits = pending > 0
        self._rank = np.modf(np.arange(pending.size) * GOLDEN)[0].astype(np.float32)
        self._queue = self._spread(np.flatnonzero(self._waits))
        self._size, self._most = FIRST_BLOCK, max(SMALL_BLOCK, pending.size // PARTS)

    @property
    def waiting(self) -> int:
        """Items that wait for their turn."""
        return self._queue.size

    @property
    def missing(self) -> int:
        """Places they wait for."""
        return int(self.pending[self._queue].sum(dtype=np.int64))

    def ended(self, plan: Plan, number: int) -> bool:
        """Whether there is no round ``number``."""
        if self.waiting == 0 or number >= plan.closing:
            return self.waiting == 0
        settled = plan.few > 0 and self._size >= self._most and self.missing <= plan.few * self.held
        return settled or self.read >= plan.until

    def next(self, everybody: bool) -> np.ndarray:
        """The items of the next round, int32, ascending. Blocks double, as the first few items find out what users cost."""
        size = self._queue.size if everybody else self._size
        self._size = min(2 * self._size, self._most)
        block = self._queue[:size]
        block = block[: max(1, int(np.searchsorted(self.pending[block].cumsum(dtype=np.int64), MOST_BIDS)))]
        self._queue = self._queue[block.size :]
        self._waits[block] = False
        self.pending[block] = 0
        return np.sort(block)

    def answer(self, read: int, bids: int, lost: list[tuple[np.ndarray, np.ndarray]]) -> int:
        """What came of the round: edges read, bids made, and who lost how many places (items, counts). Returns their sum."""
        for items, counts in lost:
            self.pending[items] += counts
        places = sum(int(counts.sum()) for _, counts in lost)
        self.read, self.held = self.read + read, self.held + bids - places
        again = self._pending_of([items for items, _ in lost])
        again = self._spread(again[~self._waits[again]])
        self._waits[again] = True
        self._queue = np.concatenate([self._queue, again])
        return places

    def _spread(self, items: np.ndarray) -> np.ndarray:
        """The items in an order in which any few in a row are of all workers alike, int32."""
        return items[np.argsort(self._rank[items], kind="stable")].astype(np.int32)

    def _pending_of(self, lists: list[np.ndarray]) -> np.ndarray:
        """All items of the lists, and perhaps others that are pending, once each, ascending, int32."""
        if WORTH_A_LOOK * sum(items.size for items in lists) < self.pending.size:
            return np.unique(np.concatenate(lists)).astype(np.int32)
        return np.flatnonzero(self.pending).astype(np.int32)
