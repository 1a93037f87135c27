"""Floors and (user, creator) limits in every solver that promises them, against HiGHS and by trying everything."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array, hstack, identity, vstack

from dualrec.solvers import limited_auction
from dualrec.solvers.allocation import Allocation, Status
from dualrec.solvers.auction import Auction
from dualrec.solvers.certificate import certify, check, total_score
from dualrec.solvers.cheap_prices import lowest_held, lowest_held_groups
from dualrec.solvers.instances import SCORE_KINDS, Skewed, TiedGroups, TightFlat
from dualrec.solvers.places_left import group_arrays
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve
from dualrec.solvers.step import Goal, Step

Make = Callable[..., Problem]
seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)
limits = st.sampled_from([(True, 3), (True, 0), (False, 2), (True, 1)])


@dataclass(frozen=True)
class LimitedAuction:
    """The auction for floors and limits, on any problem; other options than Auction's own."""

    first_eps: float = 0.1
    shrink: float = 0.2
    max_steps: int = 30
    name = "limited"
    promises = True

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        return limited_auction.limited_steps(problem, goal, self)


def limit_rows(problem: Problem) -> csr_array:
    """One row for each item, user and group, one column an edge."""
    edge, (group, group_limit) = np.arange(problem.edges), group_arrays(problem)
    inside = edge[group >= 0] if group.size else edge[:0]
    first_group = problem.items + problem.users
    row = np.concatenate([problem.item_of(edge), problem.items + problem.user, first_group + group[inside]])
    column = np.concatenate([edge, edge, inside])
    return coo_array((np.ones(row.size), (row, column)), (first_group + group_limit.size, problem.edges)).tocsr()


def best_by_highs(problem: Problem) -> tuple[int, float]:
    """The least total shortfall, and the most score with it: two linear programs over matches and shortfalls."""
    items, edges, matrix = problem.items, problem.edges, limit_rows(problem)
    floor = np.zeros(items) if problem.floor is None else problem.floor.astype(float)
    if edges == 0:
        return int(floor.sum()), 0.0
    unit = float(problem.score.max()) or 1.0
    upper = np.concatenate([problem.demand, problem.capacity, group_arrays(problem)[1]])
    rows = vstack([hstack([matrix, csr_array((upper.size, items))]), hstack([-matrix[:items], -identity(items)])])
    short, score = np.repeat([0.0, 1.0], [edges, items]), np.concatenate([problem.score / unit, np.zeros(items)])
    bounds = [(0, 1)] * edges + [(0, None)] * items
    right = np.concatenate([upper, -floor])
    least = round(linprog(short, A_ub=rows.tocsr(), b_ub=right, bounds=bounds).fun)
    rows = vstack([rows, csr_array(short[None])]).tocsr()
    found = linprog(-score.astype(float), A_ub=rows, b_ub=np.append(right, least), bounds=bounds)
    return least, -float(found.fun) * unit


def best_by_trying_all(problem: Problem) -> tuple[int, float]:
    """The least total shortfall, and the most score with it, over all subsets of the edges."""
    item, (group, group_limit) = problem.item_of(np.arange(problem.edges)), group_arrays(problem)
    best = (-10_000, 0.0)
    for taken in itertools.product([False, True], repeat=problem.edges):
        chosen = np.flatnonzero(taken)
        load = np.bincount(item[chosen], minlength=problem.items)
        users = np.bincount(problem.user[chosen], minlength=problem.users)
        inside = group[chosen] if group.size else group
        groups = np.bincount(inside[inside >= 0], minlength=group_limit.size)
        if (load <= problem.demand).all() and (users <= problem.capacity).all() and (groups <= group_limit).all():
            short = 0 if problem.floor is None else int(np.maximum(0, problem.floor - load).sum())
            best = max(best, (-short, total_score(problem, chosen)))
    return -best[0], best[1]


def floors_met(problem: Problem, answer: Allocation) -> np.ndarray:
    return np.minimum(0 if problem.floor is None else problem.floor, answer.item_load)


def is_best(answer: Allocation, best: tuple[int, float]) -> None:
    assert answer.shortfall.sum() == best[0]
    assert answer.value == pytest.approx(best[1], rel=1e-6, abs=1e-6 * float(answer.problem.score.max(initial=0.0)))


