"""The parts of the auction on a device: padded rows, places of users, short lists, and rounds without a look."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers import (
    device_bids,
    device_lists,
    device_rounds,
    device_rows,
)
from dualrec.solvers.block_state import Rows
from dualrec.solvers.device_auction import DeviceAuction
from dualrec.solvers.device_places import DevicePlaces, degrees, runs
from dualrec.solvers.device_rounds import DeviceRounds, Look, Queue
from dualrec.solvers.errors import ProblemError
from dualrec.solvers.instances import SCORE_KINDS, Ragged, Skewed, TightFlat
from dualrec.solvers.solve import solve

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
devices = pytest.mark.parametrize("device", DEVICES)
seeds, kinds = st.integers(0, 2**32 - 1), st.sampled_from(SCORE_KINDS)


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
        held = ((user >= rows.users) & (user < 2 * rows.users)).sum(1)
        assert torch.equal(held.int(), rounds.load[:-1].cpu()), "nothing is held twice"
        taken = torch.tensor(problem.capacity) - rounds.places.free[:-1].cpu()
        assert taken.sum() == held.sum() and (taken >= 0).all()


@devices
@pytest.mark.parametrize("reads", [1, 2, 6, 12])
@pytest.mark.parametrize("family", [TightFlat(items=150, users=1_125), Skewed(items=400, users=2_000), Ragged()])
def test_closing_keeps_what_is_held(device: str, family: Any, reads: float) -> None:
    """It fills places that are free: more matches, and never one less, so never less value."""
    problem = family.make(3)
    demand = np.minimum(problem.demand, np.diff(problem.indptr)).astype(np.int32)
    rows = device_rows.rows_on(Rows(problem.indptr, problem.user, problem.score, demand), problem.users, device)
    rounds = DeviceRounds(rows, torch.tensor(problem.capacity, device=device))
    look = rounds.run(0.05, 0.0, reads * rows.size, lambda: False)
    before = rounds.held().cpu().numpy()
    assert rounds.close(look, lambda: False).waiting == 0
    after = rounds.held().cpu().numpy()
    assert np.isin(before, after).all()
    users = np.bincount(problem.user[rows.edges_of(after, problem.indptr)], minlength=problem.users)
    assert (users <= problem.capacity).all()


@pytest.mark.parametrize("family", [Ragged(items=90, users=80), TightFlat(items=150, users=1_125)])
@pytest.mark.parametrize("listing", [False, True])
def test_a_round_never_waits_for_the_device(family: Any, listing: bool) -> None:
    """On tensors without data, whose values nobody can ask for: every size in a round is known before it."""
    problem = family.make(1)
    demand = np.minimum(problem.demand, np.diff(problem.indptr)).astype(np.int32)
    rows = device_rows.rows_on(Rows(problem.indptr, problem.user, problem.score, demand), problem.users, "cpu")
    rounds = DeviceRounds(rows, torch.tensor(problem.capacity))
    buckets, before = range(len(rows.buckets)), rounds.rounds
    queues = [Queue(one, listed, 40, 90) for one in buckets for listed in ((False, True) if listing else (False,))]
    for part in (rows, rounds, rounds.places, rounds.lists):
        without_data(part)
    rounds._listing = listing and rounds.lists.count > 0
    rounds._everyone(Look(queues if rounds._listing else queues[:1], 10), 64, 0.1, rounds.places.price)
    assert rounds.rounds == before + 1


def without_data(part: Any) -> None:
    for name, value in vars(part).items():
        if isinstance(value, torch.Tensor):
            setattr(part, name, value.to("meta"))
        elif isinstance(value, list) and value and isinstance(value[0], torch.Tensor):
            setattr(part, name, [one.to("meta") for one in value])


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

    def test_too_many_edges_are_refused(self) -> None:
        none = np.zeros(0, np.uint32), np.zeros(0, np.float32)
        rows = Rows(np.array([0, 3 * 10**9, 5 * 10**9]), *none, np.ones(2, np.int32))
        with pytest.raises(ProblemError, match="5000000000 edges with padding"):
            device_rows.rows_on(rows, 9, "cpu")

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

    @devices
    def test_with_only_free_places_nobody_is_pushed_out(self, device: str) -> None:
        places = DevicePlaces(*(torch.tensor(a, dtype=torch.int32, device=device) for a in ([2, 1], [9, 9])))
        bids = [([0, 1], [1.0, 2.0], [0, 1]), ([0, 0, 1], [5.0, 7.0, 9.0], [2, 3, 4])]
        for number, (user, bid, edge) in enumerate(bids):
            offered = torch.tensor(bid, device=device)
            sides = torch.tensor(user, device=device), offered, offered, torch.tensor(edge, device=device)
            told = places.keep(*sides, only_free=number == 1)
        assert told.edge[told.taken].tolist() == [3] and not told.displaced.any()
        assert places.free.tolist() == [0, 0, 0] and places.price[:2].tolist() == [1, 2]

    @devices
    @settings(max_examples=60, deadline=None)
    @given(user=st.lists(st.integers(0, 5), max_size=30).map(sorted))
    def test_runs_of_equal_users(self, device: str, user: list[int]) -> None:
        told = runs(torch.tensor(user, dtype=torch.int64, device=device))
        first = {one: user.index(one) for one in user}
        assert told[0].tolist() == [sorted(first).index(one) for one in user]
        assert told[1].tolist() == [at - first[one] for at, one in enumerate(user)]
        assert told[2].tolist() == [user.count(one) for one in user]

    def test_users_of_each_edge_are_counted(self) -> None:
        user = torch.tensor([0, 2, 2, 8, 9, 2], dtype=torch.int32)
        assert degrees(user, 4).tolist() == [1, 0, 3, 0]
