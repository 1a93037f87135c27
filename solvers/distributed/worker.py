"""One worker: the items of some shards, the users of some, and every step of a solve as a call that can be repeated."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..bench_memory import peak_bytes
from ..block_edge_kernels import count_users
from ..block_kernels import SHARDS
from ..certificate import check as check_allocation
from ..certificate import item_bounds, total_score
from ..cheap_prices import closed_user_prices
from ..errors import ProblemError
from ..problem import Problem
from .item_side import ItemSide
from .messages import FolderMessages, Messages
from .shards import open_shards
from .user_side import UserSide

CHUNK = 64
"""Users in a row that are always of one shard."""


SAMPLE = 100_000
"""Candidates whose scores say how large scores are."""


class Shape(NamedTuple):
    """What the driver asks about a worker's part.

    load     int64: candidates in each CHUNK of users
    sample   float32: scores of some candidates that can be matched, the same ones however the whole is cut
    highest  score of all
    closed   users without a place, and the best score of each
    """

    load: np.ndarray
    sample: np.ndarray
    highest: float
    closed: tuple[np.ndarray, np.ndarray]


class Bidding(NamedTuple):
    """How items bid in a round: eps and guess in units of the score; closing: only for users with free places."""

    eps: float
    guess: float
    closing: bool


class Made(NamedTuple):
    """What came of one worker's half of a round: edges read, bids made, and the limit of its first item's short list
    (infinite: it has none), which is where to look for the next round's.
    """

    read: int
    bids: int
    rest: float


class Part(NamedTuple):
    """A worker's part of the certificate: value; what each item earns at the prices, float64[items]; matches."""

    value: float
    profits: np.ndarray
    matches: int