class TestOptimum:
    @pytest.mark.parametrize("solver", ["min-cost-flow", LimitedAuction(), LimitedAuction(first_eps=2.0, shrink=0.05)])
    @settings(max_examples=50)
    @given(seed=seeds, kind=kinds, wanted=limits)
    def test_by_trying_all(
        self, limited_problem: Make, solver: Any, seed: int, kind: str, wanted: tuple[bool, int]
    ) -> None:
        problem = limited_problem(seed, kind, *wanted, items=3, users=4, density=0.5, most=2)
        is_best(solve(problem, solver, gap=1e-9), best_by_trying_all(problem))

    @pytest.mark.parametrize("solver", ["min-cost-flow", LimitedAuction()])
    @settings(max_examples=60)
    @given(seed=seeds, kind=kinds, wanted=limits)
    def test_by_linear_programming(
        self, limited_problem: Make, solver: Any, seed: int, kind: str, wanted: tuple[bool, int]
    ) -> None:
        problem = limited_problem(seed, kind, *wanted, items=14, users=11, most=5)
        answer = solve(problem, solver, gap=1e-9)
        is_best(answer, best_by_highs(problem))
        assert answer.gap <= 1e-9
        assert certify(problem, answer.chosen, answer.user_prices, answer.group_prices).gap <= 1e-9

    def test_a_floor_costs_score(self) -> None:
        problem = Problem.from_csr([0, 2, 3], [0, 1, 0], [5.0, 1.0, 2.0], 1, [1, 1], floor=[0, 1])
        for solver in ("min-cost-flow", LimitedAuction()):
            answer = solve(problem, solver, gap=0)
            assert answer.chosen.tolist() == [1, 2]
            assert (answer.bound, answer.gap) == (3.0, 0.0)

    def test_an_item_without_alternatives_pays_any_price(self) -> None:
        """Item 1 knows only user 0, whom nine others want a thousand times more."""
        user = np.array([0, 1, 0, *[0, 1] * 8])
        score = np.array([1000.0, 1.0, 1.0, *[1000.0, 1.0] * 8])
        indptr = [0, 2, 3, *range(5, 21, 2)]
        problem = Problem.from_csr(indptr, user, score, 1, [1, 9], floor=1)
        answer = solve(problem, LimitedAuction(), gap=1e-6)
        assert 2 in answer.chosen and answer.shortfall.sum() == 0 and answer.gap <= 1e-6

    def test_creator_limit_binds_before_capacity(self) -> None:
        """Two items of one creator want user 0, who has three places but takes one of a creator."""
        problem = Problem.from_csr(
            [0, 1, 2, 3], [0, 0, 0], [5.0, 4.0, 1.0], 1, [3], creator=["a", "a", "b"], creator_cap=1
        )
        for solver in ("min-cost-flow", LimitedAuction(), "greedy"):
            answer = solve(problem, solver, gap=0)
            assert answer.chosen.tolist() == [0, 2] and answer.gap == 0
            assert answer.user_prices.tolist() == [0.0]
            assert answer.group_prices is not None and 4.0 <= answer.group_prices[0] <= 5.0


