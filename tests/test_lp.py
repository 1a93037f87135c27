"""The linear program: HiGHS is exact, PDLP's bound holds, and both are rounded to matches that keep every limit."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.allocation import Status
from dualrec.solvers.certificate import check
from dualrec.solvers.instances import SCORE_KINDS, Ragged, Skewed, TiedGroups, TightFlat
from dualrec.solvers.lp import Lp, rounded
from dualrec.solvers.lp_model import LpPoint, lp_model
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import make_solver, solve

Make = Callable[..., Problem]

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)


@settings(max_examples=60)
@given(seed=seeds, kind=kinds)
def test_highs_equals_min_cost_flow(seed: int, kind: str) -> None:
    problem = Ragged(items=12, users=14, kind=kind).make(seed)
    answer, exact = solve(problem, "lp", gap=1e-9), solve(problem, "min-cost-flow", gap=0)
    assert answer.value == pytest.approx(exact.value, rel=1e-9)
    assert answer.status is Status.OPTIMAL


@settings(max_examples=60)
@given(seed=seeds, kind=kinds, floors=st.booleans(), creators=st.sampled_from([0, 2, 4]))
def test_highs_with_floors_and_creators(
    limited_problem: Make, seed: int, kind: str, floors: bool, creators: int
) -> None:
    problem = limited_problem(seed, kind, floors=floors, creators=creators)
    answer, exact = solve(problem, "lp", gap=1e-9), solve(problem, "min-cost-flow", gap=0)
    assert answer.value == pytest.approx(exact.value, rel=1e-9, abs=1e-12)
    assert shortfall(problem, answer.chosen) == shortfall(problem, exact.chosen)
    assert answer.gap <= 1e-9


@settings(max_examples=40)
@given(seed=seeds, kind=kinds, floors=st.booleans(), creators=st.sampled_from([0, 2]))
def test_pdlp_is_feasible_and_its_bound_holds(
    limited_problem: Make, seed: int, kind: str, floors: bool, creators: int
) -> None:
    problem = limited_problem(seed, kind, floors=floors, creators=creators)
    answer, exact = solve(problem, "pdlp"), solve(problem, "min-cost-flow", gap=0)
    check(problem, answer.chosen)
    assert shortfall(problem, answer.chosen) == shortfall(problem, exact.chosen)
    if (np.minimum(floor_of(problem), answer.item_load) == np.minimum(floor_of(problem), exact.item_load)).all():
        assert answer.value <= exact.value * (1 + 1e-9)
        assert answer.bound >= exact.value * (1 - 1e-9)


FAMILIES = [Skewed(100, 500, 60, 20, 5), TightFlat(40, 300, 200, 100, 14), TiedGroups(60, 8, 900, 60, 20, levels=3)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["highs", "pdlp"])
def test_notes_tell_the_fractional_value(family: Any, method: str) -> None:
    problem = family.make(2)
    answer, exact = solve(problem, Lp(method), gap=1e-9), solve(problem, "min-cost-flow", gap=0).value
    last = answer.history[-1]
    assert last["fractional_value"] == pytest.approx(exact, rel=1e-9 if method == "highs" else 1e-4)
    assert last["iterations"] >= 0 and last["solver"] == answer.solver == ("lp" if method == "highs" else "pdlp")
    assert answer.value >= 0.99 * exact
    assert answer.bound == pytest.approx(exact, rel=1e-9 if method == "highs" else 1e-3)


def test_pdlp_goes_on_until_the_gap_is_reached() -> None:
    problem = TightFlat(40, 300, 200, 100, 14).make(0)
    coarse, fine = solve(problem, "pdlp", gap=0.05), solve(problem, "pdlp", gap=1e-9)
    assert len(coarse.history) == 1 and coarse.status is Status.WITHIN_GAP
    assert len(fine.history) > 1 and fine.bound <= coarse.bound


@pytest.mark.parametrize("name", ["lp", "pdlp"])
def test_out_of_time_there_is_still_an_answer(name: str) -> None:
    problem = Skewed(300, 900, 60, 12, 4).make(0)
    answer = solve(problem, name, gap=0, time_limit=0)
    check(problem, answer.chosen)
    assert answer.status is Status.TIME_LIMIT
    assert answer.value >= 0.5 * solve(problem, "min-cost-flow").value, "as greedy, at least half"


@settings(max_examples=60)
@given(seed=seeds, kind=kinds)
def test_rounding_any_point_keeps_every_limit(limited_problem: Make, seed: int, kind: str) -> None:
    problem = limited_problem(seed, kind)
    rng = np.random.default_rng(seed)
    model = lp_model(problem, problem.floor)
    point = LpPoint(rng.random(model.edge.size), rng.normal(size=model.upper.size), 0)
    step = rounded(problem, model, point, None)
    check(problem, step.chosen)
    assert (step.prices >= 0).all() and (np.diff(step.chosen) > 0).all()


@settings(max_examples=60)
@given(seed=seeds, kind=kinds)
def test_the_model_says_what_the_problem_says(limited_problem: Make, seed: int, kind: str) -> None:
    """Matches are feasible in one exactly where they are in the other."""
    problem = replace(limited_problem(seed, kind), floor=None)
    model = lp_model(problem, None)
    chosen = np.random.default_rng(seed).random(model.edge.size) < 0.3
    loads = [
        problem.item_load(model.edge[chosen]),
        np.bincount(problem.user[model.edge[chosen]], minlength=problem.users),
    ]
    limits = [problem.demand, problem.capacity]
    if problem.group is not None:
        group = problem.group[model.edge[chosen]]
        loads.append(np.bincount(group[group >= 0], minlength=problem.groups))
        limits.append(problem.group_limit)  # type: ignore[arg-type]
    assert (model.matrix @ chosen).tolist() == np.concatenate(loads).tolist()
    assert model.upper.tolist() == np.concatenate(limits).tolist()
    assert (model.score * model.unit).astype(np.float32).tolist() == problem.score[model.edge].tolist()


def test_names_and_wrong_options() -> None:
    assert make_solver("pdlp") == Lp(method="pdlp") and make_solver("lp") == Lp()
    with pytest.raises(ValueError, match="expected method 'highs' or 'pdlp'"):
        Lp(method="simplex")
    with pytest.raises(ValueError, match="last_tolerance <= first_tolerance"):
        Lp(method="pdlp", first_tolerance=1e-6, last_tolerance=1e-3)
    with pytest.raises(ValueError, match="at least 1 thread"):
        Lp(method="pdlp", threads=0)


def floor_of(problem: Problem) -> np.ndarray:
    return np.zeros(problem.items, np.int32) if problem.floor is None else problem.floor


def shortfall(problem: Problem, chosen: np.ndarray) -> int:
    return int(np.maximum(0, floor_of(problem) - problem.item_load(chosen)).sum())