class Worker:
    """Worker ``number`` of ``workers``. All it knows beyond its shards stands in the messages, so that another process of
    the same number goes on where this one was lost: bids and answers of earlier rounds are read again, not made again.
    """

    def __init__(self, folder: str, messages: Messages | str, number: int, workers: int) -> None:
        shards, self.number, self.workers = open_shards(folder), number, workers
        bounds = shards.bounds(workers)
        self.first, last = int(bounds[number]), int(bounds[number + 1])
        self._begin_edge, self._stride = int(shards.indptr[self.first]), max(1, shards.edges // SAMPLE)
        if shards.indptr[last] - self._begin_edge >= 2**32:
            raise ProblemError(f"worker {number} has 2^32 edges or more; take more workers than {workers}")
        self.problem: Problem = shards.part(self.first, last)
        self.messages = FolderMessages(Path(messages)) if isinstance(messages, str) else messages
        self._step = ""
        self._made = self._heard = self._kept = -1  # the last rounds in which items bid, heard, and users answered

    def shape(self) -> Shape:
        """Counts of candidates, and how large the scores are. Leaves the degree of every user as a message."""
        problem, degree = self.problem, np.zeros(self.problem.users, np.int32)
        count_users(problem.user, 0, problem.edges, degree)
        self.messages.put(f"degree-{self.number}", degree)
        load = np.add.reduceat(degree, np.arange(0, problem.users, CHUNK)) if problem.users else degree
        edge = np.arange(-self._begin_edge % self._stride, problem.edges, self._stride)
        edge = edge[(problem.capacity[problem.user[edge]] > 0) & (problem.demand[problem.item_of(edge)] > 0)]
        closed = closed_user_prices(problem)
        users = np.flatnonzero(closed)
        highest = float(problem.score.max(initial=0))
        return Shape(load.astype(np.int64), problem.score[edge].astype(np.float32), highest, (users, closed[users]))

    def bid(self, step: str, number: int, items: np.ndarray, options: Bidding) -> Made:
        """Round ``number`` of a step: these items (rows of the whole, ascending) bid."""
        self._catch_up(step, number)
        name, rows, read = f"{step}-bids-{number}-{self.number}", items.astype(np.int64) - self.first, 0
        if self._made < number and not self.messages.has(name):
            read, made = self._items.bid(rows.astype(np.int32), *options)
            self._made = number
            if not self.messages.put(
                name, *made
            ):  # another that thinks it is this one was quicker: its bids are the bids
                self._begin(step)
                self._catch_up(step, number)
        self._repeat(number)
        bids = int(self.messages.get(name)[0][SHARDS])
        return Made(read, bids, float(self._items.state.short_rest[rows[:1]].min(initial=np.inf)))

    def keep(self, step: str, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The users' half of a round: items that lost places (rows, ascending) and how many each."""
        self._catch_up(step, number)
        name = f"{step}-lost-{number}-{self.number}"
        if self._kept < number:
            answer = self._users.keep(self.messages, self._bids_of(number))
            self.messages.put(name, *answer)
            self._kept = number
        items, counts = np.unique(self.messages.get(name)[0] >> np.uint64(32), return_counts=True)
        return items.astype(np.int32), counts.astype(np.int32)

    def prices(self, step: str, rounds: int) -> tuple[int, np.ndarray]:
        """The first of its users and the prices of all of them, float32, after so many rounds."""
        self._catch_up(step, rounds)
        return self._users.first, self._users.prices.copy()

    def chosen(self, step: str, rounds: int) -> np.ndarray:
        """The edges its items hold after so many rounds, rows of its part, int64, ascending. All are checked."""
        self._catch_up(step, rounds)
        held = self._items.held()
        check_allocation(self.problem, held)
        return held

    def certify(self, step: str, rounds: int, prices: np.ndarray) -> Part:
        """Its part of value and bound at these prices, float64[users]; leaves each user's matches as a message."""
        held = self.chosen(step, rounds)
        load = np.bincount(self.problem.user[held], minlength=self.problem.users).astype(np.int32)
        self.messages.put(f"{step}-load-{rounds}-{self.number}", load)
        value = total_score(self.problem, held)
        return Part(value, item_bounds(self.problem, prices, threads=1), held.size)

    def loads(self, step: str, rounds: int) -> int:
        """The first of its users with more matches in all than places; -1 where there is none."""
        self._catch_up(step, rounds)
        low = self._users.first
        high = low + self._users.capacity.size
        names = [f"{step}-load-{rounds}-{worker}" for worker in range(self.workers)]
        over = sum(self.messages.get(name)[0][low:high] for name in names) > self._users.capacity
        return low + int(np.argmax(over)) if over.any() else -1

    def write_pairs(self, step: str, rounds: int, path: str) -> int:
        """Its matches as a Parquet file of item, user (outside ids) and score, whole or not at all; returns how many."""
        from .pairs import write_pairs

        held = self.chosen(step, rounds)
        write_pairs(self.problem, held, self.first, Path(path))
        return held.size

    def memory(self) -> int:
        """The most bytes that this process has held, with the messages that it has mapped."""
        return peak_bytes()

    def _begin(self, step: str) -> None:
        (shard_of,) = self.messages.get("shards")
        owners = min(self.workers, SHARDS)
        mine = tuple(SHARDS * k // owners if k <= owners else SHARDS for k in (self.number, self.number + 1))
        ends = np.minimum(CHUNK * np.searchsorted(shard_of, mine), self.problem.users).tolist()
        degree = np.zeros(ends[1] - ends[0], np.int32)
        for worker in range(self.workers):
            degree += self.messages.get(f"degree-{worker}")[0][ends[0] : ends[1]]
        self._users = UserSide(ends[0], self.problem.capacity[ends[0] : ends[1]], degree, (mine[0], mine[1]))
        self._items = ItemSide(self.problem, self.first, np.array(shard_of))
        self._step, self._made, self._heard, self._kept = step, -1, -1, -1

    def _catch_up(self, step: str, number: int) -> None:
        """Brings both sides to where round ``number`` begins."""
        if self._step != step:
            self._begin(step)
        for earlier in range(self._heard + 1, number):
            self._repeat(earlier)
            if self._kept < earlier:
                self._users.keep(self.messages, self._bids_of(earlier))
                self._kept = earlier
            names = [f"{step}-lost-{earlier}-{worker}" for worker in range(min(self.workers, SHARDS))]
            self._items.hear(self.messages, names)
            self._heard = earlier

    def _repeat(self, number: int) -> None:
        """Its own bids of a round, if another life made them."""
        if self._made < number:
            self._items.bid_again(*self.messages.get(f"{self._step}-bids-{number}-{self.number}"))
            self._made = number

    def _bids_of(self, number: int) -> list[str]:
        return [f"{self._step}-bids-{number}-{worker}" for worker in range(self.workers)]
