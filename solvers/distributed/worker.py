"""One worker: the items of some shards, the users of some, and every step of a solve as a call that can be repeated."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..block_edge_kernels import count_users
from ..block_kernels import SHARDS
from ..certificate import check as check_allocation
from ..certificate import checked, item_bounds
from ..cheap_prices import closed_user_prices
from ..errors import ProblemError
from ..memory import keep_little, peak_bytes, return_free_memory
from ..problem import Problem
from .item_side import ItemSide
from .kernels import Keys
from .messages import FolderMessages, Message, Messages
from .shards import open_shards
from .turns import Plan, Turns
from .user_side import UserSide

CHUNK = 64
"""Users in a row that are always of one shard."""


SAMPLE = 100_000
"""Candidates whose scores say how large scores are."""


NOTHING = Plan("", 0.0, 0.0, 0.0, 0.0)


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


class Round(NamedTuple):
    """What a round took and did: seconds, edges read, bids made, places lost to others; items that wait after it, and the
    places they wait for.
    """

    number: int
    seconds: float
    read: int
    bids: int
    lost: int
    waiting: int
    missing: int


class Part(NamedTuple):
    """A worker's part of the certificate: the scores each item gets, and what it earns at the prices, float64[items]."""

    values: np.ndarray
    profits: np.ndarray
    matches: int


