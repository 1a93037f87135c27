"""The auction over several workers: the same answer for any number of them, also where some are lost on the way."""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.allocation import Status
from dualrec.solvers.certificate import certify
from dualrec.solvers.distributed.engines import ThreadEngine
from dualrec.solvers.distributed.messages import FolderMessages, MemoryMessages, Message, Messages
from dualrec.solvers.distributed.session import Held, Session
from dualrec.solvers.distributed.sharded import solve_shards
from dualrec.solvers.distributed.shards import Shards, new_shards, open_shards, write_shards
from dualrec.solvers.distributed.solver import Distributed
from dualrec.solvers.distributed.worker import Worker
from dualrec.solvers.errors import AllocationError, ProblemError
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


# --- shards


def same(one: Problem, other: Problem) -> None:
    for name in ("indptr", "user", "score", "demand", "capacity", "item_ids", "user_ids"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None and theirs is None) or (mine.dtype == theirs.dtype and np.array_equal(mine, theirs)), name


@settings(max_examples=25, deadline=None)
@given(shape=shapes, seed=seeds, shards=st.integers(1, 50), workers=st.integers(1, 9), half=st.booleans())
def test_shards_hold_the_problem(
    shape: str, seed: int, shards: int, workers: int, half: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    problem = SHAPES[shape](seed)
    problem = halved(problem) if half else problem
    opened = open_shards(write_shards(problem, tmp_path_factory.mktemp("shards") / "new", shards))
    same(opened.part(0, problem.items), problem)
    bounds = opened.bounds(workers).tolist()
    assert bounds[0] == 0 and bounds[-1] == problem.items and bounds == sorted(bounds)
    parts = [opened.part(*ends) for ends in itertools.pairwise(bounds)]
    assert np.array_equal(np.concatenate([part.user for part in parts]), problem.user)


def test_ids_are_kept(tmp_path: Path) -> None:
    problem = Problem.from_edges(["b", "a", "b"], [70, 70, 50], [1.0, 5.0, 2.0], 2, 2)
    same(open_shards(write_shards(problem, tmp_path / "s")).part(0, 2), problem)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x55
    path.write_bytes(bytes(data))


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no such folder": (lambda s: s.rename(s.with_name("gone")), "is no folder of shards"),
    "edges missing": (lambda s: (s / "edges-00001.parquet").unlink(), "edges-00001.parquet cannot be read"),
    "edges damaged": (lambda s: damage(s / "edges-00001.parquet"), "edges-00001.parquet"),
    "edges cut short": (lambda s: (s / "edges-00001.parquet").write_bytes(b"PAR1"), "edges-00001.parquet cannot"),
    "edges of another": (
        lambda s: (s / "edges-00001.parquet").write_bytes((s / "edges-00000.parquet").read_bytes()),
        "has 800 edges, expected 400",
    ),
    "capacity missing": (lambda s: (s / "capacity.npy").unlink(), "is no folder of shards"),
    "a later version": (
        lambda s: (s / "shards.json").write_text((s / "shards.json").read_text().replace(": 1,", ": 9,", 1)),
        "is of version 9, expected 1",
    ),
    "other items": (
        lambda s: (s / "demand.npy").write_bytes((s / "capacity.npy").read_bytes()),
        "items in shards, 400 with a demand",
    ),
}


@pytest.mark.parametrize("how", WRONG)
def test_wrong_shards_are_refused(how: str, tmp_path: Path) -> None:
    problem = Skewed(items=9, users=400, candidates=200, demand=5, capacity=4).make(0)
    spoil, message = WRONG[how]
    folder = write_shards(problem, tmp_path / "shards", 3)
    with new_shards(tmp_path / "uneven") as writer:
        for first, last in ((0, 4), (4, 6), (6, 9)):
            edges = slice(int(problem.indptr[first]), int(problem.indptr[last]))
            writer.add(np.diff(problem.indptr[first : last + 1]), problem.user[edges], problem.score[edges])
        writer.close(problem.demand, problem.capacity, None, None)
    folder = tmp_path / "uneven"
    same(whole(folder), problem)
    spoil(folder)
    with pytest.raises(ProblemError, match=message):
        whole(folder)


