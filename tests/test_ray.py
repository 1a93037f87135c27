"""The distributed auction on a real Ray: workers that are killed or stand still in the middle of a solve."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualrec.solvers.certificate import certify
from dualrec.solvers.distributed.engines import RayEngine
from dualrec.solvers.distributed.session import Session
from dualrec.solvers.distributed.shards import open_shards, write_shards
from dualrec.solvers.distributed.solver import Distributed
from dualrec.solvers.instances import Skewed, TightFlat
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve

WORKERS = 3


class KillingEngine(RayEngine):
    """Sends a signal to workers before some of the calls, some milliseconds later: {call: (worker, signal, seconds)}."""

    def __init__(self, folder: Path, messages: Path, workers: int) -> None:
        super().__init__(folder, messages, workers)
        self.plan: dict[int, tuple[int, int, float]] = {}
        self.calls, self.sent = 0, 0

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        if self.calls in self.plan:
            worker, number, seconds = self.plan.pop(self.calls)
            os_pid = self.process(worker)
            threading.Timer(seconds, os.kill, (os_pid, number)).start()
            if number == signal.SIGSTOP:
                threading.Timer(seconds + 2.0, os.kill, (os_pid, signal.SIGCONT)).start()
            self.sent += 1
        self.calls += 1
        return super().each(method, arguments)

    def process(self, worker: int) -> int:
        return int(self._ray.get(self.actors[worker].__ray_call__.remote(lambda _: os.getpid()), timeout=60))


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    import ray

    ray.init(address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Skewed(items=900, users=4_000, candidates=200, demand=40, capacity=10).make(3)


@pytest.mark.usefixtures("ray_here")
def test_ray_gives_what_threads_give(problem: Problem) -> None:
    spread = solve(problem, Distributed(workers=WORKERS, engine="ray"))
    assert spread.gap <= 1e-3
    assert np.array_equal(spread.chosen, solve(problem, Distributed(workers=2, engine="threads")).chosen)


@pytest.mark.usefixtures("ray_here")
def test_killed_and_stopped_workers_lose_no_match(problem: Problem, tmp_path: Path) -> None:
    shards = open_shards(write_shards(problem, tmp_path / "shards", 9))
    (tmp_path / "messages").mkdir()
    engine = KillingEngine(shards.folder, tmp_path / "messages", WORKERS)
    session = Session(shards, engine)
    first = session.step("a", 0.1, 1e-3, 60.0, lambda: False)
    undisturbed = certify(problem, session.chosen(first), first.prices)
    begin, calls = engine.calls, engine.calls
    rng = np.random.default_rng(5)
    for k in range(4):
        what = signal.SIGSTOP if k == 2 else signal.SIGKILL
        engine.plan[begin + 9 * k + 2] = int(rng.integers(WORKERS)), what, float(rng.choice([0.0, 0.001, 0.01]))
    second = session.step("b", 0.1, 1e-3, 60.0, lambda: False)
    assert engine.sent == 4 and engine.calls > calls + 30
    chosen = session.chosen(second)
    disturbed, total = certify(problem, chosen, second.prices), session.certify(second)
    assert total.matches == chosen.size and total.value == pytest.approx(disturbed.value, rel=1e-12)
    assert disturbed.gap <= 1e-3 and disturbed.value == pytest.approx(undisturbed.value, rel=1e-4)
    engine.close()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_ten_kills_at_random_times(tmp_path: Path) -> None:
    """Ten solves of millions of edges, a worker killed at a random time in each."""
    problem = TightFlat(items=4_000, users=30_000, candidates=500).make(1)
    shards = open_shards(write_shards(problem, tmp_path / "shards", 16))
    (tmp_path / "messages").mkdir()
    engine = KillingEngine(shards.folder, tmp_path / "messages", WORKERS)
    session, rng = Session(shards, engine), np.random.default_rng(11)
    begun = time.perf_counter()
    session.step("warm", 0.1, 1e-3, 60.0, lambda: False)
    for k in range(11):
        before = engine.calls
        engine.plan[before + int(rng.integers(2, 60))] = (
            int(rng.integers(WORKERS)),
            signal.SIGKILL,
            float(rng.random() / 20),
        )
        begun = time.perf_counter()
        held = session.step(f"s{k}", 0.1, 1e-3, 60.0, lambda: False)
        chosen, total = session.chosen(held), session.certify(held)
        whole = certify(problem, chosen, held.prices)
        assert total.matches == chosen.size and whole.gap <= 1.2e-3
        print(f"{time.perf_counter() - begun:.1f} s, gap {whole.gap:.1e}, {engine.sent} killed")
    assert engine.sent >= 10
    engine.close()