class TestLimitedAuction:
    @settings(max_examples=60)
    @given(seed=seeds, kind=kinds, wanted=limits, gap=st.sampled_from([0.1, 1e-2, 1e-3, 1e-5]))
    def test_reaches_the_gap_asked_for(
        self, limited_problem: Make, seed: int, kind: str, wanted: tuple[bool, int], gap: float
    ) -> None:
        problem = limited_problem(seed, kind, *wanted, items=30, users=25, most=6)
        answer, exact = solve(problem, LimitedAuction(), gap=gap), solve(problem, "min-cost-flow")
        assert answer.gap <= gap
        assert answer.shortfall.sum() == exact.shortfall.sum()
        if (floors_met(problem, answer) == floors_met(problem, exact)).all():
            assert answer.bound >= exact.value * (1 - 1e-12)

    @settings(max_examples=40)
    @given(seed=seeds, kind=kinds)
    def test_agrees_with_the_auction_without_limits(self, limited_problem: Make, seed: int, kind: str) -> None:
        problem = limited_problem(seed, kind, floors=False, creators=0, items=30, users=25, most=6)
        answer, other = solve(problem, LimitedAuction(), gap=1e-6), solve(problem, Auction(), gap=1e-6)
        assert answer.value == pytest.approx(other.value, rel=2e-6)

    @settings(max_examples=40)
    @given(seed=seeds, kind=kinds, wanted=limits)
    def test_each_step_is_within_eps_a_match(
        self, limited_problem: Make, seed: int, kind: str, wanted: tuple[bool, int]
    ) -> None:
        problem = limited_problem(seed, kind, *wanted, items=30, users=25, most=6)
        optimum = solve(problem, "min-cost-flow")
        answer = solve(problem, LimitedAuction(first_eps=1.0, shrink=0.5), gap=1e-6)
        most = min(problem.demand.sum(), problem.capacity.sum())
        for step in answer.history:
            slack = step.get("eps", 0.0) * most + 1e-9 * optimum.value
            assert step["value"] >= optimum.value - slack
            assert step["bound"] <= optimum.value + 1.1 * slack

    @settings(max_examples=40)
    @given(seed=seeds, kind=kinds, size=st.sampled_from([0.3, 1.0, 1e3]))
    def test_any_start_prices_are_safe(self, limited_problem: Make, seed: int, kind: str, size: float) -> None:
        problem = limited_problem(seed, kind, items=20, users=15)
        start = size * float(problem.score.max(initial=1.0)) * np.random.default_rng(seed).random(problem.users)
        answer = solve(problem, LimitedAuction(), start_prices=start)
        assert answer.gap <= 1e-3
        assert answer.shortfall.sum() == solve(problem, "min-cost-flow").shortfall.sum()

    @settings(max_examples=40)
    @given(seed=seeds, kind=kinds)
    def test_out_of_time_it_still_meets_the_floors(self, limited_problem: Make, seed: int, kind: str) -> None:
        problem = limited_problem(seed, kind, items=20, users=15)
        answer = solve(problem, LimitedAuction(), gap=0, time_limit=0)
        check(problem, answer.chosen)
        assert answer.shortfall.sum() == best_by_highs(problem)[0]
        assert answer.status in (Status.TIME_LIMIT, Status.OPTIMAL)

    @pytest.mark.parametrize("shape", ["tight", "ties", "contested ties"])
    def test_price_wars_end_in_the_exact_flow(self, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
        problem = at_war(shape)
        monkeypatch.setattr(limited_auction, "MOST_PASSES", 2)
        monkeypatch.setattr(limited_auction, "MOST_READS", 0)
        answer = solve(problem, LimitedAuction(), gap=1e-6)
        assert "eps" not in answer.history[-1] and answer.gap <= 1e-9

    @pytest.mark.parametrize("shape", ["tight", "ties", "contested ties"])
    def test_without_the_flow_price_wars_end_too(self, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
        problem = at_war(shape)
        exact = solve(problem, "min-cost-flow")
        monkeypatch.setattr(limited_auction, "FLOW_EDGES", 0)
        answer = solve(problem, LimitedAuction(), gap=1e-3)
        assert all("eps" in step for step in answer.history)
        assert answer.gap <= 1e-3
        assert answer.shortfall.sum() == exact.shortfall.sum()

    def test_a_war_that_leaves_no_time_for_the_flow_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limited_auction, "MOST_READS", 0)
        monkeypatch.setattr(limited_auction, "MOST_PASSES", 0)
        monkeypatch.setattr(limited_auction, "FLOW_SECONDS", 10.0)
        answer = solve(at_war("ties"), LimitedAuction(), time_limit=60)
        assert "eps" in answer.history[0] and answer.gap <= 1e-3

    def test_places_without_capacity_are_priced_out(self) -> None:
        """Nobody gets user 0 and group 0 has no place, however much items short of their floors would pay."""
        problem = Problem.from_csr([0, 3, 6], [0, 1, 2, 0, 1, 2], [9.0, 9, 1, 9, 9, 1], 1, [0, 1, 2], floor=1)
        problem = replace(problem, group=np.array([-1, -1, 0, -1, -1, -1], np.int32), group_limit=np.zeros(1, np.int32))
        for solver in ("min-cost-flow", LimitedAuction()):
            answer = solve(problem, solver, gap=0)
            assert answer.chosen.tolist() == [1, 5] and answer.gap == 0

    def test_step_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limited_auction, "FLOW_EDGES", 0)
        answer = solve(at_war("tight"), LimitedAuction(max_steps=0), gap=1e-9)
        assert answer.status is Status.STEP_LIMIT and len(answer.history) == 1

    def test_the_auction_calls_it_for_limits(self) -> None:
        problem = at_war("tight")
        answer, other = solve(problem, Auction()), solve(problem, LimitedAuction())
        assert answer.chosen.tobytes() == other.chosen.tobytes()

    def test_two_solves_give_the_same_bytes(self) -> None:
        problem = at_war("ties")
        first, second = solve(problem, LimitedAuction(), gap=1e-3), solve(problem, LimitedAuction(), gap=1e-3)
        assert first.chosen.tobytes() == second.chosen.tobytes()
        assert first.user_prices.tobytes() == second.user_prices.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("family", [Skewed(), TightFlat(), TiedGroups(), TiedGroups(users=60_000, levels=3)])
