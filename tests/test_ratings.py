"""Ratings like MovieLens': half stars that tie, and fewer places with users than the items want. Sorting loses a tenth."""

from types import ModuleType

import numpy as np
import pytest

from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve
from dualrec.solvers.uneven_instances import Ratings

SMALL = Ratings(items=500, users=4_000, ratings=108_000)
COMMON = {"20 users, 2 places": (20, 2), "40 users, 4 places": (40, 4), "10 users, 1 place": (10, 1)}
"""Demand and capacity: a user can take a tenth of its ratings or less."""


def with_limits(problem: Problem, demand: int, capacity: int) -> Problem:
    places = np.full(problem.users, capacity)
    return Problem.from_csr(problem.indptr, problem.user, problem.score, demand, places)


def loses_a_tenth(problem: Problem, optimum: float) -> None:
    """By sorting and by first come; `optimum`: what can be had for certain."""
    assert solve(problem, "greedy").value <= 0.9 * optimum
    assert solve(problem, "first-come").value <= 0.9 * optimum


@pytest.mark.parametrize("seed", range(3))
def test_sorting_loses_a_tenth_and_the_auction_a_thousandth(seed: int) -> None:
    problem = SMALL.make(seed)
    optimum = solve(problem, "min-cost-flow", gap=0)
    assert optimum.gap <= 1e-9
    loses_a_tenth(problem, optimum.value)
    answer = solve(problem, "auction", gap=1e-3)
    assert answer.gap <= 1e-3
    assert answer.value >= (1 - 1e-3) * optimum.value
    assert answer.bound >= optimum.value * (1 - 1e-12)


@pytest.mark.parametrize("limits", COMMON.values(), ids=COMMON)
@pytest.mark.parametrize("gap", [1e-3, 1e-6])
def test_other_limits(limits: tuple[int, int], gap: float) -> None:
    problem = with_limits(SMALL.make(7), *limits)
    answer, exact = solve(problem, "auction", gap=gap), solve(problem, "min-cost-flow", gap=0)
    assert answer.gap <= gap
    assert answer.value >= (1 - gap) * exact.value
    loses_a_tenth(problem, exact.value)


def test_no_limit_is_broken(independent_checker: ModuleType) -> None:
    """And the auction's matches are what the checker, which shares no code with the package, says they are."""
    problem = Ratings(items=60, users=500, ratings=9_000).make(1)
    item, user = problem.item_of(np.arange(problem.edges)).tolist(), problem.user.tolist()
    score = dict(zip(zip(item, user, strict=True), problem.score.tolist(), strict=True))
    case = independent_checker.Case(score, problem.demand.tolist(), problem.capacity.tolist())
    optimum = independent_checker.value(case, independent_checker.linear_optimum(case))
    for name in ("auction", "greedy", "local"):
        answer = solve(problem, name, gap=1e-9)
        pairs = [(item[edge], user[edge]) for edge in answer.chosen.tolist()]
        assert independent_checker.broken(case, pairs) == []
        assert independent_checker.value(case, pairs) == pytest.approx(answer.value, rel=1e-12)
        assert answer.value <= optimum * (1 + 1e-9) and answer.bound >= optimum * (1 - 1e-9)
        assert answer.value >= optimum * (1 - 1e-9) or name != "auction"


def test_half_stars_tie() -> None:
    problem = SMALL.make(0)
    assert np.unique(problem.score).tolist() == [n / 2 for n in range(1, 11)]
    assert problem.capacity.sum() < problem.demand.sum()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_two_million_ratings(seed: int) -> None:
    """The auction's value is certainly had, so that sorting loses a tenth of the optimum or more."""
    problem = Ratings().make(seed)
    assert problem.edges > 1_900_000
    answer = solve(problem, "auction", gap=1e-3)
    assert answer.gap <= 1e-3
    loses_a_tenth(problem, answer.value)
