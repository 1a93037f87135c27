"""The distributed auction on a real Ray: workers that are killed or stand still in the middle of a solve."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dualrec.solvers.certificate import certify
from dualrec.solvers.distributed import ray_cluster, ray_engine
from dualrec.solvers.distributed.ray_cluster import Places
from dualrec.solvers.distributed.ray_engine import RayEngine
from dualrec.solvers.distributed.session import Session
from dualrec.solvers.distributed.shard_writer import write_shards
from dualrec.solvers.distributed.sharded import solve_shards
from dualrec.solvers.distributed.shards import open_shards
from dualrec.solvers.distributed.solver import Distributed
from dualrec.solvers.errors import ProblemError, SolverError
from dualrec.solvers.instances import Skewed, TightFlat
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve

WORKERS = 3


class KillingEngine(RayEngine):
    """Sends signals to workers, so many seconds after a call to go on: [(seconds, worker, signal)]."""

    def __init__(self, folder: Path, messages: Path, workers: int, places: Places) -> None:
        super().__init__(folder, messages, workers, places)
        self.plan: list[tuple[float, int, int]] = []
        self.sent: list[threading.Thread] = []

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        if method == "run" and self.plan:
            for seconds, worker, number in self.plan:
                self.sent.append(threading.Timer(seconds, send, (self.process(worker), number)))
                self.sent[-1].start()
            self.plan = []
        return super().each(method, arguments)

    def process(self, worker: int) -> int:
        return int(self._ray.get(self.actors[worker].__ray_call__.remote(lambda _: os.getpid()), timeout=60))


def send(process: int, number: int) -> None:
    os.kill(process, number)
    if number == signal.SIGSTOP:
        time.sleep(2.0)
        os.kill(process, signal.SIGCONT)


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
def test_more_workers_than_ray_has_room_for(problem: Problem) -> None:
    with pytest.raises(SolverError, match=f"Ray has {WORKERS} CPUs, expected 9: one for each worker"):
        solve(problem, Distributed(workers=9, engine="ray"))


@pytest.mark.usefixtures("ray_here")
def test_a_cluster_that_others_use(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    with ray_cluster.room_for(WORKERS - 1), monkeypatch.context() as impatient:
        impatient.setattr(ray_cluster, "ROOM_PATIENCE", 1.0)
        with pytest.raises(SolverError, match=f"free CPUs of {WORKERS}, expected 2"):
            solve(problem, Distributed(workers=2, engine="ray"))
    assert ray.is_initialized()
    assert solve(problem, Distributed(workers=2, engine="ray")).gap <= 1e-3


@pytest.fixture
def engine(ray_here: None, problem: Problem, tmp_path: Path) -> Iterator[KillingEngine]:
    """Workers of shards of the problem."""
    shards = write_shards(problem, tmp_path / "shards", 9)
    (tmp_path / "messages").mkdir()
    with ray_cluster.room_for(WORKERS) as places:
        made = KillingEngine(shards, tmp_path / "messages", WORKERS, places)
        yield made
        made.close()


def test_killed_and_stopped_workers_lose_no_match(problem: Problem, engine: KillingEngine, tmp_path: Path) -> None:
    session = Session(open_shards(tmp_path / "shards"), engine)
    first = session.step("a", 0.1, 1e-3, 60.0, lambda: False)
    undisturbed = certify(problem, session.chosen(first), first.prices)
    before = [engine.process(worker) for worker in range(WORKERS)]
    engine.plan = [(0.01, 0, signal.SIGKILL), (0.02, 1, signal.SIGSTOP)]
    second = session.step("b", 0.1, 1e-3, 60.0, lambda: False)
    engine.plan = [(0.0, 2, signal.SIGKILL)]
    third = session.step("c", 0.05, 1e-3, 60.0, lambda: False)
    assert len(engine.sent) == 3
    assert certify(problem, session.chosen(third), third.prices).gap <= 1e-3
    chosen = session.chosen(second)
    disturbed, total = certify(problem, chosen, second.prices), session.certify(second)
    assert total.matches == chosen.size and total.value == pytest.approx(disturbed.value, rel=1e-12)
    assert disturbed.gap <= 1e-3 and disturbed.value == pytest.approx(undisturbed.value, rel=1e-4)
    same = [engine.process(worker) == before[worker] for worker in range(WORKERS)]
    assert same == [False, True, False]


def test_shards_that_are_damaged_on_the_way(engine: KillingEngine, tmp_path: Path) -> None:
    """The error of a worker comes through, also of one that has to read again."""
    path = tmp_path / "shards" / "edges-00004.parquet"
    session = Session(open_shards(tmp_path / "shards"), engine)
    session.step("a", 0.1, 1e-3, 60.0, lambda: False)
    path.write_bytes(b"PAR1")
    os.kill(engine.process(1), signal.SIGKILL)
    with pytest.raises(ProblemError, match=r"edges-00004.parquet cannot be read"):
        session.step("b", 0.1, 1e-3, 60.0, lambda: False)


@pytest.mark.parametrize("method", ["shape", "certify", "loads", "write_pairs"])
@pytest.mark.usefixtures("ray_here")
def test_a_worker_is_killed_at_any_call(
    method: str, problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed as it is called, and once more 10 ms later: the files are whole, and no pair is lost or doubled."""
    folder = write_shards(problem, tmp_path / "shards", 9)
    killed: list[int] = []

    def each(engine: KillingEngine, called: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        if called == method and not killed:
            killed.append(engine.process(1))
            os.kill(killed[0], signal.SIGKILL)
            killed.append(engine.process(2))
            threading.Timer(0.01, os.kill, (killed[1], signal.SIGKILL)).start()
        return RayEngine.each(engine, called, arguments)

    monkeypatch.setattr(KillingEngine, "each", each)
    monkeypatch.setattr(ray_engine, "RayEngine", KillingEngine)
    monkeypatch.chdir(tmp_path)
    answer = solve_shards(folder.name, "out", Distributed(workers=WORKERS))
    assert len(killed) == 2
    pairs = pd.read_parquet(tmp_path / "out" / "pairs")
    assert len(list((tmp_path / "out" / "pairs").iterdir())) == WORKERS
    assert not pairs.duplicated(["item", "user"]).any()
    edges = pd.DataFrame({"item": problem.item_of(np.arange(problem.edges)), "user": problem.user})
    chosen = edges.reset_index().merge(pairs, on=["item", "user"])["index"].to_numpy()
    whole = certify(problem, np.sort(chosen), np.load(tmp_path / "out" / "prices.npy"))
    assert chosen.size == len(pairs) == answer.matches
    assert whole.value == pytest.approx(answer.value, rel=1e-9) and whole.gap <= 1e-3


@pytest.mark.slow
def test_ten_kills_at_random_times(ray_here: None, tmp_path: Path) -> None:
    """Ten solves of millions of edges, a worker killed at a random time in each."""
    problem = TightFlat(items=4_000, users=30_000, candidates=500).make(1)
    shards = open_shards(write_shards(problem, tmp_path / "shards", 16))
    (tmp_path / "messages").mkdir()
    with ray_cluster.room_for(WORKERS) as places:
        engine = KillingEngine(shards.folder, tmp_path / "messages", WORKERS, places)
        session, rng = Session(shards, engine), np.random.default_rng(11)
        session.step("warm", 0.1, 1e-3, 60.0, lambda: False)
        begun = time.perf_counter()
        session.step("warmer", 0.1, 1e-3, 60.0, lambda: False)
        took = time.perf_counter() - begun
        for k in range(10):
            worker = int(rng.integers(WORKERS))
            before = engine.process(worker)
            engine.plan = [(float(rng.random()) * took, worker, signal.SIGKILL)]
            begun = time.perf_counter()
            held = session.step(f"s{k}", 0.1, 1e-3, 60.0, lambda: False)
            chosen, total = session.chosen(held), session.certify(held)
            whole = certify(problem, chosen, held.prices)
            assert total.matches == chosen.size and whole.gap <= 1.2e-3
            engine.sent[-1].join()  # if the step was over before, the next call finds it dead
            assert engine.process(worker) != before
            print(f"{time.perf_counter() - begun:.1f} s, gap {whole.gap:.1e}, {len(engine.sent)} killed")
        assert len(engine.sent) == 10
        engine.close()
