"""Which floors can be met at once, against SciPy's maximum flow and by trying everything; and meeting them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow

from dualrec.solvers.certificate import check
from dualrec.solvers.first_come import fill
from dualrec.solvers.floors import floors_to_meet, serve_floors
from dualrec.solvers.instances import SCORE_KINDS, TightFlat
from dualrec.solvers.min_cost_flow import MinCostFlow
from dualrec.solvers.network_flow import best_flow, integer_worth
from dualrec.solvers.places_left import group_arrays, places_left
from dualrec.solvers.problem import Problem

Make = Callable[..., Problem]
seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)


def most_floor_places(problem: Problem) -> int:
    """The most floor places that can be filled at once: a maximum flow source, items, edges, groups, users, sink."""
    assert problem.floor is not None
    items, users, (group, group_limit) = problem.items, problem.users, group_arrays(problem)
    first = np.cumsum([1, items, users, group_limit.size])
    item, user = problem.item_of(np.arange(problem.edges)) + first[0], problem.user.astype(int) + first[1]
    end, group_user = user.copy(), np.full(group_limit.size, first[3])
    if group.size:
        end[group >= 0] = group[group >= 0] + first[2]
        group_user[group[group >= 0]] = user[group >= 0]
    tail = np.concatenate([np.zeros(items, int), item, np.arange(first[2], first[3]), np.arange(first[1], first[2])])
    head = np.concatenate([np.arange(first[0], first[1]), end, group_user, np.full(users, first[3])])
    room = np.concatenate([problem.floor, np.ones(problem.edges, int), group_limit, problem.capacity])
    network = coo_array((room.astype(np.int32), (tail, head)), (first[3] + 1, first[3] + 1)).tocsr()
    return int(maximum_flow(network, 0, int(first[3])).flow_value)


def loads(problem: Problem, held: np.ndarray) -> np.ndarray:
    check(problem, np.flatnonzero(held))
    return problem.item_load(np.flatnonzero(held))


class TestFloorsToMeet:
    @settings(max_examples=100)
    @given(seed=seeds, kind=kinds, best=st.booleans(), creators=st.integers(0, 3))
    def test_as_many_places_as_maximum_flow(
        self, limited_problem: Make, seed: int, kind: str, best: bool, creators: int
    ) -> None:
        problem = limited_problem(seed, kind, creators=creators)
        least = floors_to_meet(problem, best_shares=best)
        assert least.dtype == np.int32 and (least >= 0).all() and (least <= problem.floor).all()
        assert least.sum() == most_floor_places(problem)
        used = best_flow(problem, integer_worth(problem, 1.0), least)
        assert (loads(problem, used) >= least).all(), "they can be met at once"

    def test_places_too_few_go_where_the_score_is(self) -> None:
        problem = Problem.from_csr([0, 1, 2, 3], [0, 0, 0], [1.0, 3.0, 2.0], 1, [2], floor=1)
        assert floors_to_meet(problem).tolist() == [0, 1, 1]

    def test_no_floors_are_all_met(self) -> None:
        problem = Problem.from_csr([0, 1, 2], [0, 0], [1.0, 2.0], 1, [1])
        assert floors_to_meet(problem).tolist() == [0, 0]

    def test_an_edge_worth_nothing_serves_a_floor(self) -> None:
        problem = Problem.from_csr([0, 1], [0], [0.0], 1, [1], floor=1)
        assert floors_to_meet(problem).tolist() == [1]
        assert next(iter(MinCostFlow().steps(problem, None))).chosen.tolist() == [0]  # type: ignore[arg-type]

    def test_items_with_too_few_candidates_take_nothing_from_others(self) -> None:
        problem = Problem.from_csr([0, 1, 4], [0, 0, 1, 2], [1.0, 1, 1, 1], 3, [1, 1, 1], floor=[2, 2])
        assert floors_to_meet(problem).tolist() == [1, 2]

    def test_tight_floors_of_thousands_of_users(self) -> None:
        plain = TightFlat(items=300, users=2_000, candidates=150, demand=60, capacity=9).make(3)
        arrays = plain.indptr, plain.user, plain.score, plain.demand, plain.capacity
        problem = Problem.from_csr(*arrays, floor=60)
        assert floors_to_meet(problem, best_shares=False).sum() == most_floor_places(problem)


class TestServeFloors:
    @settings(max_examples=100)
    @given(seed=seeds, kind=kinds, share=st.sampled_from([0.0, 0.5, 1.0]), can_be_met=st.booleans())
    def test_from_any_allocation(
        self, limited_problem: Make, seed: int, kind: str, share: float, can_be_met: bool
    ) -> None:
        problem = limited_problem(seed, kind)
        held = np.zeros(problem.edges, np.uint8)
        fill(problem, held)
        held[np.random.default_rng(seed).random(problem.edges) >= share] = 0
        before = loads(problem, held)
        least = floors_to_meet(problem) if can_be_met else problem.floor
        assert least is not None
        serve_floors(problem, least, held)
        after = loads(problem, held)
        assert (after >= np.minimum(before, least)).all(), "no item falls below its floor"
        assert (after <= np.maximum(before, least)).all(), "no item gets more than its floor"
        assert np.minimum(after, least).sum() == most_floor_places(problem)

    def test_a_chain_of_items_passes_users_on(self) -> None:
        """Item 0 knows user 0 only, item 1 users 0 and 1, ... the last place is free: everyone moves by one."""
        items = 50
        indptr = np.append([0, 1], 1 + 2 * np.arange(1, items))
        user = np.append([0], (np.arange(1, items)[:, None] + [-1, 0]).ravel())
        problem = Problem.from_csr(indptr, user, np.ones(user.size), 1, np.ones(items, int), floor=1)
        held = np.zeros(problem.edges, np.uint8)
        held[problem.indptr[1:-1]] = 1
        assert loads(problem, held)[0] == 0
        serve_floors(problem, np.ones(items, np.int32), held)
        assert (loads(problem, held) == 1).all()


@settings(max_examples=60)
@given(seed=seeds, share=st.floats(0, 1))
def test_places_left_are_limits_less_loads(limited_problem: Any, seed: int, share: float) -> None:
    problem = limited_problem(seed)
    held = (np.random.default_rng(seed).random(problem.edges) < share).astype(np.uint8)
    left = places_left(problem, held)
    item, (group, group_limit) = problem.item_of(np.arange(problem.edges)), group_arrays(problem)
    for i in range(problem.items):
        assert left.item[i] == problem.demand[i] - held[item == i].sum()
    for u in range(problem.users):
        assert left.user[u] == problem.capacity[u] - held[problem.user == u].sum()
    for g in range(problem.groups):
        assert left.group[g] == group_limit[g] - held[group == g].sum()
    assert (places_left(problem, held, problem.floor).item == problem.floor - problem.demand + left.item).all()


@pytest.mark.parametrize(("most_missing", "chosen"), [(None, [0]), (1, [0]), (0, [1, 2])])
def test_flow_leaves_at_most_so_many_places_empty(most_missing: int | None, chosen: list[int]) -> None:
    problem = Problem.from_csr([0, 2, 3], [0, 1, 0], [20.0, 1.0, 18.0], 1, [1, 1])
    used = best_flow(problem, integer_worth(problem, 1.0), np.zeros(2, np.int64), most_missing)
    assert np.flatnonzero(used).tolist() == chosen
