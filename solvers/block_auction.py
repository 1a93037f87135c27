"""The block auction: its state, and running it over threads block by block."""

from collections.abc import Callable

import numpy as np

from .block_edge_kernels import count_users, fill_free, held_edges, mark_held
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
    sort_by_shard,
)
from .block_state import Bids, Rows, Scratch, State
from .seat_kernels import seat
from .swap_kernels import best_swap, swap
from .workers import Workers

FIRST_BLOCK = 64
"""Items in the first block, doubled by each: the first few find out what the users everybody wants are worth."""

PARTS, SMALL_BLOCK = 6, 2048
"""A block has at most a sixth of the items, as it takes more bids where all see the same prices; or 2,048 if more."""

MOST_BIDS = 1 << 20
"""Room for the bids of one block, more only where one item wants more users. 44 bytes each."""

WORTH_THREADS = 65_536
"""Edges in the rows of a block that are worth a call for each phase."""

STRIDE = 64
"""One edge in so many is a sample large enough to deal out users to threads."""

SWAP_ROUNDS = 2
"""Most rounds of swaps after a warm start."""

OPEN_FALL = 4.0
"""Fall of the price of a user whom a warm start leaves with a free place, in units of its eps."""

FEW_ITEMS, FEW_BIDS = 512, 8192
"""Phases over fewer are done before another thread has woken up."""

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
        degree = self._degree(capacity)
        self.state = _state(rows, capacity, degree, prices)
        self.bids = _bids(rows, workers.count)
        longest = max(KEEP, int(np.diff(rows.indptr).max(initial=0)))
        self._own = [make_scratch(longest, rows.demand.size) for _ in range(workers.count)]
        mean_row = max(1, rows.user.size // max(1, rows.demand.size))
        small = max(2, min(BLOCK, WORTH_THREADS // mean_row))
        most = min(BLOCK, max(SMALL_BLOCK, rows.demand.size // PARTS))
        self._block = np.array([FIRST_BLOCK, small, most])

    def _degree(self, capacity: np.ndarray) -> np.ndarray:
        """int32[users]: candidates each user is in; of a sample, scaled, where it does not save memory to know better."""
        rows, users = self.rows, capacity.size
        if capacity.sum(dtype=np.int64) <= rows.user.size // 4:
            return np.bincount(rows.user[::STRIDE], minlength=users).astype(np.int32) * np.int32(STRIDE) + capacity
        parts = [np.zeros(users, np.int32) for _ in range(self.workers.count)]
        ranges = self.workers.ranges(rows.user.size)
        self.workers.run(count_users, [(rows.user, *ends, part) for ends, part in zip(ranges, parts, strict=True)])
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

    def run(self, eps: float, until: float, stop: Callable[[], bool]) -> None:
        """Lets items bid until none waits, `until` edges were read in all, or `stop()`, asked every tenth of a second.

        After how many edges it ends does not depend on the number of threads.
        """
        raised = np.float32(eps)
        while self.waiting and self.read < until and not stop():
            if min(self.waiting, self._block[0]) < self._block[1]:
                budget = int(np.ceil(min(SLICE, until - self.read)))
                self.read += run_small_blocks(
                    self.rows, self.state, self.bids, raised, self._own[0], self._block, budget
                )
                continue
            self._run_block(raised)

    def seat(self, chosen: np.ndarray, slack: float) -> None:
        """Gives items their edges of an earlier answer (int64[matches], ascending) where that is right at the prices.

        Nobody waits and nobody holds anything before. An edge is given up that is worth `slack` less than another which
        could be had in its place. Prices of users with free places fall by OPEN_FALL times `slack`, so that the items
        that are left with fewer users than they want, and now wait, find these rather than outbid each other.
        """
        workers, rows, state = self.workers, self.rows, self.state
        workers.run(mark_held, [(rows, chosen, *ends, state.held) for ends in workers.ranges(rows.demand.size)])
        self.call(np.flatnonzero(rows.demand > 0))
        self._block[0], seated = self._block[2], 0
        while seated < np.count_nonzero(rows.demand):
            seated += self._run_block(np.float32(slack), _seat_part)
        self.call(np.flatnonzero((state.load < rows.demand) & (state.queued == 0)))
        is_open = (state.slot_count < np.diff(state.slot_start)) & (state.price > 0)
        state.price[is_open] = np.maximum(0.0, state.price[is_open] - np.float32(OPEN_FALL * slack))

    def _run_block(self, eps: np.float32, make: Callable[..., int] = make_bids) -> int:
        """One block, each phase on all threads; returns its items."""
        rows, state, bids, workers = self.rows, self.state, self.bids, self.workers
        count = next_block(rows, state, bids, self._block[0])
        self._block[0] = min(2 * self._block[0], self._block[2])
        parts = list(zip(workers.ranges(count), self._own, strict=True))
        tasks = [(rows, state, bids, eps, part, ends, own) for part, (ends, own) in enumerate(parts)]
        self.read += sum(workers.run(make, tasks, small=count < FEW_ITEMS))
        few = int(bids.cut[:, -1].sum() - bids.cut[:, 0].sum()) < FEW_BIDS
        turns = [(turn, workers.count) for turn in range(workers.count)]
        workers.run(keep_best, [(rows, state, bids, *turn) for turn in turns], small=few)
        lost = workers.run(
            settle, [(rows, state, bids, *turn, own.items) for turn, own in zip(turns, self._own, strict=True)]
        )
        losers = [own.items[:number] for own, number in zip(self._own, lost, strict=True)]
        enqueue(state, np.sort(np.concatenate(losers)))
        return int(count)

    def fill_open_places(self) -> None:
        """Lets items swap a match that costs nothing for a user who has a price and, after `seat`, a free place.

        Nobody waits before or afterwards. One read of the edges, then of the rows of items that found a swap: who found
        none will not, as no user opens that has a price.
        """
        rows, state, count = self.rows, self.state, self.rows.demand.size
        items, gain = np.arange(count), np.empty(count, np.float32)
        added, dropped = np.empty(count, np.int64), np.empty(count, np.int64)
        for _ in range(SWAP_ROUNDS):
            is_open = (state.slot_count < np.diff(state.slot_start)) & (state.price > 0)
            given = rows, state, is_open.view(np.uint8), items
            self.workers.run(
                best_swap, [(*given, ends, (gain, added, dropped)) for ends in self.workers.ranges(items.size)]
            )
            self.read += int(np.diff(rows.indptr)[items].sum())
            items = items[gain[items] > 0]
            order = items[np.argsort(-gain[items], kind="stable")]
            if swap(rows, state, order, added, dropped) == 0:
                return

    def chosen(self) -> np.ndarray:
        """The edges held, int64[matches], ascending; while items wait, with the free places filled for this answer."""
        state, load, held = self.state, self.state.load, self.state.held
        if self.waiting:
            load, held = load.copy(), held.copy()
            free = np.diff(state.slot_start).astype(np.int32) - state.slot_count
            fill_free(self.rows, load, free, held)
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(load, dtype=np.int64)])
        out = np.empty(int(ends[-1]), np.int64)
        ranges = self.workers.ranges(self.rows.demand.size)
        parts = [(self.rows, held, first, last, out[ends[first] : ends[last]]) for first, last in ranges]
        self.workers.run(held_edges, parts)
        return out


def _seat_part(  # noqa: PLR0917
    rows: Rows, state: State, bids: Bids, slack: np.float32, part: int, ends: tuple[int, int], own: Scratch
) -> int:
    """As `make_bids`, for the edges of an earlier answer; returns the edges read."""
    begin = int(bids.start[ends[0]])
    made = seat(rows, state, bids, slack, part, ends, own)
    sort_by_shard(state, bids, begin, begin + made, bids.cut[part])
    items = bids.item[ends[0] : ends[1]]
    return int((rows.indptr[items + 1] - rows.indptr[items]).sum())


def _state(rows: Rows, capacity: np.ndarray, degree: np.ndarray, prices: np.ndarray) -> State:
    """Nobody holds anything, nobody waits. A user with more places than candidates gets one slot that stays free."""
    items, edges = rows.demand.size, rows.user.size
    slot_start = np.zeros(capacity.size + 1, np.int64)
    np.cumsum(np.minimum(capacity, degree + 1), out=slot_start[1:])
    price = np.where(capacity > 0, np.minimum(prices, np.finfo(np.float32).max), np.inf).astype(np.float32)
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
        shard_of=user_shards(np.minimum(degree, 2 * np.diff(slot_start))),
    )


def user_shards(work: np.ndarray) -> np.ndarray:
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
        lost_user=np.empty(most, np.uint32),
        stop=np.zeros((parts, SHARDS), np.int64),
    )


def make_scratch(longest: int, items: int) -> Scratch:
    """25 bytes an edge of the longest row and 4 an item, of which only what is used takes memory."""
    size = longest + 8  # selection writes past the last
    return Scratch(
        net=np.empty(size, np.float32),
        copy=np.empty(size, np.float32),
        score=np.empty(size, np.float32),
        place=np.empty(size, np.int32),
        picked=np.empty(size, np.int32),
        user=np.empty(size, np.uint32),
        taken=np.empty(size, np.uint8),
        items=np.empty(items, np.int32),
    )
