"""The certificate holds for any prices, catches every broken allocation, and its kernels equal plain NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.certificate import certify, check, upper_bound
from dualrec.solvers.certificate_kernels import Limits, Rows, item_profits, lowest_place, sum_of_largest
from dualrec.solvers.errors import AllocationError, ProblemError
from dualrec.solvers.instances import SCORE_KINDS, Ragged
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)


def dual_value_twin(problem: Problem, prices: np.ndarray) -> float:
    total = float((problem.capacity * prices).sum())
    for i in range(problem.items):
        row = slice(problem.indptr[i], problem.indptr[i + 1])
        left_over = np.maximum(0.0, problem.score[row].astype(np.float64) - prices[problem.user[row]])
        total += float(np.sort(left_over)[::-1][: problem.demand[i]].sum())
    return total


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
@given(seed=seeds, kind=kinds)
def test_bound_equals_its_twin(seed: int, kind: str) -> None:
    problem = Ragged(items=12, users=9, kind=kind).make(seed)
    prices = np.random.default_rng(seed).random(problem.users)
    assert upper_bound(problem, prices) == pytest.approx(dual_value_twin(problem, prices), rel=1e-12)
    profits = np.zeros(problem.items)
    rows = Rows(problem.indptr, problem.user, problem.score, problem.demand)
    none = Limits(np.empty(0, np.int32), np.empty(0), np.empty(0, np.int32))
    item_profits(rows, prices, none, 0, problem.items, profits)
    assert (profits >= 0).all()


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
