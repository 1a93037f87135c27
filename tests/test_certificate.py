"""The certificate holds for any prices, catches every broken allocation, and its kernels equal plain NumPy."""

from collections.abc import Callable
from dataclasses import replace

import numba as nb
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from dualrec.solvers.certificate import certify, check, total_score, upper_bound
from dualrec.solvers.certificate_kernels import (
    Limits,
    Rows,
    item_profits,
    lowest_place,
    score_of,
    sum_of_best,
    sum_of_largest,
    sum_of_scores,
    tally,
)
from dualrec.solvers.errors import AllocationError, ProblemError
from dualrec.solvers.instances import SCORE_KINDS, Ragged
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)
Limited = Callable[..., Problem]


def dual_value_twin(
    problem: Problem, prices: np.ndarray, group_prices: np.ndarray | None = None, least: np.ndarray | None = None
) -> float:
    """The bound by sorting each row."""
    total = float((problem.capacity * prices).sum())
    net = problem.score.astype(np.float64) - prices[problem.user]
    if group_prices is not None and problem.group is not None and problem.group_limit is not None:
        total += float((problem.group_limit * group_prices).sum())
        net -= np.where(problem.group >= 0, group_prices[problem.group], 0.0)
    for i in range(problem.items):
        falling = np.sort(net[problem.indptr[i] : problem.indptr[i + 1]])[::-1][: problem.demand[i]]
        forced = 0 if least is None else least[i]
        total += float(falling[:forced].sum() + np.maximum(0.0, falling[forced:]).sum())
    return total


def rows_of(problem: Problem) -> Rows:
    return Rows(problem.indptr, problem.user, problem.stored_score(), problem.demand)


def linear_program(problem: Problem, least: np.ndarray) -> tuple[float, np.ndarray, np.ndarray] | None:
    """The optimum by HiGHS with its user prices and group prices; None where `least` cannot be met."""
    edge, item = np.arange(problem.edges), problem.item_of(np.arange(problem.edges))
    users = sp.csr_array((np.ones(edge.size), (problem.user, edge)), (problem.users, edge.size))
    items = sp.csr_array((np.ones(edge.size), (item, edge)), (problem.items, edge.size))
    parts, limits = [users, items, -items], [problem.capacity, problem.demand, -least]
    if problem.group is not None and problem.group_limit is not None:
        inside = np.flatnonzero(problem.group >= 0)
        shape = (problem.groups, edge.size)
        parts.append(sp.csr_array((np.ones(inside.size), (problem.group[inside], inside)), shape))
        limits.append(problem.group_limit)
    found = linprog(-problem.score.astype(np.float64), sp.vstack(parts), np.concatenate(limits), bounds=(0, 1))
    if found.status == 2:
        return None
    assert found.status == 0
    dual = np.maximum(0.0, -found.ineqlin.marginals)
    return -found.fun, dual[: problem.users], dual[problem.users + 2 * problem.items :]


@settings(max_examples=150, deadline=None)
@given(seed=seeds, kind=kinds, size=st.floats(0, 3))
def test_any_prices_bound_the_optimum(seed: int, kind: str, size: float) -> None:
    problem = Ragged(kind=kind).make(seed)
    rng = np.random.default_rng(seed)
    scale = size * float(problem.score.max(initial=0.0))
    prices = scale * rng.random(problem.users) * (rng.random(problem.users) < rng.random())
    optimum = solve(problem, "min-cost-flow").value
    assert upper_bound(problem, prices) >= optimum * (1 - 1e-12)
    assert upper_bound(problem) >= optimum * (1 - 1e-12)


@settings(max_examples=100, deadline=None)
@given(seed=seeds, kind=kinds, half=st.booleans())
def test_bound_equals_its_twin(seed: int, kind: str, half: bool) -> None:
    problem = Ragged(items=12, users=9, kind="levels" if half else kind).make(seed)
    if half:
        problem = replace(problem, score=problem.score.astype(np.float16))
    prices = np.random.default_rng(seed).random(problem.users)
    assert upper_bound(problem, prices) == pytest.approx(dual_value_twin(problem, prices), rel=1e-12)
    profits = np.zeros(problem.items)
    none = Limits(np.empty(0, np.int32), np.empty(0), np.empty(0, np.int32))
    item_profits(rows_of(problem), prices, none, 0, problem.items, profits)
    assert (profits >= 0).all()


@settings(max_examples=100, deadline=None)
@given(seed=seeds, kind=kinds)
def test_bound_with_limits_equals_its_twin(limited_problem: Limited, seed: int, kind: str) -> None:
    problem, rng = limited_problem(seed, kind), np.random.default_rng(seed)
    scale = float(problem.score.max(initial=1.0))
    prices, group_prices = scale * rng.random(problem.users), scale * rng.random(problem.groups)
    least = rng.integers(0, np.minimum(problem.demand, np.diff(problem.indptr)) + 1)
    bound = upper_bound(problem, prices, group_prices=group_prices, least=least)
    assert bound == pytest.approx(dual_value_twin(problem, prices, group_prices, least), rel=1e-12, abs=1e-12 * scale)


