"""The users of one worker: they keep their best bids and say who lost and what a place costs now."""

import numpy as np

from ..block_kernels import SHARDS
from .kernels import Places, take_bids
from .messages import Message


class UserSide:
    """The places of the users of consecutive shards: 8 bytes a place, 17 a user.

    first     user of row 0
    capacity  int32[users] of these users
    degree    int32[users]: candidates each is in; more places than these stay free, and take no memory
    shards    the first of its shards and the one after its last
    """

    def __init__(self, first: int, capacity: np.ndarray, degree: np.ndarray, shards: tuple[int, int]) -> None:
        slot_start = np.zeros(capacity.size + 1, np.int64)
        np.cumsum(np.minimum(capacity, degree.astype(np.int64) + 1), out=slot_start[1:])
        users = capacity.size
        self.first, self.shards, self.capacity = first, shards, capacity
        self._lost, self._changed = np.zeros(0, np.uint64), np.zeros(0, np.uint32)
        self.places = Places(
            slot_start=slot_start,
            slot_count=np.zeros(users, np.int32),
            slot=np.empty(int(slot_start[-1]), np.uint64),
            price_bits=np.zeros(users, np.uint32),
            told=np.zeros(users, np.uint8),
        )

    def keep(self, bids: list[Message]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The answer to a round's bids, those of each worker in turn (as `ItemSide.bid` makes them).

        lost uint64 (key << 32 | user), ascending; users whose price changed or who are full now, uint32, and the bits of
        their prices, uint32.
        """
        parts = [_segment(one, *self.shards) for one in bids]
        most = sum(part[0].size for part in parts)
        if self._lost.size < most:
            self._lost, self._changed = np.empty(most, np.uint64), np.empty(most, np.uint32)
        lost, changed, counts = self._lost, self._changed, np.zeros(2, np.int64)
        for part in parts:
            take_bids(self.places, self.first, *part, lost, changed, counts)
        changed = changed[: counts[1]].copy()
        rows = changed.astype(np.int64) - self.first
        self.places.told[rows] = 0
        return np.sort(lost[: counts[0]]), changed, self.places.price_bits[rows]

    @property
    def prices(self) -> np.ndarray:
        """The price of each of its users, float32[users]."""
        return self.places.price_bits.view(np.float32)


def _segment(bids: Message, first: int, last: int) -> tuple[np.ndarray, ...]:
    """user, key, bid and dear of the shards first to last."""
    cut = bids.part(0)
    many, begin, end = int(cut[SHARDS]), int(cut[first]), int(cut[last])
    return tuple(bids.part(1, k * many + begin, k * many + end) for k in range(4))