class Worker:
    """Worker ``number`` of ``workers``. All it knows beyond its shards stands in the messages, so that another process of
    the same number goes on where this one was lost: bids and answers of earlier rounds are read again, not made again.
    """

    def __init__(self, folder: str, messages: Messages | str, number: int, workers: int) -> None:
        if isinstance(messages, str):  # a process of its own
            keep_little()
        shards, self.number, self.workers = open_shards(folder), number, workers
        bounds = shards.bounds(workers)
        self.first, last = int(bounds[number]), int(bounds[number + 1])
        self._begin_edge, self._stride = int(shards.indptr[self.first]), max(1, shards.edges // SAMPLE)
        if shards.indptr[last] - self._begin_edge >= 2**32:
            raise ProblemError(f"worker {number} has 2^32 edges or more; take more workers than {workers}")
        self.problem: Problem = shards.part(self.first, last)
        self.messages = FolderMessages(Path(messages)) if isinstance(messages, str) else messages
        self._bounds, self._plan, self._number = bounds, NOTHING, 0
        self._keys = Keys.for_size(shards.items, int(np.diff(shards.indptr).max(initial=0)))
        self._demand = np.minimum(shards.demand, np.diff(shards.indptr)).astype(np.int32)

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

    def run(self, plan: Plan, last: int, since: int) -> tuple[bool, list[Round]]:
        """Goes on to round ``last`` of a step, or to its end: whether that is reached, and the rounds from ``since`` on.

        Rounds that were done in a life before are gone through again, from the messages.
        """
        self._follow(plan)
        turns = self._turns
        while self._number < last and not turns.ended(plan, self._number):
            begun, read = time.perf_counter(), turns.read
            bids, lost = self._round()
            read, took = turns.read - read, time.perf_counter() - begun
            self._done.append(Round(self._number, took, read, bids, lost, turns.waiting, turns.missing))
            self._number += 1
        return turns.ended(plan, self._number), self._done[since:]

    def prices(self, plan: Plan, rounds: int) -> tuple[int, np.ndarray]:
        """The first of its users and the prices of all of them, float32, after so many rounds."""
        self._go_to(plan, rounds)
        return self._users.first, self._users.prices.copy()

    def chosen(self, plan: Plan, rounds: int) -> np.ndarray:
        """The edges its items hold after so many rounds, rows of its part, int64, ascending. All are checked."""
        self._go_to(plan, rounds)
        held = self._items.held()
        check_allocation(self.problem, held)
        return held

    def certify(self, plan: Plan, rounds: int) -> Part:
        """Its part of value and bound at the prices that the driver left as a message, float64[users]; leaves each user's
        matches as another.
        """
        self._go_to(plan, rounds)
        held = self._items.held()
        _, item_load, load = checked(self.problem, held, 1)
        self.messages.put(f"{plan.step}-load-{rounds}-{self.number}", load)
        values = np.zeros(self.problem.items)
        some, begin = item_load > 0, np.cumsum(item_load) - item_load
        values[some] = np.add.reduceat(self.problem.score[held].astype(np.float64), begin[some])
        del load
        return_free_memory()
        prices = self.messages.get(f"{plan.step}-prices-{rounds}").part(0)
        return Part(values, item_bounds(self.problem, prices, threads=1), held.size)

    def loads(self, plan: Plan, rounds: int) -> int:
        """The first of its users with more matches in all than places; -1 where there is none."""
        self._go_to(plan, rounds)
        low = self._users.first
        high = low + self._users.capacity.size
        names = [f"{plan.step}-load-{rounds}-{worker}" for worker in range(self.workers)]
        over = sum(self.messages.get(name).part(0, low, high) for name in names) > self._users.capacity
        return low + int(np.argmax(over)) if over.any() else -1

    def write_pairs(self, plan: Plan, rounds: int, path: str) -> int:
        """Its matches as a Parquet file of item, user (outside ids) and score, whole or not at all; returns how many."""
        from .pairs import write_pairs

        held = self.chosen(plan, rounds)
        write_pairs(self.problem, held, self.first, Path(path))
        return held.size

    def memory(self) -> int:
        """The most bytes that this process has held, with the messages that it has mapped."""
        return peak_bytes()

    def _go_to(self, plan: Plan, rounds: int) -> None:
        """To where a step stood after so many rounds."""
        if self._plan.step == plan.step and self._number > rounds:
            self._plan = NOTHING
        self.run(plan, rounds, rounds)

    def _follow(self, plan: Plan) -> None:
        """From now on by this plan: a new step begins with nothing, one that closes goes on."""
        if self._plan.step != plan.step:
            self._begin()
        self._plan = plan

    def _begin(self) -> None:
        shard_of = self.messages.get("shards").part(0)
        owners = min(self.workers, SHARDS)
        mine = tuple(SHARDS * k // owners if k <= owners else SHARDS for k in (self.number, self.number + 1))
        ends = np.minimum(CHUNK * np.searchsorted(shard_of, mine), self.problem.users).tolist()
        degree = np.zeros(ends[1] - ends[0], np.int32)
        for worker in range(self.workers):
            degree += self.messages.get(f"degree-{worker}").part(0, *ends)
        for side in ("_users", "_items"):  # those of the step before: two of them would be twice the memory
            self.__dict__.pop(side, None)
        return_free_memory()
        self._users = UserSide(ends[0], self.problem.capacity[ends[0] : ends[1]], degree, (mine[0], mine[1]))
        self._items = ItemSide(self.problem, self.first, self._keys, np.array(shard_of))
        self._turns, self._number, self._guess = Turns(self._demand.copy()), 0, 0.0
        self._done: list[Round] = []

    def _round(self) -> tuple[int, int]:
        """One round, with those of all others; returns the bids made and the places lost in it."""
        plan, number, turns = self._plan, self._number, self._turns
        block = turns.next(number >= plan.closing)
        ends = np.searchsorted(block, self._bounds)
        self._bid(block[ends[self.number] : ends[self.number + 1]] - np.int32(self.first))
        bids = [self.messages.wait(f"{plan.step}-bids-{number}-{worker}") for worker in range(self.workers)]
        self._keep(bids)
        lost = self._hear(number, self.messages.wait)
        notes = [one.part(2) for one in bids]
        first = next(k for k in range(self.workers) if ends[k] < ends[k + 1])
        rest = float(notes[first][1])
        self._guess = rest if 0.0 < rest < np.inf else self._guess
        made = sum(int(one.part(0, SHARDS)[0]) for one in bids)
        return made, turns.answer(sum(int(one[0]) for one in notes), made, lost)

    def _keep(self, bids: list[Message]) -> None:
        """Its users' half of a round."""
        name = f"{self._plan.step}-lost-{self._number}-{self.number}"
        lost, user, price_bits = self._users.keep(bids)
        if self.number < SHARDS and not self.messages.has(name):
            cut = np.searchsorted(lost >> np.uint64(32 + self._keys.bits), self._bounds.astype(np.uint64))
            self.messages.put(name, lost, user, price_bits, *_counted(lost, self._keys.bits), cut)

    def _hear(self, number: int, read: Callable[[str], Message]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Tells its items what all users said in a round; returns who lost how many places (items, counts) by whom."""
        answers = [read(f"{self._plan.step}-lost-{number}-{worker}") for worker in range(min(self.workers, SHARDS))]
        ends = [one.part(5, self.number, self.number + 2).tolist() for one in answers]
        heard = [(one.part(0, *mine), one.part(1), one.part(2)) for one, mine in zip(answers, ends, strict=True)]
        self._items.hear(heard)
        return [(one.part(3), one.part(4)) for one in answers]

    def _bid(self, rows: np.ndarray) -> None:
        """Its own half of a round, unless another life wrote it: those bids count."""
        plan, name = self._plan, f"{self._plan.step}-bids-{self._number}-{self.number}"
        if not self.messages.has(name):
            closing = self._number >= plan.closing
            read, made = self._items.bid(rows, plan.eps, self._guess or plan.guess, closing)
            rest = self._items.state.short_rest[rows[:1]].min(initial=np.inf)
            if self.messages.put(name, *made, np.array([read, rest], np.float64)):
                return
            self._items_again()  # another that thinks it is this one was quicker
        mine = self.messages.get(name)
        self._items.bid_again(mine.part(0), mine.part(1))

    def _items_again(self) -> None:
        """Brings its items to where they were before this round, from the messages."""
        self._items = ItemSide(self.problem, self.first, self._keys, self._items.state.shard_of)
        for number in range(self._number):
            mine = self.messages.get(f"{self._plan.step}-bids-{number}-{self.number}")
            self._items.bid_again(mine.part(0), mine.part(1))
            self._hear(number, self.messages.get)


def _counted(lost: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The items that lost places, int32, ascending, and how many each, int32."""
    item = (lost >> np.uint64(32 + bits)).astype(np.int32)  # ascending
    ends = np.flatnonzero(np.diff(item, append=-1))
    return item[ends], np.diff(ends, prepend=-1).astype(np.int32)