@settings(max_examples=100, deadline=None)
@given(seed=seeds, kind=st.sampled_from(["spread", "levels", "equal"]))
def test_bound_with_limits_is_tight_at_the_duals_and_holds_elsewhere(
    limited_problem: Limited, seed: int, kind: str
) -> None:
    problem, rng = limited_problem(seed, kind), np.random.default_rng(seed)
    least = np.minimum(rng.integers(0, 2, problem.items), problem.demand)
    found = linear_program(problem, least)
    if found is None or (least > np.diff(problem.indptr)).any():
        return
    optimum, prices, group_prices = found
    bound = upper_bound(problem, prices, group_prices=group_prices, least=least)
    assert bound == pytest.approx(optimum, rel=1e-9, abs=1e-9)
    other = rng.random(problem.users), rng.random(problem.groups)
    assert upper_bound(problem, other[0], group_prices=other[1], least=least) >= optimum * (1 - 1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, kind=kinds)
def test_certify_asks_for_the_floors_that_are_met(limited_problem: Limited, seed: int, kind: str) -> None:
    problem = limited_problem(seed, kind)
    answer = solve(problem, "greedy")
    least = np.zeros(problem.items, np.int64) if problem.floor is None else np.minimum(problem.floor, answer.item_load)
    certificate = certify(problem, answer.chosen, answer.user_prices, answer.group_prices)
    assert certificate.bound == upper_bound(problem, answer.user_prices, group_prices=answer.group_prices, least=least)
    assert certificate.bound >= answer.value * (1 - 1e-12)
    shortfall = answer.shortfall
    assert shortfall.dtype == np.int64
    assert np.array_equal(shortfall, (0 if problem.floor is None else problem.floor) - least)


def test_the_bound_does_not_depend_on_threads() -> None:
    """Rows of several lengths, enough edges for three threads."""
    rng = np.random.default_rng(3)
    length = rng.integers(0, 800, 4_500)
    indptr = np.concatenate([[0], np.cumsum(length)])
    user = np.arange(indptr[-1]) - np.repeat(indptr[:-1], length)
    score = np.round(rng.lognormal(size=user.size), 1).astype(np.float32)
    problem = Problem.from_csr(indptr, user, score, 90, np.full(800, 50))
    prices = np.round(3 * rng.random(800), 1)
    bounds = {upper_bound(problem, prices, threads=threads) for threads in (None, 1, 2, 3)}
    assert len(bounds) == 1
    assert bounds.pop() == pytest.approx(dual_value_twin(problem, prices), rel=1e-12)


def test_every_half_score_is_read_exactly() -> None:
    half = np.arange(0x7C00, dtype=np.uint16)
    read = np.empty(half.size, np.float32)
    read_halves(half, read)
    assert np.array_equal(read, half.view(np.float16).astype(np.float32))
    assert [score_of(one) for one in half[::97]] == read[::97].tolist()
    assert score_of(np.float32(0.3)) == np.float32(0.3)


@nb.njit
def read_halves(bits: np.ndarray, out: np.ndarray) -> None:
    for j in range(bits.size):
        out[j] = score_of(bits[j])


values_at_any_scale = st.lists(
    st.one_of(
        st.floats(-2, 2),
        st.sampled_from([0.0, 0.5, 1.0, 1.0 + 1e-12, 1.0 - 1e-12, 1e-46, 1e-6, 1e6, -1e300]),
        st.floats(0, 3e38),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(values=values_at_any_scale, k=st.integers(0, 65))
def test_sum_of_best_equals_sorting(values: list[float], k: int) -> None:
    """Values that are equal in float32 and differ in float64 are told apart."""
    exact = np.array(values, np.float64)
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    expected = np.maximum(0.0, np.sort(exact)[::-1][:k]).sum()
    found = sum_of_best(exact.copy(), rounded, rounded.view(np.int32), exact.size, k)
    assert found == pytest.approx(expected, rel=1e-13, abs=1e-43)


@settings(max_examples=50, deadline=None)
@given(seed=seeds, count=st.sampled_from([0, 1, 4095, 4096, 9000]))
def test_tally_equals_counting(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    user, score = rng.integers(0, 50, 10_000).astype(np.int32), rng.lognormal(size=10_000).astype(np.float32)
    chosen, load = np.sort(rng.choice(10_000, count, replace=False)), np.zeros(50, np.int32)
    sums, again, cut = np.zeros(3), np.zeros(3), min(count, 4096)
    assert tally(chosen, 10_000, user, score, cut, count, sums, load) == -1
    assert tally(chosen, 10_000, user, score, 0, cut, sums, load) == -1
    assert sums.sum() == pytest.approx(score[chosen].sum(dtype=np.float64), rel=1e-12)
    sum_of_scores(chosen, score, again)
    assert np.array_equal(sums, again)
    assert np.array_equal(load, np.bincount(user[chosen], minlength=50))
    if count > 1:
        assert tally(chosen[::-1].copy(), 10_000, user, score, 0, count, sums, load) == 1
        assert tally(np.append(chosen, 10_000), 10_000, user, score, 0, count + 1, sums, load) == count
    if count == 9000:
        chosen[4096] = chosen[4095]
        assert tally(chosen, 10_000, user, score, 4096, count, sums, load) == 4096


@settings(deadline=None)
@given(values=st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 7.25]), max_size=40), k=st.integers(0, 45))
def test_sum_of_largest_equals_sorting(values: list[float], k: int) -> None:
    given_values = np.array(values, np.float64)
    expected = np.sort(given_values)[::-1][:k].sum()
    assert sum_of_largest(given_values, len(values), k) == expected


