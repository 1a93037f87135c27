"""Items with identical rows: who is joined, that what the joint bidder wins is dealt out fairly, and at what prices."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.block_run import BlockRun
from dualrec.solvers.block_state import Rows
from dualrec.solvers.certificate import certify, check, total_score, upper_bound
from dualrec.solvers.identical_kernels import confirm, fingerprints
from dualrec.solvers.identical_rows import SAMPLES, WORTH_JOINING, JoinedRows, join_identical
from dualrec.solvers.instances import SCORE_KINDS, Ragged, draw_scores
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve
from dualrec.solvers.step import Clock
from dualrec.solvers.workers import Workers

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)
sizes = st.sampled_from([(1, 4, 30, 5), (4, 12, 6, 20), (5, 20, 12, 4), (3, 40, 3, 3)])  # rows, users, copies, places


def twins(seed: int, kind: str, size: tuple[int, int, int, int], score_type: Any = np.float32) -> Problem:
    """A few different rows, each of several items in any order; nine in ten of these have the same demand."""
    rng, (rows, users, most, places) = np.random.default_rng(seed), size
    listed = [np.flatnonzero(rng.random(users) < rng.random() + 0.2) for _ in range(rows)]
    scores = [np.minimum(draw_scores(rng, kind, row.size), 6e4).astype(score_type) for row in listed]
    of = rng.permutation(np.repeat(np.arange(rows), rng.integers(1, most + 1, rows)))
    demand = np.where(rng.random(of.size) < 0.9, rng.integers(0, 6, rows)[of], rng.integers(0, 6, of.size))
    indptr = np.append(0, np.cumsum([listed[row].size for row in of]))
    columns = (np.concatenate([column[row] for row in of]) for column in (listed, scores))
    return Problem.from_csr(indptr, *columns, demand, rng.integers(0, places + 1, users))


def rows_of(problem: Problem) -> Rows:
    demand = np.minimum(problem.demand, np.diff(problem.indptr)).astype(np.int32)
    return Rows(problem.indptr, problem.user.view(np.uint32), problem.stored_score(), demand)


def leaders(problem: Problem, hashes: np.ndarray | None = None) -> tuple[list[int], np.ndarray]:
    """The item that each item is joined to, and the hashes: those given or the fingerprints."""
    rows, bits = rows_of(problem), problem.stored_score().view(np.uint32)
    arrays = rows.indptr, rows.user, bits, rows.demand
    if hashes is None:
        hashes = np.empty(problem.items, np.uint64)
        fingerprints(*arrays, SAMPLES[-1], hashes)
    out = np.full(problem.items, -1)
    confirm(*arrays, np.argsort(hashes, kind="stable"), hashes, out)
    return out.tolist(), hashes


def contents(problem: Problem) -> list[Any]:
    """All that must be equal for two items to be joined, by item."""
    rows, ends = rows_of(problem), zip(problem.indptr[:-1], problem.indptr[1:], strict=True)
    return [
        (rows.user[a:b].tolist(), rows.score[a:b].tolist(), int(demand))
        for (a, b), demand in zip(ends, rows.demand, strict=True)
    ]


@settings(max_examples=100)
@given(seed=seeds, kind=kinds)
def test_equal_rows_with_equal_demand_are_joined_and_no_others(seed: int, kind: str) -> None:
    """Of rows of so few edges, which the fingerprint sees whole."""
    problem = twins(seed, kind, (6, SAMPLES[-1], 5, 3))
    rows = contents(problem)
    assert leaders(problem)[0] == [rows.index(row) for row in rows]


@settings(max_examples=100)
@given(seed=seeds, kind=kinds, different=st.integers(1, 3))
def test_rows_with_equal_hashes_are_told_apart(seed: int, kind: str, different: int) -> None:
    problem = twins(seed, kind, (6, 12, 5, 3))
    hashes = (np.arange(problem.items) % different).astype(np.uint64)
    rows = contents(problem)
    expected = [i % different if row == rows[i % different] else i for i, row in enumerate(rows)]
    assert leaders(problem, hashes)[0] == expected


def test_long_rows_that_differ_where_no_sample_is_taken_are_told_apart() -> None:
    length = 100
    score = np.ones((3, length))
    score[1, 50] = 2.0
    problem = Problem.from_csr(
        np.arange(4) * length, np.tile(np.arange(length), 3), score.ravel(), 5, np.ones(length, int)
    )
    joined, hashes = leaders(problem)
    assert hashes[0] == hashes[1], "this test is about samples that are the same"
    assert joined == [0, 1, 0]


def joined_rows(problem: Problem) -> JoinedRows:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dualrec.solvers.identical_rows.WORTH_JOINING", -1.0)
        patch.setattr("dualrec.solvers.identical_rows.fingerprints", with_a_pair)
        joined = join_identical(rows_of(problem), problem.capacity)
    assert joined is not None
    return joined


def with_a_pair(*arrays: Any) -> None:
    """Fingerprints of which two are equal at least, so that even problems without twins are joined."""
    fingerprints(*arrays)
    arrays[-1][-1:] = arrays[-1][:1]


@settings(max_examples=100)
@given(seed=seeds, kind=kinds, size=sizes)
def test_a_bidder_has_each_user_as_often_as_it_can_use_it(
    seed: int, kind: str, size: tuple[int, int, int, int]
) -> None:
    problem = twins(seed, kind, size)
    if problem.items < 2:
        return
    joined, rows, content = joined_rows(problem), rows_of(problem), contents(problem)
    assert sorted(joined.members.tolist()) == list(range(problem.items))
    for b in range(joined.wanted.size):
        members = joined.members[joined.member_start[b] : joined.member_start[b + 1]].tolist()
        assert members == sorted(members) and all(content[i] == content[members[0]] for i in members)
        first = slice(rows.indptr[members[0]], rows.indptr[members[0] + 1])
        times = np.minimum(len(members), problem.capacity[rows.user[first]])
        row = slice(joined.rows.indptr[b], joined.rows.indptr[b + 1])
        assert np.array_equal(joined.rows.user[row], np.repeat(rows.user[first], times))
        assert np.array_equal(joined.rows.score[row], np.repeat(rows.score[first], times))
        assert joined.wanted[b] == rows.demand[members].sum()
        assert joined.rows.demand[b] == min(joined.wanted[b], times.sum())


def some_held(joined: JoinedRows, rng: np.random.Generator) -> np.ndarray:
    """Edges of bidders, ascending, within the limits of bidders and users, most of them."""
    rows, taken = joined.rows, []
    want, left = rows.demand.copy(), joined.capacity.copy()
    for e in rng.permutation(rows.user.size)[: int(rng.integers(0, rows.user.size + 1))]:
        b = int(np.searchsorted(rows.indptr, e, side="right")) - 1
        if want[b] and left[rows.user[e]]:
            want[b] -= 1
            left[rows.user[e]] -= 1
            taken.append(int(e))
    return np.sort(np.array(taken, np.int64))


@settings(max_examples=100)
@given(seed=seeds, kind=kinds, size=sizes, half=st.booleans())
def test_what_bidders_hold_is_dealt_out(seed: int, kind: str, size: tuple[int, int, int, int], half: bool) -> None:
    problem = twins(seed, kind, size, np.float16 if half else np.float32)
    if problem.items < 2:
        return
    joined = joined_rows(problem)
    held = some_held(joined, np.random.default_rng(seed))
    edges = joined.edges(held)
    check(problem, edges)
    assert edges.size == held.size and (np.diff(edges) > 0).all(), "no item has a user twice"
    assert np.array_equal(np.sort(problem.user[edges]), np.sort(joined.rows.user[held]))
    assert total_score(problem, edges) == pytest.approx(
        joined.rows.score[held].view(problem.score.dtype).sum(dtype=np.float64), rel=1e-12
    )
    load = problem.item_load(edges)
    for b in range(joined.wanted.size):
        of_members = load[joined.members[joined.member_start[b] : joined.member_start[b + 1]]]
        assert of_members.max() - of_members.min() <= 1, "items of one bidder get the same, but for one user"


@settings(max_examples=200)
@given(seed=seeds, kind=kinds, size=sizes, half=st.booleans(), dear=st.sampled_from([0.0, 0.3, 1.0]))
def test_raised_prices_never_raise_the_bound(
    seed: int, kind: str, size: tuple[int, int, int, int], half: bool, dear: float
) -> None:
    """Whatever is held and at whatever prices, if nobody asks for users without places."""
    problem = twins(seed, kind, size, np.float16 if half else np.float32)
    if problem.items < 2:
        return
    joined, rng = joined_rows(problem), np.random.default_rng(seed)
    highest = float(problem.score32().max(initial=0.0))
    price = np.where(problem.capacity > 0, dear * highest * rng.random(problem.users), highest)
    raised = joined.prices(some_held(joined, rng), price)
    assert (raised >= price).all()
    assert upper_bound(problem, raised) <= upper_bound(problem, price) * (1 + 1e-12)


@settings(max_examples=60)
@given(seed=seeds, kind=kinds, size=sizes, share=st.sampled_from([1.0, 0.1, 1e-2]))
def test_the_end_is_within_eps_a_match(seed: int, kind: str, size: tuple[int, int, int, int], share: float) -> None:
    """Over the items' own rows, where each of them wants the users that the bidder holds."""
    problem = twins(seed, kind, size)
    run = BlockRun(problem, Clock(), Workers(1))
    *_, last = run.cold(share, np.inf)
    proof = certify(problem, last.chosen, last.prices)
    assert proof.value >= proof.bound - run.eps * last.chosen.size - 1e-6 * proof.bound