def test_floors_and_creators_on_millions_of_edges(family: Any) -> None:
    plain = family.make()
    arrays = plain.indptr, plain.user, plain.score, plain.demand, plain.capacity
    creator = np.arange(plain.items) % (plain.items // 8)
    problem = Problem.from_csr(*arrays, floor=int(plain.demand[0]) // 4, creator=creator, creator_cap=2)
    answer, greedy = solve(problem, gap=1e-3), solve(problem, "greedy")
    assert answer.gap <= 1e-3
    assert answer.shortfall.sum() == greedy.shortfall.sum()
    if answer.shortfall.sum() == 0:
        assert answer.value >= greedy.value * (1 - 1e-3)


def at_war(shape: str) -> Problem:
    """Hundreds of items whose floors leave hardly a place free, or not even that."""
    family: Any = TiedGroups(items=120, groups=8, users=600, candidates=80, demand=40, capacity=8, levels=3)
    floor, cap = {"tight": (30, 100), "ties": (20, 3), "contested ties": (38, 3)}[shape]
    if shape == "tight":
        family = TightFlat(items=120, users=600, candidates=80, demand=40, capacity=6)
    plain = family.make(5)
    arrays = plain.indptr, plain.user, plain.score, plain.demand, plain.capacity
    return Problem.from_csr(*arrays, floor=floor, creator=np.arange(plain.items) % 20, creator_cap=cap)


class TestSimpleSolvers:
    @settings(max_examples=60)
    @given(seed=seeds, kind=kinds, wanted=limits)
    def test_greedy_meets_as_many_floor_places_as_can_be(
        self, limited_problem: Make, seed: int, kind: str, wanted: tuple[bool, int]
    ) -> None:
        problem = limited_problem(seed, kind, *wanted, items=14, users=11, most=5)
        answer = solve(problem, "greedy")
        check(problem, answer.chosen)
        assert answer.shortfall.sum() == best_by_highs(problem)[0]
        assert answer.value <= answer.bound * (1 + 1e-12)

    @pytest.mark.parametrize("name", ["greedy", "first-come"])
    @settings(max_examples=60)
    @given(seed=seeds, kind=kinds)
    def test_creator_limits_equal_a_twin(self, limited_problem: Make, name: str, seed: int, kind: str) -> None:
        problem = limited_problem(seed, kind, floors=False, items=12)
        order = np.lexsort((problem.user, -problem.score, problem.item_of(np.arange(problem.edges))))
        if name == "greedy":
            order = np.argsort(-problem.score, kind="stable")
        assert solve(problem, name).chosen.tolist() == sorted(taken_in_order(problem, order))

    @pytest.mark.parametrize("name", ["min-cost-flow", "greedy", "first-come", LimitedAuction()])
    @settings(max_examples=20)
    @given(seed=seeds)
    def test_half_scores(self, limited_problem: Make, name: Any, seed: int) -> None:
        problem = limited_problem(seed, "levels")
        half = replace(problem, score=problem.score.astype(np.float16))
        assert solve(half, name, gap=0).chosen.tolist() == solve(problem, name, gap=0).chosen.tolist()

    @settings(max_examples=60)
    @given(seed=seeds, kind=kinds)
    def test_lowest_held_prices_certify_a_bound(self, limited_problem: Make, seed: int, kind: str) -> None:
        problem = limited_problem(seed, kind, floors=False)
        answer = solve(problem, "greedy")
        prices = lowest_held(problem, answer.chosen)
        groups = lowest_held_groups(problem, answer.chosen, prices)
        group, _ = group_arrays(problem)
        for g in range(problem.groups):
            held = answer.chosen[group[answer.chosen] == g]
            if groups is not None and groups[g] > 0 and held.size:
                user = problem.user[held[0]]
                assert held.size == problem.group_limit[g]  # type: ignore[index]
                assert prices[user] + groups[g] == pytest.approx(float(problem.score[held].min()))
        optimum = solve(problem, "min-cost-flow").value
        assert certify(problem, answer.chosen, prices, groups).bound >= optimum * (1 - 1e-12)


def taken_in_order(problem: Problem, order: np.ndarray) -> list[int]:
    item, (group, group_limit) = problem.item_of(np.arange(problem.edges)), group_arrays(problem)
    item_left, user_left, group_left, taken = problem.demand.copy(), problem.capacity.copy(), group_limit.copy(), []
    for e in order.tolist():
        g = int(group[e]) if group.size else -1
        if problem.score[e] > 0 and item_left[item[e]] and user_left[problem.user[e]] and (g < 0 or group_left[g]):
            item_left[item[e]] -= 1
            user_left[problem.user[e]] -= 1
            if g >= 0:
                group_left[g] -= 1
            taken.append(e)
    return taken
