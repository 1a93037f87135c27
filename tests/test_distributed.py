"""The auction over several workers: the same answer for any number of them, also where some are lost on the way."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.certificate import certify
from dualrec.solvers.distributed.engines import ThreadEngine
from dualrec.solvers.distributed.messages import FolderMessages, MemoryMessages, Message, Messages
from dualrec.solvers.distributed.session import Held, Session
from dualrec.solvers.distributed.shard_writer import write_shards
from dualrec.solvers.distributed.sharded import solve_shards
from dualrec.solvers.distributed.shards import open_shards
from dualrec.solvers.distributed.solver import Distributed
from dualrec.solvers.distributed.worker import Worker
from dualrec.solvers.errors import AllocationError
from dualrec.solvers.instances import SCORE_KINDS, Ragged, Skewed, TightFlat
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)
SHAPES: dict[str, Callable[[int], Problem]] = {
    "ragged": Ragged(items=40, users=30, most=6).make,
    "skewed": Skewed(items=60, users=150, candidates=40, demand=12, capacity=4).make,
    "long rows": Skewed(items=30, users=400, candidates=300, demand=60, capacity=4).make,
    "tight": TightFlat(items=60, users=450, candidates=400).make,
}
shapes = st.sampled_from(sorted(SHAPES))
loose = st.sampled_from(sorted(set(SHAPES) - {"tight"}))
"""Solved in few rounds, which a new worker goes through again."""


def halved(problem: Problem) -> Problem:
    score = np.minimum(problem.score, 6e4).astype(np.float16)
    return Problem.from_csr(problem.indptr, problem.user, score, problem.demand, problem.capacity)


@settings(max_examples=15, deadline=None)
@given(shape=shapes, seed=seeds, half=st.booleans(), gap=st.sampled_from([1e-2, 1e-3, 0.0]))
def test_workers_change_no_byte(shape: str, seed: int, half: bool, gap: float) -> None:
    problem = SHAPES[shape](seed)
    problem = halved(problem) if half else problem
    answers = [
        solve(problem, Distributed(workers=workers, engine="threads", max_steps=1), gap=gap) for workers in (1, 3, 17)
    ]
    for one in answers[1:]:
        assert np.array_equal(one.chosen, answers[0].chosen)
        assert np.array_equal(one.user_prices, answers[0].user_prices)
        assert [step["passes"] for step in one.history] == [step["passes"] for step in answers[0].history]


@settings(max_examples=20, deadline=None)
@given(shape=shapes, seed=seeds, kind=kinds)
def test_worth_what_one_process_finds(shape: str, seed: int, kind: str) -> None:
    problem = SHAPES[shape](seed)
    answer = solve(problem, Distributed(workers=4, engine="threads"), gap=1e-3)
    exact = solve(problem, "min-cost-flow")
    assert answer.gap <= 1e-3
    assert exact.value * (1 - 1e-3) - 1e-6 <= answer.value <= exact.value * (1 + 1e-9)


class Killed(Exception):
    """A worker is no more."""


class DeadlyMessages:
    """Messages of one worker, which dies at some, once at each: before it writes, after it, while it waits."""

    def __init__(self, messages: Messages, rng: np.random.Generator, often: float, passed: set[str]) -> None:
        self._messages, self._rng, self._often, self._passed = messages, rng, often, passed

    def put(self, name: str, *arrays: np.ndarray) -> bool:
        self._perhaps(f"before {name}")
        mine = self._messages.put(name, *arrays)
        self._perhaps(f"after {name}")
        return mine

    def has(self, name: str) -> bool:
        return self._messages.has(name)

    def wait(self, name: str) -> Message:
        self._perhaps(name)
        return self._messages.wait(name)

    def get(self, name: str) -> Message:
        return self._messages.get(name)

    def _perhaps(self, where: str) -> None:
        if where not in self._passed:
            self._passed.add(where)
            if self._rng.random() < self._often:
                raise Killed


class LosingEngine(ThreadEngine):
    """Workers die at their messages, and new ones take their numbers and calls. Some are replaced though they are alive, and
    do the call as well, without knowing; some answers are lost, so that the call is made again.
    """

    def __init__(self, folder: Path, workers: int, seed: int, often: float, messages: Messages) -> None:
        self.workers, self._messages, self._folder, self._often = workers, messages, str(folder), often
        self._rng, self._rngs = np.random.default_rng(seed), [np.random.default_rng([seed, k]) for k in range(workers)]
        self.lost, self._pool, self._late = 0, ThreadPoolExecutor(workers), ThreadPoolExecutor(workers)
        self._pools = [self._pool, self._late]
        self._passed: list[set[str]] = [set() for _ in range(workers)]
        self._parts = [self._worker(number) for number in range(workers)]

    def _worker(self, number: int) -> Worker:
        deadly: Any = DeadlyMessages(self._messages, self._rngs[number], self._often, self._passed[number])
        return Worker(self._folder, deadly, number, self.workers)

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        late = []
        for number in np.flatnonzero(self._rng.random(self.workers) < min(0.3, 5 * self._often)):
            late.append(self._late.submit(getattr(self._parts[number], method), *arguments[number]))
            self._parts[number] = self._worker(int(number))
        out = list(self._pool.map(self._call, range(self.workers), [method] * self.workers, arguments))
        if self._rng.random() < 0.2 and self._often:
            out = list(self._pool.map(self._call, range(self.workers), [method] * self.workers, arguments))
        for one in late:
            assert isinstance(one.exception(), Killed | None)
        return out

    def _call(self, number: int, method: str, arguments: tuple[Any, ...]) -> Any:
        while True:
            try:
                return getattr(self._parts[number], method)(*arguments)
            except Killed:
                self.lost += 1
                self._parts[number] = self._worker(number)


@settings(max_examples=20, deadline=None)
@given(shape=loose, seed=seeds, often=st.sampled_from([0.003, 0.03]), in_files=st.booleans())
def test_lost_workers_lose_no_match(
    shape: str, seed: int, often: float, in_files: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    problem, folder = SHAPES[shape](seed % 1000), tmp_path_factory.mktemp("lost")
    shards = open_shards(write_shards(problem, folder / "shards", 7))
    messages = FolderMessages(tmp_path_factory.mktemp("messages")) if in_files else MemoryMessages()
    engine = LosingEngine(shards.folder, 3, seed, often, messages)
    session = Session(shards, engine)
    held = session.step("a", 0.1, 1e-3, 60.0, lambda: False)
    agrees(problem, session, held)
    again = session.step("b", 0.02, 1e-3, 60.0, lambda: False)
    agrees(problem, session, again)
    agrees(problem, session, held)
    engine.close()


def agrees(problem: Problem, session: Session, held: Held) -> None:
    """The answer keeps every limit, is what the added-up certificate says, and leaves nobody free that an item wants."""
    chosen, total = session.chosen(held), session.certify(held)
    whole = certify(problem, chosen, held.prices)
    assert total.matches == chosen.size
    assert total.value == pytest.approx(whole.value, rel=1e-12)
    assert total.bound == pytest.approx(whole.bound, rel=1e-12)
    item, load = problem.item_of(np.arange(problem.edges)), np.bincount(problem.user[chosen], minlength=problem.users)
    free = (problem.item_load(chosen) < problem.demand)[item] & (load < problem.capacity)[problem.user]
    free[chosen] = False
    assert not (free & (problem.score > 0)).any()


def test_a_worker_without_any_loss_does_as_the_lost_ones(tmp_path: Path) -> None:
    """Without short lists a replaced worker bids exactly as the lost one would have."""
    problem = SHAPES["skewed"](3)
    shards = open_shards(write_shards(problem, tmp_path / "shards", 7))
    found = []
    for often in (0.0, 0.1):
        engine = LosingEngine(shards.folder, 3, 1, often, MemoryMessages())
        session = Session(shards, engine)
        found.append(session.chosen(session.step("a", 0.1, 1e-3, 60.0, lambda: False)))
    assert engine.lost > 10
    assert np.array_equal(*found)


def test_a_user_over_capacity_is_found(tmp_path: Path) -> None:
    """The sum over workers is looked at, not what a worker says of itself."""
    problem = SHAPES["skewed"](1)
    shards = open_shards(write_shards(problem, tmp_path / "shards", 4))
    engine = ThreadEngine(shards.folder, 2)
    session = Session(shards, engine)
    held = session.step("a", 0.1, 1e-3, 60.0, lambda: False)
    user = int(np.flatnonzero(problem.capacity)[0])
    for part in engine._parts:
        load = np.zeros(problem.users, np.int32)
        load[user] = problem.capacity[user]
        engine._messages.put(f"a-load-{held.rounds}-{part.number}", load)
    with pytest.raises(AllocationError, match=f"user row {user} has more matches than its capacity of"):
        session.certify(held)


def test_a_worker_that_fails_keeps_nobody_waiting(tmp_path: Path) -> None:
    shards = open_shards(write_shards(SHAPES["skewed"](1), tmp_path / "shards", 4))
    engine = ThreadEngine(shards.folder, 3)
    session = Session(shards, engine)
    engine._parts[1].problem = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        session.step("a", 0.1, 1e-3, 60.0, lambda: False)
    engine.close()


def test_many_writers_of_one_name(tmp_path: Path) -> None:
    """All read what one of them wrote, whole."""
    kept = FolderMessages(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        for name in range(30):
            first = list(pool.map(lambda k, name=name: kept.put(str(name), np.full(1000, k, np.int32)), range(8)))
            assert sum(first) == 1
            assert (kept.get(str(name)).part(0) == first.index(True)).all()


def test_items_that_fill_all_keys(tmp_path: Path) -> None:
    """2^16 items and a row of 40,000 candidates take all 32 bits of a key; the last item's are the highest."""
    items, users = 1 << 16, 40_000
    rng = np.random.default_rng(1)
    lengths = np.full(items, 2)
    lengths[[0, items - 1]] = users
    few = np.sort(rng.integers(0, users - 1, (items - 2, 2)), axis=1)
    few[:, 1] += few[:, 0] == few[:, 1]
    every = np.arange(users)
    user = np.concatenate([every, few.ravel(), every]).astype(np.int32)
    score = rng.lognormal(0, 1, user.size).astype(np.float32)
    problem = Problem.from_csr(np.append(0, np.cumsum(lengths)), user, score, 2, np.ones(users, np.int32))
    answers = [solve(problem, Distributed(workers=workers, engine="threads"), gap=1e-2) for workers in (1, 2)]
    assert answers[0].gap <= 1e-2
    assert np.array_equal(answers[0].chosen, answers[1].chosen)


def test_sums_are_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    problem = SHAPES["skewed"](5)
    folder, told = write_shards(problem, tmp_path / "s", 9), []
    for workers in (1, 2, 5):
        options = Distributed(workers=workers, engine="threads")
        answer = solve_shards(folder, tmp_path / f"o{workers}", options)
        told.append((answer.value, answer.bound, answer.gap, answer.matches))
    assert told[0] == told[1] == told[2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 0},
        {"workers": True},
        {"workers": 2.0},
        {"engine": "spark"},
        {"first_eps": 0},
        {"shrink": 1},
        {"passes": 0},
        {"max_steps": -1},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected workers >= 1"):
        Distributed(**wrong)