@settings(max_examples=50, deadline=None)
@given(seed=seeds, kind=kinds)
def test_lowest_place_equals_sorting(seed: int, kind: str) -> None:
    problem = Ragged(kind=kind).make(seed)
    order, out = np.argsort(-problem.score, kind="stable"), np.zeros(problem.users)
    lowest_place(order, problem.user, problem.score, problem.capacity, out)
    for u in range(problem.users):
        scores = np.sort(problem.score[problem.user == u])[::-1]
        place = max(1, problem.capacity[u])
        assert out[u] == (scores[place - 1] if scores.size >= place else 0.0)


def test_trivial_bound_is_the_lower_of_two_sides() -> None:
    scarce_users = Problem.from_csr([0, 2, 4], [0, 1, 0, 1], [3.0, 1, 2, 1], 2, [1, 1])
    assert upper_bound(scarce_users) == 4.0
    scarce_items = Problem.from_csr([0, 2, 4], [0, 1, 0, 1], [3.0, 1, 2, 1], 1, [2, 2])
    assert upper_bound(scarce_items) == 5.0


def two_by_two() -> Problem:
    return Problem.from_edges(
        ["a", "a", "b", "b"], ["x", "y", "x", "y"], [4.0, 3, 2, 1], demand={"a": 1, "b": 2}, capacity={"x": 1, "y": 2}
    )


def test_certify_gives_value_bound_and_gap() -> None:
    problem = two_by_two()
    certificate = certify(problem, np.array([0, 3]), np.array([2.0, 0.0]))
    assert (certificate.value, certificate.bound) == (5.0, 6.0)
    assert certificate.gap == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([0, 0], "item 'a' and user 'x' are matched twice"),
        ([0, 1], "item 'a' has 2 matches, over its demand of 1"),
        ([0, 2], "user 'x' has 2 matches, over its capacity of 1"),
        ([4], "edge 4 is chosen, expected 0 to 3"),
        ([-1], "edge -1 is chosen"),
        ([0.0], "expected integers"),
    ],
)
def test_broken_allocations_are_caught(chosen: list, message: str) -> None:
    with pytest.raises(AllocationError, match=message):
        check(two_by_two(), np.array(chosen))


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        ([1.0], "shape"),
        ([1.0, np.nan], "price of user 'y' is nan"),
        ([-1.0, 0.0], "price of user 'x' is -1"),
        ([np.inf, 0.0], "price of user 'x' is inf"),
    ],
)
def test_wrong_prices_are_refused(prices: list[float], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        upper_bound(two_by_two(), np.array(prices))


def test_a_broken_limit_of_a_user_and_a_creator_is_named() -> None:
    edges: tuple = (["a", "a", "b", "b"], ["x", "y", "x", "y"], [4.0, 3, 2, 1], 2, 2)
    problem = Problem.from_edges(*edges, creator={"a": "ann", "b": "ann"}, creator_cap=1)
    check(problem, np.array([0, 3]))
    with pytest.raises(AllocationError, match="user 'y' and creator 'ann' have 2 matches, over the limit of 1"):
        check(problem, np.array([1, 3]))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"group_prices": [1.0]}, r"group prices have shape \(1,\), expected \(2,\)"),
        ({"group_prices": [1.0, -2.0]}, "price of the limit of user 'y' and creator 'ann' is -2.0"),
        ({"group_prices": [np.nan, 0.0]}, "price of the limit of user 'x' and creator 'ann' is nan"),
        ({"least": [0, 3]}, "least of item 'b' is 3, expected 0 to 2"),
        ({"least": [-1, 0]}, "least of item 'a' is -1"),
        ({"least": [0.5, 0]}, "least is float64"),
        ({"least": [0]}, r"shape \(1,\), expected whole numbers \(2,\)"),
    ],
)
def test_wrong_limits_are_refused(limits: dict, message: str) -> None:
    edges: tuple = (["a", "a", "b", "b"], ["x", "y", "x", "y"], [4.0, 3, 2, 1], 2, 2)
    problem = Problem.from_edges(*edges, creator={"a": "ann", "b": "ann"}, creator_cap=1)
    given_limits = {name: np.array(values) for name, values in limits.items()}
    with pytest.raises(ProblemError, match=message):
        upper_bound(problem, np.zeros(2), **given_limits)
    with pytest.raises(ProblemError, match=message):
        upper_bound(problem, **given_limits)


def test_values_of_edges_that_do_not_exist_are_refused() -> None:
    for chosen in ([-1], [4]):
        with pytest.raises(AllocationError, match="is chosen, expected 0 to 3"):
            total_score(two_by_two(), np.array(chosen))
