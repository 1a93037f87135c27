"""The auction on a device: as good as it says beside an exact solver, the same twice, and clear where it cannot run."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers import (
    device_auction,
    device_bids,
    device_lists,
    device_memory,
    device_places,
    device_rounds,
    device_rows,
)
from dualrec.solvers.allocation import Status
from dualrec.solvers.block_state import Rows
from dualrec.solvers.certificate import check
from dualrec.solvers.device_auction import DeviceAuction
from dualrec.solvers.device_places import DevicePlaces, degrees
from dualrec.solvers.device_rounds import DeviceRounds
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


class TestLists:
    @pytest.mark.parametrize("seed", range(6))
    def test_short_lists_of_any_size_find_it_too(self, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
        for name, size in (("LONG", 4), ("LISTED", 1 + seed % 3), ("ROOM", 4 + seed)):
            for module in (device_lists, device_bids, device_rounds):
                monkeypatch.setattr(module, name, size, raising=False)
        monkeypatch.setattr(device_rounds, "BETWEEN_LOOKS", 2)
        problem = Ragged(items=70, users=50, most=8, kind=SCORE_KINDS[seed % 5]).make(seed)
        answer, exact = solve(problem, DeviceAuction(device="cpu")), solve(problem, "min-cost-flow")
        assert answer.gap <= 1e-3
        assert exact.value * (1 - 1e-3) <= answer.value <= exact.value * (1 + 1e-12)

    @devices
    @pytest.mark.parametrize("reads", [8, 10, 12])
    def test_what_is_not_on_a_list_is_worth_no_more_than_it_says(self, device: str, reads: float) -> None:
        problem = TightFlat(items=150, users=1_125).make(3)
        demand = problem.demand.astype(np.int32)
        rows = device_rows.rows_on(Rows(problem.indptr, problem.user, problem.score, demand), problem.users, device)
        rounds = DeviceRounds(rows, torch.tensor(problem.capacity, device=device))
        rounds.run(0.05, 0.0, reads * rows.size, lambda: False)
        width, lists = rows.buckets[0].width, rounds.lists
        user = rows.user[:-1].view(-1, width).cpu()
        net = rows.score[:-1].view(-1, width).float().cpu() - rounds.places.price.cpu()[user.long()]  # held: infinite
        having = np.flatnonzero(lists.rest.cpu() < torch.inf)
        assert having.size > 50
        for item in having:
            size, rest = int(lists.size[item]), lists.rest[item].item()
            listed = lists.column[item, :size].cpu()[lists.user[item, :size].cpu() < 2 * rows.users]
            assert np.unique(listed).size == listed.numel()
            left = np.delete(net[item].numpy(), listed)
            assert left.max() <= max(rest, 0)
            assert torch.equal(lists.user[item, :size].cpu(), user[item][lists.column[item, :size].cpu().long()])


class TestRows:
    @settings(max_examples=60, deadline=None)
    @given(seed=seeds, same=st.booleans(), half=st.booleans())
    def test_padding_keeps_every_edge_in_its_row(self, seed: int, same: bool, half: bool) -> None:
        rng = np.random.default_rng(seed)
        length = np.full(9, 4) if same else rng.integers(0, 60, 9)
        indptr = np.append(0, np.cumsum(length))
        user = rng.integers(0, 99, indptr[-1]).astype(np.uint32)
        score = rng.random(indptr[-1]).astype(np.float32)
        demand = np.ones(9, np.int32) if same else np.minimum(rng.integers(0, 3, 9), length).astype(np.int32)
        stored = score.astype(np.float16).view(np.uint16) if half else score
        rows = device_rows.rows_on(Rows(indptr, user, stored, demand), 99, "cpu")
        assert rows.score.dtype == (torch.float16 if half or not score.size else torch.float32)
        place = np.flatnonzero(rows.user.numpy()[:-1] < 99)
        edge = rows.edges_of(place, indptr)
        wanted = np.flatnonzero((demand > 0)[np.repeat(np.arange(9), length)])
        assert np.array_equal(edge, wanted)
        item = np.arange(9) if rows.item is None else rows.item
        assert np.array_equal(rows.demand.numpy()[:-1], demand[item])
        row = rows.row_of(torch.from_numpy(place)).numpy()
        pairs = np.stack([item[row], rows.user.numpy()[place], rows.score.numpy()[place].astype(np.float32)])
        kept = score.astype(np.float16).astype(np.float32) if half else score
        theirs = np.stack([np.repeat(np.arange(9), length)[wanted], user[wanted], kept[wanted]])
        assert sorted(pairs.T.tolist()) == sorted(theirs.T.tolist())

    def test_float16_is_taken_where_it_keeps_every_score(self) -> None:
        scores = np.arange(2000, dtype=np.float32) / 64
        rows = Rows(np.array([0, 2000]), np.arange(2000, dtype=np.uint32), scores, np.ones(1, np.int32))
        assert device_rows.rows_on(rows, 2000, "cpu").score.dtype == torch.float16
        scores[-1] = 1 + 2**-12
        assert device_rows.rows_on(rows, 2000, "cpu").score.dtype == torch.float32

    def test_read_only_arrays_are_not_copied_on_the_host(self) -> None:
        array = np.zeros(1 << 20, np.int32)
        array.setflags(write=False)
        tracemalloc.start()
        shared = device_rows._host(array)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert shared.data_ptr() == array.ctypes.data and most < 1 << 20

    def test_too_many_users_are_refused(self) -> None:
        rows = Rows(np.zeros(1, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.float32), np.zeros(0, np.int32))
        with pytest.raises(ProblemError, match="takes fewer than 1073741824"):
            device_rows.rows_on(rows, 2**30, "cpu")


class TestPlaces:
    @devices
    @settings(max_examples=60, deadline=None)
    @given(seed=seeds, levels=st.sampled_from([2, 1000]), most=st.sampled_from([2, 30]))
    def test_users_keep_their_best_bids(self, device: str, seed: int, levels: int, most: int) -> None:
        """Round after round as a sort of all bids says: a user keeps the largest, the earlier ones among equals."""
        rng, users = np.random.default_rng(seed), 7
        capacity = rng.integers(0, most + 1, users).astype(np.int32)
        places = DevicePlaces(*(torch.tensor(a, device=device) for a in (capacity, np.full(users, 99, np.int32))))
        held: list[list[tuple[float, int]]] = [[] for _ in range(users)]
        for number in range(6):
            user, edge = rng.integers(0, users + 1, 20), np.arange(20) + 20 * number
            bid = np.ceil(rng.random(20) * levels).astype(np.float32) / 4
            told = places.keep(*(torch.tensor(a, device=device) for a in (user, bid, bid, edge)))
            for u in range(users):
                offers = held[u] + [(float(b), int(e)) for b, e, at in zip(bid, edge, user, strict=True) if at == u]
                held[u] = sorted(offers, key=lambda one: -one[0])[: capacity[u]]  # stable: held, then as they came
                full = capacity[u] > 0 and len(held[u]) == capacity[u]
                price = np.inf if capacity[u] == 0 else held[u][-1][0] if full else 0.0
                assert places.price[u].item() == price
                assert places.free[u].item() == capacity[u] - len(held[u])
            kept = {edge for one in held for _, edge in one}
            assert set(told.edge[told.taken].tolist()) == kept & set(edge.tolist())
            assert not set(told.lost[told.displaced].tolist()) & kept

    def test_users_of_each_edge_are_counted(self) -> None:
        user = torch.tensor([0, 2, 2, 8, 9, 2], dtype=torch.int32)
        assert degrees(user, 4).tolist() == [1, 0, 3, 0]


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
        with pytest.warns(UserWarning, match='device is "cuda", but torch finds no such device: this runs on the CPU'):
            answer = solve(problem, DeviceAuction(device="cuda"))
        assert {step["device"] for step in answer.history} == {"cpu"}
        assert np.array_equal(answer.chosen, solve(problem, DeviceAuction(device="auto")).chosen), "auto does not warn"

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

    def test_four_thousand_million_edges_fit_a_large_gpu(self) -> None:
        items = 4_000_000
        needed = needed_bytes(np.full(items, 1000), 2, np.full(30_000_000, 30, np.int32), "cuda")
        assert 24e9 < needed < 139 * 2**30


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_bytes_needed_are_not_fewer_than_taken() -> None:
    problem = Skewed().make()
    torch.cuda.reset_peak_memory_stats()
    solve(problem, DeviceAuction(device="cuda"))
    needed = needed_bytes(np.diff(problem.indptr), problem.score.itemsize, problem.capacity, "cuda")
    assert torch.cuda.max_memory_allocated() <= needed
