"""The limit on changes is kept exactly, the bound holds for everything within it, and the report adds up."""

import itertools
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.allocation import Allocation, Status
from dualrec.solvers.certificate import check
from dualrec.solvers.churn import solve_near
from dualrec.solvers.churn_kernels import charge
from dualrec.solvers.errors import ProblemError, SolverError
from dualrec.solvers.greedy import Greedy
from dualrec.solvers.instances import SCORE_KINDS, Ragged, Skewed, TiedGroups, TightFlat
from dualrec.solvers.near_allocation import NearAllocation
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve
from dualrec.solvers.step import Goal, Step

Make = Callable[..., Problem]

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)
FAMILIES = [Skewed(200, 900, 60, 12, 4), TightFlat(40, 300, 200, 100, 14), TiedGroups(60, 8, 900, 60, 20)]


def tomorrow(problem: Problem, seed: int, share: float = 0.3) -> Problem:
    """The problem with a share of its scores changed."""
    rng = np.random.default_rng(seed)
    factor = np.where(rng.random(problem.edges) < share, rng.lognormal(size=problem.edges), 1.0)
    score = np.minimum(problem.score * factor, 1e30).astype(np.float32)
    return replace(problem, score=score)


def is_near(near: NearAllocation, previous: Allocation, most: int) -> None:
    problem, chosen = near.allocation.problem, near.allocation.chosen
    check(problem, chosen)
    new = np.setdiff1d(chosen, previous.chosen)
    assert near.changed == new.size <= most == near.most_changes
    assert near.kept == chosen.size - new.size
    assert near.kept + near.dropped + near.gone == previous.matches
    assert near.value <= near.bound * (1 + 1e-12)
    assert near.bound <= near.allocation.bound * (1 + 1e-12)
    assert near.cost == pytest.approx(near.allocation.bound - near.value, abs=1e-9 * near.allocation.bound)


@settings(max_examples=80)
@given(seed=seeds, kind=kinds, most=st.integers(0, 4), solver=st.sampled_from(["auction", "min-cost-flow"]))
def test_bound_holds_against_trying_all(seed: int, kind: str, most: int, solver: str) -> None:
    problem = Ragged(items=3, users=4, density=0.6, most=2, kind=kind).make(seed)
    previous = solve(problem)
    new = tomorrow(problem, seed, share=1.0)
    near = solve_near(new, previous, most, solver, gap=1e-9)
    is_near(near, previous, most)
    optimum = best_by_trying_all(new, previous.chosen, most)
    assert near.value <= optimum * (1 + 1e-9)
    assert near.bound >= optimum * (1 - 1e-9)
    if near.gap <= 1e-9:
        assert near.value == pytest.approx(optimum, rel=1e-8)


