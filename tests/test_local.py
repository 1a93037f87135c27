"""Local search is never worse than what it starts from, keeps every limit, and ends where no exchange gains."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.allocation import Status
from dualrec.solvers.auction import Auction
from dualrec.solvers.best import worth
from dualrec.solvers.certificate import check, total_score
from dualrec.solvers.first_come import FirstCome
from dualrec.solvers.greedy import Greedy
from dualrec.solvers.instances import SCORE_KINDS, Ragged, Skewed, TiedGroups, TightFlat
from dualrec.solvers.local import Local, Search, places_held
from dualrec.solvers.lp import Lp
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve
from dualrec.solvers.step import Clock

Make = Callable[..., Problem]

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)
FAMILIES = [Skewed(100, 500, 60, 20, 5), TightFlat(40, 300, 200, 100, 14), TiedGroups(60, 8, 900, 60, 20, levels=3)]


@settings(max_examples=80)
@given(seed=seeds, kind=kinds, inner=st.sampled_from([Greedy(), FirstCome(), Auction(max_steps=0), Lp("pdlp")]))
def test_never_worse_than_the_inner_solver(seed: int, kind: str, inner: Any) -> None:
    problem = Ragged(items=20, users=15, kind=kind).make(seed)
    before, after = solve(problem, inner, gap=0), solve(problem, Local(inner), gap=0)
    check(problem, after.chosen)
    assert after.value >= before.value * (1 - 1e-12)
    assert after.bound <= before.bound
    assert (problem.score[after.chosen] > 0).all()


@settings(max_examples=80)
@given(seed=seeds, kind=kinds)
def test_no_single_exchange_gains(seed: int, kind: str) -> None:
    """No edge can be taken for what its item and its user hold lowest, and nothing free is left."""
    problem = Ragged(items=12, users=10, kind=kind).make(seed)
    answer = solve(problem, "local", gap=0)
    if answer.status is Status.OPTIMAL:
        return
    item = problem.item_of(np.arange(problem.edges))
    held = np.isin(np.arange(problem.edges), answer.chosen)
    lowest_of_item = np.full(problem.items, np.inf)
    np.minimum.at(lowest_of_item, item[held], problem.score[held].astype(np.float64))
    lowest_of_user = np.full(problem.users, np.inf)
    np.minimum.at(lowest_of_user, problem.user[held], problem.score[held].astype(np.float64))
    lowest_of_item[answer.item_load < problem.demand] = 0.0
    lowest_of_user[answer.user_load < problem.capacity] = 0.0
    gain = problem.score.astype(np.float64) - lowest_of_item[item] - lowest_of_user[problem.user]
    assert (gain[~held] <= 1e-9 * problem.score[~held]).all()


@settings(max_examples=80)
@given(seed=seeds, kind=kinds, share=st.sampled_from([0.0, 0.3, 1.0]))
def test_floors_and_creators_are_kept(limited_problem: Make, seed: int, kind: str, share: float) -> None:
    problem = limited_problem(seed, kind, items=12, users=10)
    exact = solve(problem, "min-cost-flow").chosen
    start = exact[np.random.default_rng(seed).random(exact.size) < share]
    search = Search(problem, start)
    for _ in range(20):
        before = worth(problem, search.chosen)
        met = np.minimum(problem.floor, problem.item_load(search.chosen))  # type: ignore[arg-type]
        moves, gain = search.run(Clock())
        check(problem, search.chosen)
        assert (np.minimum(problem.floor, problem.item_load(search.chosen)) >= met).all()  # type: ignore[arg-type]
        after = worth(problem, search.chosen)
        assert after >= before or after[1] >= before[1] * (1 - 1e-12)
        assert after[1] - before[1] == pytest.approx(gain, rel=1e-6, abs=1e-9 * max(1.0, after[1]))
        if moves == 0:
            return
    raise AssertionError("twenty passes and still moving")


@settings(max_examples=60)
@given(seed=seeds, kind=kinds, changes=st.integers(0, 6))
def test_changes_are_counted_exactly(limited_problem: Make, seed: int, kind: str, changes: int) -> None:
    problem = limited_problem(seed, kind, floors=seed % 2 == 0)
    start = solve(problem, "min-cost-flow").chosen[::2]
    fresh = np.ones(problem.edges, np.uint8)
    fresh[start] = 0
    search = Search(problem, start, fresh, changes)
    for _ in range(5):
        search.run(Clock())
        new = int(fresh[search.chosen].sum())
        assert new <= changes
        assert search.places.changes[0] == changes - new
    check(problem, search.chosen)


@settings(max_examples=60)
@given(seed=seeds, kind=kinds)
def test_what_is_held_is_accounted_for(limited_problem: Make, seed: int, kind: str) -> None:
    problem = limited_problem(seed, kind)
    search = Search(problem, solve(problem, "min-cost-flow").chosen[::2])
    for _ in range(3):
        places, twin = search.places, places_held(problem, search.chosen)
        for name in ("held", "load", "item_left", "user_left", "group_left", "slot_start", "slot_count"):
            assert np.array_equal(getattr(places, name), getattr(twin, name)), name
        for u in range(problem.users):
            slots = [range(p.slot_start[u], p.slot_start[u] + p.slot_count[u]) for p in (places, twin)]
            pairs = [
                {(int(p.slot_edge[at]), int(p.slot_item[at])) for at in some}
                for p, some in zip((places, twin), slots, strict=True)
            ]
            assert pairs[0] == pairs[1]
        search.run(Clock())


@pytest.mark.parametrize("family", FAMILIES)
def test_closes_most_of_what_greedy_leaves(family: Any) -> None:
    problem = family.make(0)
    optimum = solve(problem, "min-cost-flow", gap=0).value
    greedy, local = solve(problem, "greedy", gap=0).value, solve(problem, "local", gap=0).value
    assert optimum - local <= 0.5 * (optimum - greedy) + 1e-9 * optimum


@pytest.mark.parametrize("family", FAMILIES)
def test_passes_gain_and_tell(family: Any) -> None:
    answer = solve(family.make(0), Local(FirstCome()), gap=0)
    passes = [step for step in answer.history if "pass" in step]
    assert [step["pass"] for step in passes] == list(range(1, len(passes) + 1))
    assert all(step["moves"] > 0 for step in passes)
    for earlier, later in itertools.pairwise(passes):
        assert later["value"] > earlier["value"]


def test_takes_up_the_better_of_start_and_inner_answer() -> None:
    problem = Skewed(100, 500, 60, 20, 5).make(0)
    exact = solve(problem, "min-cost-flow", gap=0)
    answer = solve(problem, "local", gap=0, start=replace(exact, user_prices=np.zeros(problem.users)))
    assert answer.value == pytest.approx(exact.value, rel=1e-12)


def test_at_the_time_limit_the_inner_answer_stands() -> None:
    problem = TightFlat(40, 300, 200, 100, 14).make(0)
    answer = solve(problem, "local", gap=0, time_limit=0)
    assert answer.status is Status.TIME_LIMIT and answer.value == solve(problem, "greedy", gap=0).value


def test_a_freed_user_and_a_freed_item_take_what_is_free() -> None:
    """Item 0 takes user 0 from item 1, which finds user 1: 5 + 4 in place of 5 alone."""
    problem = Problem.from_csr([0, 1, 3], [0, 0, 1], [5.0, 5.5, 4.0], 1, [1, 1])
    assert total_score(problem, solve(problem, "greedy", gap=0).chosen) == 5.5
    answer = solve(problem, "local", gap=0)
    assert answer.chosen.tolist() == [0, 2] and answer.value == 9.0


def test_the_inner_solver_may_be_a_name() -> None:
    problem = Skewed(60, 200, 30, 6, 3).make(0)
    by_name, by_options = solve(problem, Local("first-come")), solve(problem, Local(FirstCome()))
    assert np.array_equal(by_name.chosen, by_options.chosen)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match="max_passes >= 0"):
        Local(max_passes=-1)