@settings(max_examples=60)
@given(seed=seeds, kind=kinds, size=sizes, half=st.booleans())
def test_identical_items_end_at_the_optimum(seed: int, kind: str, size: tuple[int, int, int, int], half: bool) -> None:
    problem = twins(seed, kind, size, np.float16 if half else np.float32)
    answer, exact = solve(problem, gap=1e-9), solve(problem, "min-cost-flow", gap=1e-9)
    assert answer.gap <= 1e-9
    assert answer.value == pytest.approx(exact.value, rel=1e-9)


CROWDS = {  # different rows, users, items of each, most places of a user
    "more items than places": (3, 30, 2_000, 60),
    "fewer items than places": (40, 50, 60, 300),
    "two places a user": (2, 200, 1_500, 2),
}


@pytest.mark.parametrize("crowd", CROWDS)
@pytest.mark.parametrize("kind", ["spread", "levels", "equal"])
def test_thousands_of_identical_items(crowd: str, kind: str) -> None:
    problem = twins(5, kind, CROWDS[crowd])
    answer = solve(problem)
    check(problem, answer.chosen)
    assert answer.gap <= 1e-3
    assert answer.value >= solve(problem, "min-cost-flow").value * (1 - 1e-3)


@pytest.mark.parametrize("twin", [40, 39])
def test_few_twins_are_left_alone(twin: int) -> None:
    """Two items with the same row of `twin` edges, of 200 in all: joining saves one such row."""
    lengths = np.array([twin, 200 - 2 * twin, twin])
    user = np.concatenate([np.arange(length) for length in lengths])
    problem = Problem.from_csr(np.append(0, np.cumsum(lengths)), user, np.ones(200), 3, np.ones(200, int))
    joined = join_identical(rows_of(problem), problem.capacity)
    assert (joined is not None) == (twin >= WORTH_JOINING * 200)
    assert joined is None or joined.members.tolist() == [0, 2, 1]


@pytest.mark.parametrize("items", [0, 1, 30])
def test_without_twins_nothing_is_joined(items: int) -> None:
    problem = Ragged(items=items, users=12).make(2)
    assert join_identical(rows_of(problem), problem.capacity) is None