@pytest.mark.parametrize("family", FAMILIES)
def test_limit_is_exact_and_more_changes_are_worth_more(family: Any) -> None:
    problem = family.make(0)
    previous, new = solve(problem), tomorrow(problem, 1)
    unlimited = solve(new, gap=1e-4)
    values = []
    for most in (0, 1, 20, 200, previous.matches):
        near = solve_near(new, previous, most)
        is_near(near, previous, most)
        assert near.gap <= 5e-3, "what whole changes lose against fractional ones is little here"
        assert near.bound >= unlimited.value * (1 - 1e-12) or most < previous.matches
        values.append(near.value)
    assert all(later >= earlier * (1 - 1e-3) for earlier, later in itertools.pairwise(values))
    assert values[-1] == pytest.approx(unlimited.value, rel=2e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_changes_at_all_keep_what_is_possible(family: Any) -> None:
    problem = family.make(0)
    previous = solve(problem)
    near = solve_near(tomorrow(problem, 1), previous, 0)
    assert near.changed == 0 and near.kept == previous.matches
    assert np.array_equal(near.allocation.chosen, previous.chosen)
    assert near.status in (Status.OPTIMAL, Status.WITHIN_GAP)


@settings(max_examples=50)
@given(seed=seeds, kind=kinds, most=st.integers(0, 8), solver=st.sampled_from(["min-cost-flow", "greedy", "local"]))
def test_floors_and_creators_are_kept(limited_problem: Make, seed: int, kind: str, most: int, solver: str) -> None:
    problem = limited_problem(seed, kind, items=10, users=9)
    previous = solve(limited_problem(seed, kind, items=10, users=9, floors=False), "min-cost-flow")
    near = solve_near(tomorrow(problem, seed), previous, most, solver, gap=1e-6)
    is_near(near, previous, most)


def test_with_changes_enough_floors_are_met() -> None:
    problem = Problem.from_csr([0, 2, 4], [0, 1, 0, 1], [5.0, 4.0, 1.0, 2.0], 2, [1, 1])
    previous = solve(problem)
    floored = replace(problem, floor=np.array([0, 1], np.int32))
    assert previous.chosen.tolist() == [0, 1]
    assert solve_near(floored, previous, 1, "min-cost-flow", gap=0).allocation.chosen.tolist() == [0, 3]
    assert solve_near(floored, previous, 0, "min-cost-flow", gap=0).allocation.chosen.tolist() == [0, 1]


def test_matches_that_are_gone_are_told_apart_from_those_given_up() -> None:
    old = Problem.from_edges(["a", "a", "b"], ["x", "y", "z"], [1.0, 1.0, 1.0], 2, 1)
    new = Problem.from_edges(["a", "a", "c"], ["x", "z", "z"], [1.0, 2.0, 9.0], 1, 1)
    near = solve_near(new, solve(old), 2)
    assert (near.changed, near.kept, near.dropped, near.gone) == (1, 1, 0, 2)
    assert near.allocation.pairs()["item"].tolist() == ["a", "c"]
    assert str(near).startswith(
        "1 of 2 matches are new, at most 2 may be. 1 are kept, 0 given up, 2 no longer possible."
    )


def test_columns_serve_as_well_as_an_allocation() -> None:
    problem = Skewed(200, 900, 60, 12, 4).make(0)
    previous, new = solve(problem), tomorrow(problem, 2)
    by_allocation = solve_near(new, previous, 50)
    by_columns = solve_near(new, previous.pairs(), 50)
    assert by_columns.changed <= 50 and by_columns.kept + by_columns.dropped == previous.matches
    assert by_columns.value == pytest.approx(by_allocation.value, rel=2e-3)


def test_an_answer_near_one_before_is_one_to_stay_near() -> None:
    problem = Skewed(60, 200, 30, 6, 3).make(0)
    first = solve_near(tomorrow(problem, 3), solve(problem), 10)
    second = solve_near(tomorrow(problem, 4), first, 10, threads=1)
    is_near(second, first.allocation, 10)
    assert np.array_equal(second.pairs()["user"], second.allocation.pairs()["user"])
    table = pa.table({name: pa.array(column) for name, column in first.pairs().items()})
    assert solve_near(tomorrow(problem, 4), table, 10).kept == second.kept


@pytest.mark.parametrize("name", ["auction", "min-cost-flow", "greedy", "lp", "local"])
def test_any_solver_will_do(name: str) -> None:
    problem = Skewed(60, 200, 30, 6, 3).make(0)
    previous = solve(problem)
    near = solve_near(tomorrow(problem, 3), previous, 10, name)
    is_near(near, previous, 10)
    assert near.allocation.solver == name


def test_steps_are_told_and_kept() -> None:
    problem = Skewed(200, 900, 60, 12, 4).make(0)
    told: list[dict[str, Any]] = []
    near = solve_near(tomorrow(problem, 2), solve(problem), 30, gap=0, on_step=told.append)
    assert list(near.history) == told and [step["step"] for step in told] == list(range(1, len(told) + 1))
    assert all(step["changed"] <= 30 for step in told)
    gaps = [step["gap"] for step in told]
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] == near.gap


@pytest.mark.parametrize("solver", ["auction", "greedy"])
def test_out_of_time_the_best_so_far_is_the_answer(solver: str) -> None:
    problem = TightFlat(40, 300, 200, 100, 14).make(0)
    previous = solve(problem)
    near = solve_near(tomorrow(problem, 2), previous, 30, solver, gap=0, time_limit=0)
    is_near(near, previous, 30)
    assert near.status is Status.TIME_LIMIT