def whole(folder: Path) -> Problem:
    shards: Shards = open_shards(folder)
    return shards.part(0, shards.items)


def test_an_edge_that_is_wrong_is_named(tmp_path: Path) -> None:
    with new_shards(tmp_path / "s") as writer:
        writer.add(np.array([2]), np.array([0, 1], np.int32), np.array([1.0, np.nan], np.float32))
        writer.close(np.array([1], np.int32), np.array([1, 1], np.int32), None, np.array(["x", "y"]))
    with pytest.raises(ProblemError, match="'y'"):
        whole(tmp_path / "s")


def test_a_writer_that_was_not_closed_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="not closed"), new_shards(tmp_path / "s"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_floors_and_limits_are_refused(tmp_path: Path) -> None:
    problem = Problem.from_edges([0, 0, 1], [0, 1, 0], [1.0, 2, 3], 2, 2, floor=1)
    with pytest.raises(ProblemError, match="floors"):
        write_shards(problem, tmp_path / "s")
    with pytest.raises(ProblemError, match="floors"):
        solve(problem, Distributed(engine="threads"))


# --- solve_shards


def test_an_allocation_of_shards_is_written_whole(tmp_path: Path) -> None:
    problem = Skewed(items=40, users=90, candidates=20, demand=8, capacity=3).make(1)
    names = {"item_ids": np.char.add("i", np.arange(40).astype(str)), "user_ids": 1000 + np.arange(90)}
    problem = Problem.from_csr(problem.indptr, problem.user, problem.score, problem.demand, problem.capacity, **names)
    told: list[dict[str, Any]] = []
    options = Distributed(workers=3, engine="threads")
    answer = solve_shards(write_shards(problem, tmp_path / "s", 8), tmp_path / "out", options, on_step=told.append)
    assert answer.status is Status.WITHIN_GAP and answer.gap <= 1e-3
    assert told == list(answer.history) and told[-1]["gap"] == answer.gap
    pairs = pd.read_parquet(tmp_path / "out" / "pairs")
    expected = pd.DataFrame(solve(problem, options).pairs())
    for column in ("item", "user", "score"):
        mine, theirs = (table.sort_values(["item", "user"])[column].tolist() for table in (pairs, expected))
        assert mine == theirs
    assert answer.matches == len(pairs) and answer.value == pytest.approx(pairs["score"].sum(), rel=1e-6)
    prices = np.load(tmp_path / "out" / "prices.npy")
    assert certify(problem, solve(problem, options).chosen, prices).bound == pytest.approx(answer.bound, rel=1e-12)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["pairs", "prices.npy", "result.json"]
    assert len(list((tmp_path / "out" / "pairs").iterdir())) == 3


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    folder = write_shards(SHAPES["ragged"](0), tmp_path / "s")
    with pytest.raises(ProblemError, match="exists already"):
        solve_shards(folder, folder, Distributed(engine="threads"))
    with pytest.raises(ProblemError, match="gap is 2"):
        solve_shards(folder, tmp_path / "o", Distributed(engine="threads"), gap=2)
    assert not (tmp_path / "o").exists()


def test_time_is_kept(tmp_path: Path) -> None:
    problem = SHAPES["tight"](1)
    answer = solve_shards(
        write_shards(problem, tmp_path / "s"), tmp_path / "o", Distributed(engine="threads"), gap=0, time_limit=0
    )
    assert answer.status is Status.TIME_LIMIT and answer.matches > 0 and answer.value <= answer.bound


@pytest.mark.parametrize(
    "wrong", [{"workers": 0}, {"engine": "spark"}, {"first_eps": 0}, {"shrink": 1}, {"passes": 0}, {"max_steps": -1}]
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected workers >= 1"):
        Distributed(**wrong)
