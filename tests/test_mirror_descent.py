"""Dual mirror descent: prices that learn from each item, and what they are worth."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.certificate import upper_bound
from dualrec.solvers.instances import SCORE_KINDS, Ragged, Skewed
from dualrec.solvers.mirror_descent import MirrorDescent
from dualrec.solvers.mirror_descent_kernels import descend
from dualrec.solvers.problem import Problem
from dualrec.solvers.problem_parts import some_items
from dualrec.solvers.solve import solve
from dualrec.solvers.uneven_instances import SkewedLists

Make = Callable[..., Problem]
seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)


def descend_twin(
    problem: Problem, rise: np.ndarray, fall: np.ndarray, price: np.ndarray
) -> tuple[list[int], np.ndarray, np.ndarray]:
    """The rule with all prices moved after every item: matches, last prices, and the sum of the prices before each."""
    left, total, chosen = problem.capacity.copy(), np.zeros(problem.users), []
    for i in range(problem.items):
        total += price
        row = np.arange(problem.indptr[i], problem.indptr[i + 1])
        net = problem.score[row] - price[problem.user[row]]
        free = row[(net > 0) & (left[problem.user[row]] > 0)]
        net = problem.score[free] - price[problem.user[free]]
        taken = free[np.lexsort((problem.user[free], -net))][: problem.demand[i]]
        left[problem.user[taken]] -= 1
        chosen += taken.tolist()
        moved = -fall
        moved[problem.user[taken]] += rise[problem.user[taken]]
        price = np.maximum(price + moved, 0.0)
    return sorted(chosen), price, total


@settings(max_examples=150)
@given(seed=seeds)
def test_prices_moved_when_read_are_those_moved_after_every_item(seed: int) -> None:
    """In multiples of 1/64, so that every sum is exact and ties are ties."""
    rng = np.random.default_rng(seed)
    plain = Ragged(items=25, users=6, density=0.4, most=12).make(seed)
    score = rng.integers(0, 200, plain.edges) / 64
    problem = Problem.from_csr(plain.indptr, plain.user, score, plain.demand, plain.capacity)
    rise, fall, begin = (rng.integers(0, most, problem.users) / 64 for most in (120, 20, 200))
    line, held = np.zeros((problem.users, 4)), np.zeros(problem.edges, np.uint8)
    line[:, 0], line[:, 1] = begin, fall
    places = problem.demand.astype(np.int64), problem.capacity.astype(np.int64), np.zeros(0, np.int64)
    descend(problem.indptr, problem.user, problem.score, np.zeros(0, np.int32), rise, line, *places, held)
    chosen, last, total = descend_twin(problem, rise, fall, begin)
    assert np.flatnonzero(held).tolist() == chosen
    assert np.maximum(line[:, 0] - fall * problem.items, 0.0).tolist() == last.tolist()
    assert line[:, 2].tolist() == total.tolist()


@settings(max_examples=60)
@given(seed=seeds, rate=st.sampled_from([0.3, 2.0, 7.0]))
def test_steps_are_in_mean_scores_over_the_root_of_the_capacity(seed: int, rate: float) -> None:
    problem = Ragged(items=15, users=6, most=5).make(seed)
    item = problem.item_of(np.arange(problem.edges))
    worth = (problem.demand > 0)[item] & (problem.capacity > 0)[problem.user]
    unit = problem.score[worth].mean(dtype=np.float64) if worth.any() else 1.0
    rise = rate * unit / np.sqrt(np.maximum(problem.capacity, 1))
    fall = rise * np.minimum(problem.capacity / problem.items, 1.0)
    chosen, _, total = descend_twin(problem, rise, fall, np.zeros(problem.users))
    answer = solve(problem, MirrorDescent(rate, top_up=False), gap=0)
    assert answer.chosen.tolist() == chosen
    assert answer.bound <= upper_bound(problem, total / problem.items) * (1 + 1e-9)


@settings(max_examples=60)
@given(seed=seeds, kind=kinds)
def test_topping_up_keeps_what_was_taken(limited_problem: Make, seed: int, kind: str) -> None:
    problem = limited_problem(seed, kind, items=12)
    online, filled = (solve(problem, MirrorDescent(top_up=top_up)) for top_up in (False, True))
    assert set(online.chosen.tolist()) <= set(filled.chosen.tolist())


@settings(max_examples=60)
@given(seed=seeds, kind=kinds)
def test_prices_that_never_move_are_first_come(limited_problem: Make, seed: int, kind: str) -> None:
    problem = limited_problem(seed, kind, items=12)
    assert np.array_equal(solve(problem, MirrorDescent(rate=0.0)).chosen, solve(problem, "first-come").chosen)


def test_the_share_of_the_optimum_rises_with_the_number_of_items() -> None:
    """Items drawn alike, capacities that grow with them: the share lost falls like 1 / sqrt(items)."""
    shares = []
    for items in (125, 500, 2_000, 8_000):
        family = SkewedLists(items=items, users=500, candidates=50, demand=10, capacity=items * 6 // 500)
        problem = family.make(1)
        shares.append(solve(problem, MirrorDescent(top_up=False)).value / solve(problem).bound)
    lost = 1 - np.array(shares)
    assert (np.diff(lost) < 0).all()
    assert lost[-1] < 0.4 * lost[0]


@pytest.mark.parametrize("family", [SkewedLists(1_000, 10_000, 500, 100, 20), Skewed(1_000, 5_000, 200, 40, 10)])
def test_beats_first_come_where_users_are_uneven(family: Any) -> None:
    problem = family.make(2)
    first, online = solve(problem, "first-come"), solve(problem, MirrorDescent(top_up=False))
    assert online.value > 1.05 * first.value
    assert online.gap < first.gap


def test_prices_of_the_day_before_help() -> None:
    both, online = SkewedLists(1_000, 5_000, 250, 50, 10).make(3), MirrorDescent(0.5, top_up=False)
    yesterday, today = some_items(both, np.arange(500)), some_items(both, np.arange(500, 1_000))
    begin = solve(yesterday).user_prices
    assert solve(today, online, start_prices=begin).value > 1.1 * solve(today, online).value


@pytest.mark.parametrize("rate", [-1.0, np.inf, np.nan])
def test_wrong_options_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="expected a finite rate >= 0"):
        MirrorDescent(rate)
