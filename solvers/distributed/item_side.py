"""The items of one worker: they bid, and hear which of their bids lost."""

from typing import Any

import numpy as np

from ..block_auction import make_scratch
from ..block_edge_kernels import held_edges
from ..block_kernels import KEEP, LONG, SHARDS, make_bids
from ..block_state import Bids, Rows, State
from ..problem import Problem
from .kernels import Keys, give_back, hold_again, keys_of


class ItemSide:
    """Bids of a range of items at the prices that the users told, round after round; memory as `BlockAuction`'s item side.

    problem   the items' part of the problem and all users
    first     item of its row 0
    keys      how edges are named
    shard_of  uint8: the shard of each 64 users in a row
    """

    def __init__(self, problem: Problem, first: int, keys: Keys, shard_of: np.ndarray) -> None:
        demand = np.minimum(problem.demand, np.diff(problem.indptr)).astype(np.int32)
        self.rows = Rows(problem.indptr, problem.user.view(np.uint32), problem.stored_score(), demand)
        self.first, self.keys, self.state = first, keys, _state(self.rows, problem.capacity, shard_of)
        longest = int(np.diff(problem.indptr).max(initial=0))
        self._own, self._bids = make_scratch(max(KEEP, longest), 0), _bids(0, 0)
        self._made = np.zeros(0, np.uint32)

    def bid(self, items: np.ndarray, eps: float, guess: float, closing: bool) -> tuple[int, tuple[np.ndarray, ...]]:
        """Edges read, and cut int64[SHARDS + 1] and the bids of these items (rows, ascending) by shard of users, then item.

        Bids: user, key, bid, dear uint32[bids] as one array after the other.
        guess > 0: where to look for thresholds, the same for all workers, as it changes what short lists hold.
        closing: only on users with a free place.
        """
        rows, state = self.rows, self.state
        missing = rows.demand[items] - state.load[items]
        items, missing = items[missing > 0], missing[missing > 0]
        bids = self._room(items.size, int(missing.sum(dtype=np.int64)))
        bids.item[: items.size] = items
        np.cumsum(missing, out=bids.start[1 : items.size + 1])
        bids.guess[0] = guess
        if closing:
            full = state.slot_count == 0
            price = np.where(full, np.float32(np.inf), state.price)
            state = state._replace(price=price, price_bits=price.view(np.uint32))
            state.short_rest[items] = np.inf  # the short list is of offers at other prices
        read = make_bids(rows, state, bids, np.float32(eps), 0, (0, items.size), self._own)
        many = int(bids.cut[0, -1])  # the first is 0
        if self._made.size < 4 * many:
            self._made = np.empty(4 * many, np.uint32)
        made = self._made[: 4 * many]
        keys_of(rows.indptr, bids.edge, bids.cut[0], items, self.keys, self.first, made[many : 2 * many])
        for k, column in enumerate((bids.user, None, bids.bid, bids.dear)):
            if column is not None:
                made[k * many : (k + 1) * many] = column[:many]
        return int(read), (bids.cut[0].copy(), made)

    def bid_again(self, cut: np.ndarray, made: np.ndarray) -> None:
        """Bids that were made in a life before."""
        many = int(cut[-1])
        hold_again(self.rows, self.state, self.keys, self.first, made[:many], made[many : 2 * many])

    def hear(self, answers: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
        """What users said to a round's bids: the edges that these items lost (uint64, see `take_bids`), users whose price
        changed, and the bits of their prices.
        """
        state = self.state
        for _, user, price_bits in answers:
            state.price_bits[user] = price_bits
            state.slot_count[user] = 0
        mine = [lost for lost, _, _ in answers]
        lost = np.sort(np.concatenate(mine))  # by item, then user, however the users are cut into shards
        give_back(self.rows, state, self.keys, self.first, lost)

    def held(self) -> np.ndarray:
        """The edges held, int64[matches], rows of this part's problem, ascending."""
        out = np.empty(int(self.state.load.sum(dtype=np.int64)), np.int64)
        held_edges(self.rows, self.state.held, 0, self.rows.demand.size, out)
        return out

    def _room(self, items: int, bids: int) -> Bids:
        if items > self._bids.item.size or bids > self._bids.bid.size:
            self._bids = _bids(max(items, self._bids.item.size), max(bids, self._bids.bid.size))
        return self._bids


def _state(rows: Rows, capacity: np.ndarray, shard_of: np.ndarray) -> State:
    """Nobody holds anything. A user with a free place: slot_count -1, and no slots; full: 0."""
    items, users = rows.demand.size, capacity.size
    price = np.where(capacity > 0, np.float32(0.0), np.float32(np.inf)).astype(np.float32)
    short = np.empty((items if np.diff(rows.indptr).max(initial=0) > LONG else 0, 3 * KEEP), np.uint32)
    none: Any = np.zeros(0, np.uint64)
    return State(
        price=price,
        price_bits=price.view(np.uint32),
        held=np.zeros(rows.user.size // 8 + items + 1, np.uint8),
        load=np.zeros(items, np.int32),
        slot_start=np.lib.stride_tricks.as_strided(np.zeros(1, np.int64), (users + 1,), (0,)),
        slot_count=np.full(users, -1, np.int8),
        slot=none,
        queue=np.zeros(0, np.int32),
        queued=np.zeros(0, np.uint8),
        ends=np.zeros(2, np.int64),
        short=short,
        short_score=short.view(np.float32),
        short_count=np.zeros(items, np.int32),
        short_rest=np.full(items, np.inf, np.float32),
        shard_of=shard_of,
    )


def _bids(items: int, bids: int) -> Bids:
    """Room for the bids of a round: 40 bytes each with what goes out."""
    none = np.zeros(0, np.uint32)
    bid, dear = np.empty(bids, np.float32), np.empty(bids, np.float32)
    return Bids(
        item=np.zeros(items, np.int32),
        start=np.zeros(items + 1, np.int64),
        guess=np.ones(1, np.float32),
        made_user=np.empty(bids, np.uint32),
        made_edge=np.empty(bids, np.uint32),
        made_bid=bid,
        made_bid_bits=bid.view(np.uint32),
        made_dear=dear,
        made_dear_bits=dear.view(np.uint32),
        cut=np.zeros((1, SHARDS + 1), np.int64),
        user=np.empty(bids, np.uint32),
        edge=np.empty(bids, np.uint32),
        bid=np.empty(bids, np.uint32),
        dear=np.empty(bids, np.uint32),
        loser=np.zeros(0, np.int32),
        lost=none,
        lost_user=none,
        stop=np.zeros((1, SHARDS), np.int64),
    )
