"""The block auction: its state, and running it over threads block by block."""

from collections.abc import Callable

import numpy as np

from .block_edge_kernels import count_users, held_edges
from .block_kernels import (
    BLOCK,
    KEEP,
    LONG,
    SHARDS,
    enqueue,
    keep_best,
    make_bids,
    next_block,
    run_small_blocks,
    settle,
)
from .block_state import Bids, Rows, Scratch, State
from .workers import Workers

FIRST_BLOCK = 64
"""Items in the first block, doubled by each: the first few find out what the users everybody wants are worth."""

MOST_BIDS = 1 << 19
"""Room for the bids of one block, more only where one item wants more users. 40 bytes each."""

WORTH_THREADS = 65_536
"""Edges in the rows of a block that are worth handing to threads."""

SLICE = 20_000_000
"""Edges read between two looks at the clock where blocks are small."""


class BlockAuction:
    """Items bid for the places of users, forward from given prices, with one eps.

    rows      Rows as the kernels take them, demand at most the row's length
    capacity  int32[users]
    prices    float32[users] >= 0: no bid below is taken
    """

    def __init__(self, rows: Rows, capacity: np.ndarray, prices: np.ndarray, workers: Workers) -> None:
        self.rows, self.workers, self.read = rows, workers, 0
        degree = self._degree(capacity.size)
        self.state = _state(rows, capacity, degree, prices)
        self.bids = _bids(rows, workers.count)
        longest = max(KEEP, int(np.diff(rows.indptr).max(initial=0)))
        self._own = [_scratch(longest, rows.demand.size) for _ in range(workers.count)]
        mean_row = max(1, rows.user.size // max(1, rows.demand.size))
        small = BLOCK + 1 if workers.count == 1 else max(2, min(BLOCK, WORTH_THREADS // mean_row))
        self._block = np.array([FIRST_BLOCK, small])

    def _degree(self, users: int) -> np.ndarray:
        """int32[users]: candidates each user is in."""
        parts = [np.zeros(users, np.int32) for _ in range(self.workers.count)]
        ranges = self.workers.ranges(self.rows.user.size)
        self.workers.run(count_users, [(self.rows.user, *ends, part) for ends, part in zip(ranges, parts, strict=True)])
        for part in parts[1:]:
            parts[0] += part
        return parts[0]

    def call(self, items: np.ndarray) -> None:
        """Lets these items (rows, in order, none of which waits) bid next."""
        self.state.queued[items] = 1
        enqueue(self.state, items.astype(np.int32))

    @property
    def waiting(self) -> int:
        """Items that wait for their turn to bid."""
        return int(self.state.ends[1])

    def run(self, eps: float, pause: Callable[[], bool]) -> None:
        """Lets items bid until none waits or `pause()` says so; it is asked about every tenth of a second."""
        raised = np.float32(eps)
        while self.waiting and not pause():
            if min(self.waiting, self._block[0]) < self._block[1]:
                own = self._own[0]
                self.read += run_small_blocks(self.rows, self.state, self.bids, raised, own, self._block, SLICE)
            else:
                self._run_block(raised)

    def _run_block(self, eps: np.float32) -> None:
        """One block, each phase on all threads."""
        rows, state, bids, workers = self.rows, self.state, self.bids, self.workers
        count = next_block(rows, state, bids, self._block[0])
        self._block[0] = min(2 * self._block[0], BLOCK)
        parts = list(zip(workers.ranges(count), self._own, strict=True))
        tasks = [(rows, state, bids, eps, part, ends, own) for part, (ends, own) in enumerate(parts)]
        self.read += sum(workers.run(make_bids, tasks))
        workers.run(keep_best, [(rows, state, bids, *ends) for ends in workers.ranges(SHARDS)])
        ranges = zip(workers.ranges(rows.demand.size), self._own, strict=True)
        lost = workers.run(settle, [(rows, state, bids, *ends, own) for ends, own in ranges])
        for own, losers in zip(self._own, lost, strict=True):
            enqueue(state, own.items[:losers])

    def chosen(self) -> np.ndarray:
        """The edges held, int64[matches], ascending."""
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.state.load, dtype=np.int64)])
        out = np.empty(int(ends[-1]), np.int64)
        ranges = self.workers.ranges(self.rows.demand.size)
        parts = [(self.rows, self.state, first, last, out[ends[first] : ends[last]]) for first, last in ranges]
        self.workers.run(held_edges, parts)
        return out