def test_interrupted_the_best_so_far_is_the_answer() -> None:
    def press(step: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    problem = TightFlat(40, 300, 200, 100, 14).make(0)
    previous = solve(problem)
    near = solve_near(tomorrow(problem, 2), previous, 30, gap=0, on_step=press)
    is_near(near, previous, 30)
    assert near.status is Status.INTERRUPTED and len(near.history) == 1


def test_a_press_during_an_inner_solve_reaches_both() -> None:
    @dataclass(frozen=True)
    class Pressed(Greedy):
        def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
            signal.raise_signal(signal.SIGINT)
            yield from super().steps(problem, goal)

    problem = TightFlat(40, 300, 200, 100, 14).make(0)
    previous = solve(problem)
    near = solve_near(tomorrow(problem, 2), previous.pairs(), 30, Pressed(), gap=0)
    is_near(near, previous, 30)
    assert near.status is Status.INTERRUPTED and len(near.history) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_half_scores() -> None:
    problem = Skewed(200, 900, 60, 12, 4).make(0)
    previous, new = solve(problem), tomorrow(problem, 4)
    halves = replace(new, score=new.score.astype(np.float16))
    near = solve_near(halves, previous, 40, "min-cost-flow")
    is_near(near, previous, 40)
    assert near.gap <= 1e-3


def test_wrong_input_is_refused() -> None:
    problem = Ragged().make(0)
    previous = solve(problem)
    with pytest.raises(ProblemError, match="most_changes is -1, expected a whole number >= 0"):
        solve_near(problem, previous, -1)
    with pytest.raises(ProblemError, match=r"most_changes is 0\.5"):
        solve_near(problem, previous, 0.5)  # type: ignore[arg-type]
    with pytest.raises(ProblemError, match="no column 'user', expected the columns item and user"):
        solve_near(problem, {"item": [1]}, 3)
    with pytest.raises(ProblemError, match="2 items and 1 users"):
        solve_near(problem, {"item": [1, 2], "user": [1]}, 3)
    with pytest.raises(ProblemError, match="previous is NoneType, expected an Allocation or the columns"):
        solve_near(problem, None, 3)  # type: ignore[arg-type]
    with pytest.raises(ProblemError, match="gap is 2, expected a number from 0 to 1"):
        solve_near(problem, previous, 3, gap=2)
    with pytest.raises(ProblemError, match="time_limit is -1"):
        solve_near(problem, previous, 3, time_limit=-1)
    with pytest.raises(ProblemError, match="item ids are strings but"):
        solve_near(problem, {"item": ["a"], "user": [1]}, 3)


def test_throw_raises_the_sentence() -> None:
    problem = TightFlat(40, 300, 200, 100, 14).make(0)
    with pytest.raises(SolverError, match=r"solve_near: .* The gap is .*, asked for 0"):
        solve_near(tomorrow(problem, 2), solve(problem), 30, "greedy", gap=0, throw=True)


@settings(max_examples=60)
@given(seed=seeds, kind=kinds, penalty=st.sampled_from([0.0, 1e-6, 0.3, 1.0, 1e7]))
def test_charged_scores_are_rounded_up(seed: int, kind: str, penalty: float) -> None:
    problem = Ragged(kind=kind).make(seed)
    fresh = (np.random.default_rng(seed).random(problem.edges) < 0.5).astype(np.uint8)
    out = np.empty(problem.edges, np.float32)
    charge(problem.score, fresh, penalty, out)
    exact = np.maximum(0.0, problem.score.astype(np.float64) - penalty * fresh)
    assert (out >= exact).all() and np.allclose(out, exact, rtol=1e-6, atol=1e-45)
    assert np.array_equal(out[fresh == 0], problem.score[fresh == 0])


def best_by_trying_all(problem: Problem, before: np.ndarray, most: int) -> float:
    """The best value over all subsets of at most 12 edges with at most `most` that are not in `before`."""
    taken = np.array(list(itertools.product([0, 1], repeat=problem.edges)), np.int64)
    item, new = problem.item_of(np.arange(problem.edges)), ~np.isin(np.arange(problem.edges), before)
    sides = [(item, problem.demand), (problem.user, problem.capacity)]
    fits = taken @ new <= most
    for side, limit in sides:
        fits &= (taken @ (side[:, None] == np.arange(limit.size)) <= limit).all(axis=1)
    return float((taken[fits] @ problem.score.astype(np.float64)).max())
