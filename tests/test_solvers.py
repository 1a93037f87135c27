"""One contract for every solver, then what each of them promises beyond it."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import coo_array

from dualrec.solvers.allocation import Allocation, Status
from dualrec.solvers.auction import Auction
from dualrec.solvers.certificate import check, upper_bound
from dualrec.solvers.device_auction import DeviceAuction
from dualrec.solvers.distributed.solver import Distributed
from dualrec.solvers.errors import ProblemError, SolverError
from dualrec.solvers.instances import SCORE_KINDS, Ragged, Skewed, TiedGroups, TightFlat
from dualrec.solvers.min_cost_flow import MinCostFlow
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import SOLVERS, make_solver, solve

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)
spread = pytest.param(Distributed(workers=3, engine="threads"), id="distributed")
on_gpu = [pytest.param(DeviceAuction(device="cuda"), id="device-auction on a GPU")] if torch.cuda.is_available() else []
names = pytest.mark.parametrize("name", [*SOLVERS, spread, *on_gpu])


def grid(score: Any, demand: Any, capacity: Any) -> Problem:
    """Every pair is an edge; score[item, user]."""
    table = np.asarray(score, np.float32)
    items, users = table.shape
    indptr, user = np.arange(items + 1) * users, np.tile(np.arange(users), items)
    return Problem.from_csr(indptr, user, table.ravel(), demand, np.broadcast_to(capacity, users))


def one_giant_row() -> Problem:
    """One item with 20,000 candidates among 300 items with three each."""
    rng = np.random.default_rng(3)
    lengths = np.full(301, 3)
    lengths[150] = 20_000
    user = np.concatenate([np.sort(rng.choice(20_000, n, replace=False)) for n in lengths])
    return Problem.from_csr(np.append(0, np.cumsum(lengths)), user, rng.random(user.size), 50, np.ones(20_000, int))


UGLY: dict[str, Callable[[], Problem]] = {
    "empty": lambda: Problem.from_edges([], [], []),
    "no edges": lambda: Problem.from_csr([0, 0, 0], [], [], 3, [1, 1]),
    "no items": lambda: Problem.from_csr([0], [], [], 3, [1, 1]),
    "zero scores": lambda: grid(np.zeros((3, 4)), 2, 1),
    "all equal, demand over supply": lambda: grid(np.full((6, 5), 0.1), 4, 2),
    "all equal, supply over demand": lambda: grid(np.full((6, 5), 0.1), 1, 4),
    "an item without edges": lambda: Problem.from_csr([0, 2, 2, 4], [0, 1, 0, 1], [1.0, 2, 3, 4], 1, [1, 1]),
    "users without places": lambda: grid([[3.0, 2, 1], [1, 2, 3]], 2, [0, 1, 0]),
    "items without demand": lambda: grid([[3.0, 2, 1], [1, 2, 3]], [0, 2], 1),
    "demand over the row": lambda: grid([[3.0, 2, 1], [1, 2, 3]], 2**31 - 1, 2**31 - 1),
    "one giant row": one_giant_row,
    "thousands of identical rows": lambda: grid(np.tile([5.0, 4, 4, 2, 1, 1], (2000, 1)), 2, 300),
    "identical rows, all equal": lambda: grid(np.ones((2000, 6)), 2, 300),
    "from 1e-6 to 1e6": Ragged(items=60, users=80, most=6, kind="wide").make,
    "a score out of reach": lambda: grid([[1e30, 1e-3], [1e30, 2e-3]], 1, [0, 1]),
    "denormal scores": lambda: grid(np.full((3, 3), 1e-45), 2, 1),
    "largest scores": lambda: grid(np.full((3, 3), 3e38), 2, 1),
    "tied groups": TiedGroups(items=130, groups=10, users=2_000, candidates=100, demand=50).make,
    "tied groups, few levels": TiedGroups(items=130, groups=10, users=500, candidates=100, demand=50, levels=3).make,
    "tight": TightFlat(items=60, users=450, candidates=400).make,
}
ugly = pytest.mark.parametrize("shape", UGLY)

OF_THE_WHOLE = ("fair-rec", "max-min", "mirror-descent", "device-auction")
"""Rules that look at all items or users together (places an item, mean score, order): disjoint parts change each other.
The auction on a device, whose eps is a share of the mean score, has no last resort that would end it at the optimum.
PDLP rounds within tolerances, so it does not add up exactly either."""


def keeps_the_contract(answer: Allocation, gap: float) -> None:
    problem = answer.problem
    check(problem, answer.chosen)
    assert answer.chosen.dtype == np.int64 and (np.diff(answer.chosen) > 0).all()
    assert (problem.score[answer.chosen] > 0).all(), "a score of 0 is not worth a place"
    assert answer.value <= answer.bound * (1 + 1e-12)
    assert answer.user_prices.shape == (problem.users,)
    assert upper_bound(problem, answer.user_prices) == answer.bound
    assert (answer.gap <= max(gap, 1e-9)) == (answer.status in (Status.OPTIMAL, Status.WITHIN_GAP))
    assert answer.status.sentence.endswith(".")
    assert (answer.item_load <= problem.demand).all() and (answer.user_load <= problem.capacity).all()
    assert answer.item_load.sum() == answer.user_load.sum() == answer.matches
    assert answer.items_full + answer.items_short == problem.items


def leaves_nothing_free(answer: Allocation) -> None:
    """No edge worth something joins an item and a user that both have places left."""
    problem = answer.problem
    item = problem.item_of(np.arange(problem.edges))
    free = (answer.item_load < problem.demand)[item] & (answer.user_load < problem.capacity)[problem.user]
    free[answer.chosen] = False
    assert not (free & (problem.score > 0)).any()


class TestEverySolver:
    @names
    @ugly
    def test_ugly_inputs(self, name: str, shape: str) -> None:
        problem = UGLY[shape]()
        answer = solve(problem, name)
        keeps_the_contract(answer, 1e-3)
        leaves_nothing_free(answer)
        if name in ("auction", "min-cost-flow"):
            assert answer.gap <= 1e-3

    @names
    @settings(max_examples=60, deadline=None)
    @given(seed=seeds, kind=kinds)
    def test_small_problems(self, name: str, seed: int, kind: str) -> None:
        answer = solve(Ragged(kind=kind).make(seed), name)
        keeps_the_contract(answer, 1e-3)
        leaves_nothing_free(answer)

    @names
    @settings(max_examples=25, deadline=None)
    @given(seed=seeds, kind=kinds, factor=st.sampled_from([0.25, 2.0, 1024.0]))
    def test_scaling_scores_scales_the_value(self, name: str, seed: int, kind: str, factor: float) -> None:
        problem = Ragged(kind=kind).make(seed)
        limits = problem.demand, problem.capacity
        scaled = Problem.from_csr(problem.indptr, problem.user, problem.score * np.float32(factor), *limits)
        assert np.array_equal(solve(problem, name).chosen, solve(scaled, name).chosen)

    @pytest.mark.parametrize("name", [name for name in SOLVERS if name not in ("pdlp", *OF_THE_WHOLE)])
    @settings(max_examples=25, deadline=None)
    @given(seed=seeds, kind=kinds)
    def test_disjoint_problems_add_up(self, name: str, seed: int, kind: str) -> None:
        one, two = Ragged(kind=kind).make(seed), Ragged(items=5, users=6, kind=kind).make(seed + 1)
        both = Problem.from_csr(
            np.concatenate([one.indptr, two.indptr[1:] + one.edges]),
            np.concatenate([one.user, two.user + one.users]),
            np.concatenate([one.score, two.score]),
            np.concatenate([one.demand, two.demand]),
            np.concatenate([one.capacity, two.capacity]),
        )
        together, apart = solve(both, name, gap=1e-9).value, [solve(p, name, gap=1e-9).value for p in (one, two)]
        assert together == pytest.approx(sum(apart), rel=1e-8, abs=1e-12)

    @names
    def test_same_answer_twice_and_from_shuffled_edges(self, name: str) -> None:
        problem = Skewed(items=40, users=90, candidates=20, demand=8, capacity=3).make(1)
        item, user = problem.item_of(np.arange(problem.edges)), problem.user
        order = np.random.default_rng(0).permutation(problem.edges)
        ids = {"item_ids": np.arange(problem.items), "user_ids": np.arange(problem.users)}
        again = Problem.from_edges(item[order], user[order], problem.score[order], 8, 3, **ids)
        first, second, third = solve(problem, name), solve(problem, name), solve(again, name)
        assert np.array_equal(first.chosen, second.chosen) and np.array_equal(first.chosen, third.chosen)
        assert np.array_equal(first.user_prices, third.user_prices)

    @names
    def test_pairs_are_in_outside_ids_and_in_order(self, name: str) -> None:
        problem = Problem.from_edges(["b", "a", "b", "a"], ["y", "y", "x", "x"], [1.0, 5.0, 2.0, 2.0], 2, 2)
        pairs = solve(problem, name).pairs()
        assert pairs["item"].tolist() == ["b", "b", "a", "a"]
        assert pairs["user"].tolist() == ["x", "y", "y", "x"]
        assert pairs["score"].tolist() == [2.0, 1.0, 5.0, 2.0]


class TestOracles:
    @pytest.mark.parametrize("solver", [MinCostFlow(), Auction(), Auction(first_eps=2.0, shrink=0.05)])
    @settings(max_examples=60, deadline=None)
    @given(seed=seeds, kind=kinds)
    def test_optimum_by_brute_force(self, solver: Any, seed: int, kind: str) -> None:
        problem = Ragged(items=3, users=4, density=0.6, most=2, kind=kind).make(seed)
        assert solve(problem, solver, gap=1e-9).value == pytest.approx(best_by_trying_all(problem), rel=1e-8)

    @pytest.mark.parametrize("name", ["auction", "min-cost-flow"])
    @settings(max_examples=40, deadline=None)
    @given(seed=seeds, kind=kinds)
    def test_optimum_by_linear_programming(self, name: str, seed: int, kind: str) -> None:
        problem = Ragged(items=15, users=12, most=5, kind=kind).make(seed)
        answer = solve(problem, name, gap=1e-9)
        assert answer.gap <= 1e-9
        assert answer.value == pytest.approx(linear_optimum(problem), rel=1e-6)  # HiGHS stops at 1e-7

    @settings(max_examples=40, deadline=None)
    @given(seed=seeds, kind=kinds, gap=st.sampled_from([0.1, 1e-2, 1e-3, 1e-5]))
    def test_auction_reaches_the_gap_asked_for(self, seed: int, kind: str, gap: float) -> None:
        problem = Ragged(items=30, users=25, most=6, kind=kind).make(seed)
        answer, exact = solve(problem, "auction", gap=gap), solve(problem, "min-cost-flow")
        assert exact.gap <= 1e-9
        assert answer.gap <= gap
        assert answer.bound >= exact.value * (1 - 1e-12)

    @pytest.mark.parametrize("name", ["greedy", "first-come"])
    @settings(max_examples=60, deadline=None)
    @given(seed=seeds, kind=kinds)
    def test_simple_solvers_equal_their_twins(self, name: str, seed: int, kind: str) -> None:
        problem = Ragged(items=10, users=12, kind=kind).make(seed)
        twin = {"greedy": greedy_twin, "first-come": first_come_twin}[name]
        assert solve(problem, name).chosen.tolist() == sorted(twin(problem))


class TestAuction:
    @settings(max_examples=60, deadline=None)
    @given(seed=seeds, kind=kinds, size=st.sampled_from([0.0, 0.3, 1.0, 1e3]))
    def test_any_start_prices_are_safe(self, seed: int, kind: str, size: float) -> None:
        problem = Ragged(items=20, users=15, kind=kind).make(seed)
        start = size * float(problem.score.max(initial=1.0)) * np.random.default_rng(seed).random(problem.users)
        answer = solve(problem, start=solve(problem, "first-come"), start_prices=start)
        keeps_the_contract(answer, 1e-3)
        assert answer.gap <= 1e-3
        assert answer.bound >= solve(problem, "min-cost-flow").value * (1 - 1e-12)

    @pytest.mark.parametrize("shape", ["tight", "tied groups", "tied groups, few levels", "one giant row"])
    def test_restart_from_its_own_prices_takes_one_step(self, shape: str) -> None:
        problem = UGLY[shape]()
        steps: list[dict[str, Any]] = []
        first = solve(problem)
        again = solve(problem, start_prices=first.user_prices, on_step=steps.append)
        assert len(steps) == 1
        assert again.gap <= 1e-3 and again.bound <= first.bound

    def test_start_prices_too_dear_to_use_are_given_up(self) -> None:
        problem = UGLY["tight"]()
        start = np.full(problem.users, float(problem.score.max()))
        answer = solve(problem, Auction(warm_passes=0.1), start=solve(problem, "first-come"), start_prices=start)
        warm = [bool(step.get("warm")) for step in answer.history]
        assert warm[:3] == [False, True, False], "the start, the try from its prices, then from zero"
        assert answer.gap <= 1e-3

    @settings(max_examples=40, deadline=None)
    @given(seed=seeds, kind=kinds)
    def test_each_step_is_within_eps_a_match(self, seed: int, kind: str) -> None:
        problem = Ragged(items=30, users=25, most=6, kind=kind).make(seed)
        optimum = solve(problem, "min-cost-flow")
        steps: list[dict[str, Any]] = []
        solve(problem, Auction(first_eps=1.0, shrink=0.5), gap=1e-6, on_step=steps.append)
        most = min(problem.demand.sum(), problem.capacity.sum())
        for step in [step for step in steps if "bidding" not in step]:  # the others are interim
            assert step["value"] >= optimum.value - step["eps"] * most - 1e-9 * optimum.value
            assert step["bound"] <= optimum.value + step["eps"] * most + 1e-9 * optimum.value

    def test_tied_scores_fill_every_place_there_is(self) -> None:
        answer = solve(grid(np.full((40, 30), 0.3), 20, 10), gap=0)
        assert answer.matches == 300
        assert answer.status is Status.OPTIMAL

    def test_steps_tell_eps_value_bound_gap_and_seconds(self) -> None:
        steps: list[dict[str, Any]] = []
        answer = solve(UGLY["tight"](), gap=1e-6, on_step=steps.append)
        assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))
        assert {"eps", "value", "bound", "gap", "seconds"} <= set(steps[0])
        for earlier, later in itertools.pairwise(steps):
            assert later["eps"] < earlier["eps"] and later["gap"] <= earlier["gap"]
        assert (steps[-1]["value"], steps[-1]["bound"]) == (answer.value, answer.bound)

    def test_time_limit_gives_a_feasible_certified_answer(self) -> None:
        answer = solve(UGLY["tight"](), gap=0, time_limit=0)
        keeps_the_contract(answer, 0)
        leaves_nothing_free(answer)
        assert answer.status is Status.TIME_LIMIT

    def test_step_limit(self) -> None:
        answer = solve(UGLY["tight"](), Auction(max_steps=0), gap=1e-9)
        keeps_the_contract(answer, 1e-9)
        assert answer.status is Status.STEP_LIMIT

    def test_interruption_keeps_the_best_answer(self) -> None:
        def press_ctrl_c(step: dict[str, Any]) -> None:
            raise KeyboardInterrupt

        answer = solve(UGLY["tight"](), gap=1e-9, on_step=press_ctrl_c)
        keeps_the_contract(answer, 1e-9)
        assert answer.status is Status.INTERRUPTED

    def test_wrong_options_are_refused(self) -> None:
        with pytest.raises(ValueError, match="first_eps > 0"):
            Auction(first_eps=0)


class TestDriver:
    def test_unknown_name_names_the_nearest(self) -> None:
        with pytest.raises(ProblemError, match="did you mean 'min-cost-flow'"):
            solve(UGLY["empty"](), "min_cost_flow")

    @names
    def test_options_are_frozen_and_comparable(self, name: str) -> None:
        solver = make_solver(name)
        assert solver == make_solver(name) and hash(solver) == hash(make_solver(name))
        assert make_solver(solver) is solver and (solver.name == name or solver is name)
        with pytest.raises(AttributeError):
            solver.name = "other"  # type: ignore[misc]

    def test_throw_raises_the_sentence(self) -> None:
        with pytest.raises(SolverError, match="promises no gap"):
            solve(UGLY["tight"](), "first-come", gap=0, throw=True)

    @pytest.mark.parametrize("gap", [-0.1, 1.1, float("nan")])
    def test_gap_outside_its_range_is_refused(self, gap: float) -> None:
        with pytest.raises(ProblemError, match="expected a number from 0 to 1"):
            solve(UGLY["empty"](), gap=gap)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"gap": "0.1"}, "gap is '0.1', expected a number from 0 to 1"),
            ({"threads": -1}, "threads is -1, expected 0"),
            ({"threads": 1.5}, r"threads is 1\.5, expected 0"),
            ({"time_limit": -1}, "time_limit is -1, expected seconds >= 0"),
            ({"time_limit": float("nan")}, "time_limit is nan"),
            ({"solver": Auction}, r"solver is <class .*, expected a name or an options object such as Auction\(\)"),
            ({"solver": None}, "solver is None"),
            ({"problem": [1]}, "problem is list, expected a Problem"),
        ],
    )
    def test_what_cannot_be_asked_is_refused(self, wrong: dict[str, Any], message: str) -> None:
        with pytest.raises(ProblemError, match=message):
            solve(**{"problem": UGLY["empty"](), **wrong})

    @pytest.mark.parametrize("bits", [0, 61])
    def test_score_bits_that_lose_every_score_are_refused(self, bits: int) -> None:
        with pytest.raises(ValueError, match="expected score_bits from 1 to 60"):
            MinCostFlow(score_bits=bits)

    def test_wrong_start_prices_are_refused(self) -> None:
        with pytest.raises(ProblemError, match="shape"):
            solve(UGLY["tight"](), start_prices=np.zeros(3))


@pytest.mark.slow
@pytest.mark.parametrize("family", [Skewed(), TiedGroups(), TiedGroups(skew=0.9, levels=1), TightFlat()])
def test_auction_on_millions_of_edges(family: Any) -> None:
    answer = solve(family.make(), gap=1e-3, time_limit=60)
    keeps_the_contract(answer, 1e-3)
    assert answer.gap <= 1e-3


def best_by_trying_all(problem: Problem) -> float:
    """The best value over all subsets of at most 12 edges."""
    item = problem.item_of(np.arange(problem.edges))
    best = 0.0
    for taken in itertools.product([False, True], repeat=problem.edges):
        chosen = np.flatnonzero(taken)
        items = np.bincount(item[chosen], minlength=problem.items)
        users = np.bincount(problem.user[chosen], minlength=problem.users)
        if (items <= problem.demand).all() and (users <= problem.capacity).all():
            best = max(best, float(problem.score[chosen].sum(dtype=np.float64)))
    return best


def linear_optimum(problem: Problem) -> float:
    """The optimum of the linear program, by HiGHS, on scores scaled to at most 1."""
    highest = float(problem.score.max(initial=0.0))
    if highest == 0.0:
        return 0.0
    edges = np.arange(problem.edges)
    rows = np.concatenate([problem.item_of(edges), problem.user + problem.items])
    matrix = coo_array((np.ones(rows.size), (rows, np.tile(edges, 2))), (problem.items + problem.users, edges.size))
    limits = np.concatenate([problem.demand, problem.capacity])
    cost = -problem.score.astype(np.float64) / highest
    return -float(linprog(cost, A_ub=matrix.tocsr(), b_ub=limits, bounds=(0, 1), method="highs").fun) * highest


def greedy_twin(problem: Problem) -> list[int]:
    item = problem.item_of(np.arange(problem.edges))
    item_left, user_left, chosen = problem.demand.copy(), problem.capacity.copy(), []
    for e in sorted(range(problem.edges), key=lambda e: (-problem.score[e], item[e], problem.user[e])):
        if problem.score[e] > 0 and item_left[item[e]] and user_left[problem.user[e]]:
            item_left[item[e]] -= 1
            user_left[problem.user[e]] -= 1
            chosen.append(e)
    return chosen


def first_come_twin(problem: Problem) -> list[int]:
    user_left, chosen = problem.capacity.copy(), []
    for i in range(problem.items):
        row = range(problem.indptr[i], problem.indptr[i + 1])
        free = [e for e in row if user_left[problem.user[e]] and problem.score[e] > 0]
        best = sorted(free, key=lambda e: (-problem.score[e], problem.user[e]))[: problem.demand[i]]
        user_left[problem.user[best]] -= 1
        chosen += best
    return chosen