def _state(rows: Rows, capacity: np.ndarray, degree: np.ndarray, prices: np.ndarray) -> State:
    """Nobody holds anything, nobody waits. A user with more places than candidates gets one slot that stays free."""
    items, edges = rows.demand.size, rows.user.size
    slot_start = np.zeros(capacity.size + 1, np.int64)
    np.cumsum(np.minimum(capacity, degree + 1), out=slot_start[1:])
    price = np.where(capacity > 0, prices, np.inf).astype(np.float32)
    has_long_rows = np.diff(rows.indptr).max(initial=0) > LONG
    short = np.empty((items if has_long_rows else 0, 3 * KEEP), np.uint32)
    return State(
        price=price,
        price_bits=price.view(np.uint32),
        held=np.zeros(edges // 8 + items + 1, np.uint8),
        load=np.zeros(items, np.int32),
        slot_start=slot_start,
        slot_count=np.zeros(capacity.size, np.int32),
        slot=np.empty(int(slot_start[-1]), np.uint64),
        queue=np.zeros(items, np.int32),
        queued=np.zeros(items, np.uint8),
        ends=np.zeros(2, np.int64),
        short=short,
        short_score=short.view(np.float32),
        short_count=np.zeros(items, np.int32),
        short_rest=np.full(items, np.inf, np.float32),
        shard_of=_shards(np.minimum(degree, 2 * np.diff(slot_start))),
    )


def _shards(work: np.ndarray) -> np.ndarray:
    """uint8: the shard of each 64 users in a row, so that all have about the same work (int[users])."""
    until = np.add.reduceat(work, np.arange(0, work.size, 64)).cumsum() if work.size else work
    return np.minimum((until - 1) * SHARDS // max(1, until.max(initial=0)), SHARDS - 1).clip(0).astype(np.uint8)


def _bids(rows: Rows, parts: int) -> Bids:
    most = max(min(MOST_BIDS, int(rows.demand.sum(dtype=np.int64))), int(rows.demand.max(initial=0)), 1)
    bid, dear = np.empty(most, np.float32), np.empty(most, np.float32)
    return Bids(
        item=np.zeros(BLOCK, np.int32),
        start=np.zeros(BLOCK + 1, np.int64),
        guess=np.ones(1, np.float32),
        made_user=np.empty(most, np.uint32),
        made_edge=np.empty(most, np.uint32),
        made_bid=bid,
        made_bid_bits=bid.view(np.uint32),
        made_dear=dear,
        made_dear_bits=dear.view(np.uint32),
        cut=np.zeros((parts, SHARDS + 1), np.int64),
        user=np.empty(most, np.uint32),
        edge=np.empty(most, np.uint32),
        bid=np.empty(most, np.uint32),
        dear=np.empty(most, np.uint32),
        loser=np.empty(most, np.int32),
        lost=np.empty(most, np.uint32),
    )


def _scratch(longest: int, items: int) -> Scratch:
    """18 bytes an edge of the longest row and 4 an item, of which only what is used takes memory."""
    size = longest + 1  # selection writes one place past the last
    return Scratch(
        net=np.empty(size, np.float32),
        copy=np.empty(size, np.float32),
        score=np.empty(size, np.float32),
        place=np.empty(size, np.int32),
        user=np.empty(size, np.uint32),
        taken=np.empty(size, np.uint8),
        items=np.empty(items, np.int32),
    )
