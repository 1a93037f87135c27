"""The auction on a device: as good as it says beside an exact solver, the same twice, and clear where it cannot run."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers import (
    device_auction,
    device_memory,
    device_places,
    device_rounds,
    device_rows,
)
from dualrec.solvers.allocation import Status
from dualrec.solvers.certificate import check
from dualrec.solvers.device_auction import DeviceAuction
from dualrec.solvers.device_run import needed_bytes
from dualrec.solvers.errors import ProblemError, SolverError
from dualrec.solvers.instances import SCORE_KINDS, Ragged, Skewed, TightFlat
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve
from dualrec.solvers.uneven_instances import GiantRow

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
devices = pytest.mark.parametrize("device", DEVICES)
seeds, kinds = st.integers(0, 2**32 - 1), st.sampled_from(SCORE_KINDS)


@devices
@settings(max_examples=40, deadline=None)
@given(seed=seeds, kind=kinds, gap=st.sampled_from([0.1, 1e-2, 1e-3]))
def test_value_and_bound_are_within_the_gap_of_the_optimum(device: str, seed: int, kind: str, gap: float) -> None:
    problem = Ragged(items=30, users=25, most=6, kind=kind).make(seed)
    answer, exact = solve(problem, DeviceAuction(device=device), gap=gap), solve(problem, "min-cost-flow")
    check(problem, answer.chosen)
    assert answer.gap <= gap
    assert exact.value * (1 - gap) <= answer.value <= exact.value * (1 + 1e-12)
    assert exact.value * (1 - 1e-12) <= answer.bound


@devices
@settings(max_examples=30, deadline=None)
@given(seed=seeds, kind=kinds)
def test_each_step_is_within_eps_a_match(device: str, seed: int, kind: str) -> None:
    problem = Ragged(items=30, users=25, most=6, kind=kind).make(seed)
    optimum, most = solve(problem, "min-cost-flow").value, min(problem.demand.sum(), problem.capacity.sum())
    steps: list[dict[str, Any]] = []
    solve(problem, DeviceAuction(device=device, first_eps=1.0, shrink=0.5), gap=1e-6, on_step=steps.append)
    for step in [step for step in steps if "bidding" not in step]:  # the others filled a few places at the end
        assert step["value"] >= optimum - step["eps"] * most - 1e-9 * optimum
        assert step["bound"] <= optimum + step["eps"] * most + 1e-9 * optimum


@devices
@pytest.mark.parametrize("family", [Skewed(items=400, users=2_000), TightFlat(items=150, users=1_125), GiantRow(300)])
def test_it_is_about_as_good_as_the_auction(device: str, family: Any) -> None:
    problem = family.make(3)
    ours, theirs = solve(problem, DeviceAuction(device=device)), solve(problem, "auction")
    assert ours.gap <= 1e-3 and theirs.gap <= 1e-3
    assert ours.value == pytest.approx(theirs.value, rel=1e-3)


@devices
def test_the_same_answer_twice_and_with_half_scores(device: str) -> None:
    problem = Skewed(items=300, users=1_000, candidates=60, demand=20, capacity=5, levels=7).make(5)
    half = problem.score.astype(np.float16)
    rows = problem.indptr, problem.user
    kept = Problem.from_csr(*rows, half.astype(np.float32), problem.demand, problem.capacity)
    halves = Problem.from_csr(*rows, half, problem.demand, problem.capacity)
    answers = [solve(one, DeviceAuction(device=device)) for one in (kept, kept, halves)]
    for answer in answers[1:]:
        assert np.array_equal(answer.chosen, answers[0].chosen)
        assert np.array_equal(answer.user_prices, answers[0].user_prices)


@pytest.mark.parametrize("looks", [1, 9])
@pytest.mark.parametrize("block", [2, 5_000])
def test_small_blocks_and_rare_looks_find_it_too(monkeypatch: pytest.MonkeyPatch, looks: int, block: int) -> None:
    monkeypatch.setattr(device_rounds, "BETWEEN_LOOKS", looks)
    monkeypatch.setattr(device_rounds, "BLOCK_EDGES", {"cpu": block})
    monkeypatch.setattr(device_rows, "PIECE", 64)
    monkeypatch.setattr(device_places, "PIECE", 64)
    problem = Ragged(items=60, users=50, most=8).make(2)
    answer = solve(problem, DeviceAuction(device="cpu"))
    assert answer.gap <= 1e-3
    assert answer.value >= solve(problem, "min-cost-flow").value * (1 - 1e-3)


@devices
@pytest.mark.parametrize("seed", range(6))
def test_a_last_bucket_of_one_long_row(device: str, seed: int) -> None:
    """Bids that are none must point into the rows, however long the list was that they were taken from."""
    rng = np.random.default_rng(seed)
    users, items = 600, 50
    length = np.full(items, 500)
    length[-1] = 140 + seed  # over LONG: it has a list, and is alone in the last bucket
    user = np.concatenate([np.sort(rng.choice(users, count, replace=False)) for count in length])
    score = (rng.lognormal(size=users)[user] * rng.lognormal(size=user.size)).astype(np.float32)
    problem = Problem.from_csr(np.append(0, np.cumsum(length)), user, score, np.full(items, 30), np.full(users, 2))
    answer, exact = solve(problem, DeviceAuction(device=device), gap=1e-3), solve(problem, "min-cost-flow")
    check(problem, answer.chosen)
    assert answer.gap <= 1e-3
    assert exact.value * (1 - 1e-3) <= answer.value <= exact.value * (1 + 1e-12)


@devices
@pytest.mark.parametrize("seed", [4, 18])
def test_a_small_problem_of_ties_takes_more_reads_than_200(device: str, seed: int) -> None:
    """All users are worth the same to an item: a price war."""
    rng, items, users = np.random.default_rng(seed), 20, 52
    score = np.ceil(rng.random((items, 1)) * np.ones(users) * 5).astype(np.float32).ravel()
    kept = np.sort(rng.permutation(items * users)[:400])
    item, user = np.divmod(kept, users)
    indptr = np.append(0, np.cumsum(np.bincount(item, minlength=items)))
    problem = Problem.from_csr(indptr, user, score[kept], rng.integers(1, 12, items), rng.integers(1, 3, users))
    assert solve(problem, DeviceAuction(device=device, passes=200.0)).status is Status.STEP_LIMIT
    assert solve(problem, DeviceAuction(device=device)).gap <= 1e-3


class TestLimits:
    def test_step_limit_and_passes_end_with_the_best_answer(self) -> None:
        problem = TightFlat(items=60, users=450, candidates=400).make()
        answer = solve(problem, DeviceAuction(device="cpu", max_steps=0), gap=1e-7)
        assert answer.status is Status.STEP_LIMIT and answer.gap < 1e-2
        short = solve(problem, DeviceAuction(device="cpu", passes=2.0))
        assert short.status is Status.STEP_LIMIT and short.history[-1]["bidding"] > 0
        free_item, free_user = short.item_load < problem.demand, short.user_load < problem.capacity
        left = free_item[problem.item_of(np.arange(problem.edges))] & free_user[problem.user]
        left[short.chosen] = False
        assert not (left & (problem.score > 0)).any()

    def test_time_limit(self) -> None:
        answer = solve(TightFlat(items=60, users=450).make(), DeviceAuction(device="cpu"), gap=0, time_limit=0)
        check(answer.problem, answer.chosen)
        assert answer.status is Status.TIME_LIMIT and answer.matches > 0

    def test_floors_and_creator_caps_are_refused(self) -> None:
        columns = ["a", "a", "b"], ["x", "y", "x"], [1.0, 2.0, 3.0]
        floors = Problem.from_edges(*columns, 2, 1, floor=1)
        caps = Problem.from_edges(*columns, 2, 2, creator={"a": "c", "b": "c"}, creator_cap=1)
        for problem in (floors, caps):
            with pytest.raises(ProblemError, match="use `auction`"):
                solve(problem, DeviceAuction(device="cpu"))

    def test_wrong_options_are_refused(self) -> None:
        for wrong in ({"device": "gpu"}, {"first_eps": 0.0}, {"passes": 0}, {"shrink": 1.0}, {"max_steps": -1}):
            with pytest.raises(ValueError, match="expected device one of auto, cpu, cuda"):
                DeviceAuction(**wrong)


class TestWhereItRuns:
    def test_the_names_of_devices_are_the_same_in_both_places(self) -> None:
        assert device_auction.DEVICES == device_memory.DEVICES

    def test_no_gpu_is_said_in_one_line_and_the_cpu_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        problem = Ragged().make(1)
        with pytest.warns(UserWarning, match='device is "cuda", but torch finds none that works: this runs on the CPU'):
            answer = solve(problem, DeviceAuction(device="cuda"))
        assert {step["device"] for step in answer.history} == {"cpu"}
        assert np.array_equal(answer.chosen, solve(problem, DeviceAuction(device="auto")).chosen), "auto does not warn"

    @pytest.mark.parametrize("error", [RuntimeError("no kernel image is available"), AssertionError("not compiled")])
    def test_a_gpu_that_does_not_work_is_as_none(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(device_memory.torch, "ones", fail)
        assert device_memory.settled_device("auto") == device_memory.settled_device("cuda") == "cpu"
        monkeypatch.undo()
        assert device_memory.works("cpu")

    def test_too_little_memory_is_said_with_both_numbers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(device_memory, "available_bytes", lambda: 1000)
        with pytest.raises(SolverError, match=r"needs [\d,]+ bytes .* on device 'cpu', 1,000 bytes .* are free"):
            solve(Skewed(items=50, users=100, candidates=20).make(), DeviceAuction(device="cpu"))

    def test_running_out_of_memory_all_the_same_is_a_solver_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_room(*_: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr("dualrec.solvers.device_run.rows_on", no_room)
        with pytest.raises(SolverError, match="ran out of memory on device 'cpu'"):
            solve(Ragged().make(1), DeviceAuction(device="cpu"))

    @pytest.mark.parametrize("demand", [5, 20, 100])
    @pytest.mark.parametrize("items", [300, 2_000])
    def test_bytes_needed_are_not_fewer_than_a_cpu_takes(self, items: int, demand: int) -> None:
        """Where items want much of their row, bids take more than the row."""
        rng, width, users = np.random.default_rng(1), 100, 5 * items
        user = np.concatenate([np.sort(rng.choice(users, width, replace=False)) for _ in range(items)])
        scores, capacity = rng.lognormal(size=user.size).astype(np.float32), np.full(users, 1 + demand // 5)
        indptr = width * np.arange(items + 1)
        problem = Problem.from_csr(indptr, user, scores, np.full(items, demand), capacity)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as told:
            solve(problem, DeviceAuction(device="cpu", max_steps=0))
        taken = [event.nbytes() for event in told.profiler.kineto_results.events() if event.name() == "[memory]"]
        needed = needed_bytes(np.diff(indptr), 4, problem.demand, problem.capacity, "cpu")
        assert np.cumsum(taken).max() <= needed

    def test_four_thousand_million_edges_fit_a_large_gpu(self) -> None:
        items = 4_000_000
        needed = needed_bytes(np.full(items, 1000), 2, np.full(items, 200), np.full(30_000_000, 30, np.int32), "cuda")
        assert 24e9 < needed < 139 * 2**30


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_bytes_needed_are_not_fewer_than_taken() -> None:
    problem = Skewed().make()
    torch.cuda.reset_peak_memory_stats()
    solve(problem, DeviceAuction(device="cuda"))
    needed = needed_bytes(np.diff(problem.indptr), problem.score.itemsize, problem.demand, problem.capacity, "cuda")
    assert torch.cuda.max_memory_allocated() <= needed
