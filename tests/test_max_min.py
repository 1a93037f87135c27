"""Provider max-min fairness: users who arrive, providers whose bonus falls as they are served."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.allocation import Allocation
from dualrec.solvers.instances import SCORE_KINDS, Ragged, Skewed
from dualrec.solvers.max_min import MaxMin, providers
from dualrec.solvers.max_min_kernels import sift_down
from dualrec.solvers.places_left import group_arrays
from dualrec.solvers.problem import Problem
from dualrec.solvers.reachable import reachable
from dualrec.solvers.solve import solve
from dualrec.solvers.uneven_instances import SkewedLists

Make = Callable[..., Problem]
seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)

CROWDED = {
    "skewed": Skewed(items=100, users=300, candidates=40, demand=20, capacity=4),
    "lists": SkewedLists(items=100, users=600, candidates=60, demand=20, capacity=3),
}
"""Where many users can be given to each item."""


def max_min_twin(problem: Problem, weight: float, rate: float, seed: int) -> list[int]:
    """The rule in NumPy, every provider's weight from its share anew for each user."""
    item, (group, limit) = problem.item_of(np.arange(problem.edges)), group_arrays(problem)
    worth = problem.score > 0
    worth &= (problem.demand > 0)[item] & (problem.capacity > 0)[problem.user]
    provider = np.arange(problem.items) if problem.creator is None else problem.creator
    target = np.zeros(problem.items + 1)
    np.add.at(target, provider, np.minimum(problem.demand, np.bincount(item[worth], minlength=problem.items)))
    there, degree = target > 0, np.bincount(problem.user[worth], minlength=problem.users)
    unit = problem.score[worth].mean(dtype=np.float64) if worth.any() else 1.0
    bonus = weight * unit * min(target.sum(), np.minimum(problem.capacity, degree).sum())
    item_left, group_left, got, chosen = problem.demand.copy(), limit.copy(), np.zeros(target.size), []
    for u in np.random.default_rng([seed, 42]).permutation(problem.users):
        soft = np.exp(-rate * got[there] / target[there])
        earns = np.zeros(target.size)
        earns[there] = bonus * soft / soft.sum() / target[there]
        free = np.flatnonzero((problem.user == u) & worth & (item_left[item] > 0))
        rank = problem.score[free] + earns[provider[item[free]]]
        took = 0
        for e in free[np.lexsort((free, -rank))]:
            if took == problem.capacity[u] or (group.size and group[e] >= 0 and group_left[group[e]] == 0):
                continue
            took += 1
            chosen.append(int(e))
            item_left[item[e]] -= 1
            got[provider[item[e]]] += 1
            if group.size and group[e] >= 0:
                group_left[group[e]] -= 1
    return sorted(chosen)


def least_share(answer: Allocation) -> float:
    provider, target = providers(answer.problem, reachable(answer.problem))
    share = np.bincount(provider, weights=answer.item_load, minlength=target.size)[target > 0] / target[target > 0]
    return float(share.min())


@settings(max_examples=100)
@given(seed=seeds, weight=st.sampled_from([0.1, 1.0, 30.0]), rate=st.sampled_from([0.5, 10.0, 90.0]))
def test_equals_a_twin(seed: int, weight: float, rate: float) -> None:
    problem = Ragged(items=10, users=14).make(seed)
    assert solve(problem, MaxMin(weight, rate, seed)).chosen.tolist() == max_min_twin(problem, weight, rate, seed)


@settings(max_examples=60)
@given(seed=seeds, weight=st.sampled_from([0.0, 1.0, 30.0]))
def test_creators_are_the_providers(limited_problem: Make, seed: int, weight: float) -> None:
    problem = limited_problem(seed, "spread", floors=False, items=12)
    assert solve(problem, MaxMin(weight, seed=seed)).chosen.tolist() == max_min_twin(problem, weight, 10.0, seed)


@settings(max_examples=60)
@given(seed=seeds, kind=kinds)
def test_without_weight_users_take_their_best_as_they_arrive(seed: int, kind: str) -> None:
    problem = Ragged(items=10, users=12, kind=kind).make(seed)
    item, left, chosen = problem.item_of(np.arange(problem.edges)), problem.demand.copy(), []
    for u in np.random.default_rng([seed, 42]).permutation(problem.users):
        free = [e for e in np.flatnonzero(problem.user == u) if problem.score[e] > 0 and left[item[e]]]
        best = sorted(free, key=lambda e: (-problem.score[e], item[e]))[: problem.capacity[u]]
        left[item[best]] -= 1
        chosen += best
    assert solve(problem, MaxMin(weight=0.0, seed=seed)).chosen.tolist() == sorted(chosen)


@pytest.mark.parametrize("family", CROWDED)
def test_the_least_served_item_gets_more_than_without_weight_and_than_first_come(family: str) -> None:
    """Not so on every small problem: the users to come are not known."""
    least: dict[str, list[float]] = {"first come": [], "0": [], "1": [], "100": []}
    for seed in range(20):
        problem = CROWDED[family].make(seed)
        least["first come"].append(least_share(solve(problem, "first-come")))
        for weight in (0, 1, 100):
            least[str(weight)].append(least_share(solve(problem, MaxMin(weight))))
    for baseline in ("0", "first come"):
        assert (np.array(least["1"]) >= least[baseline]).all()
        assert (np.array(least["100"]) >= least[baseline]).all()
    assert np.mean(least["100"]) >= np.mean(least["1"]) > np.mean(least["0"])


def test_weights_that_all_fall_far_keep_their_sum() -> None:
    """Each item is served in full, so every weight ends at exp(-500): what rounding leaves of 1 must not stand for them."""
    answer = solve(Ragged(items=30, users=40, most=30).make(1), MaxMin(rate=500.0))
    assert np.isfinite(answer.value) and answer.matches
    small = Ragged(items=5, users=40, density=0.9, most=30).make(2)
    assert solve(small, MaxMin(rate=300.0)).chosen.tolist() == max_min_twin(small, 1.0, 300.0, 0)


def test_items_of_no_known_creator_are_providers_of_their_own() -> None:
    problem = Problem.from_edges(
        ["a", "b", "c", "d"], ["x", "x", "y", "y"], [1.0, 1.0, 0.0, 1.0], 3, 1, creator={"a": "A", "b": "A"}
    )
    provider, target = providers(problem, reachable(problem))
    assert provider.tolist() == [0, 0, 1, 2]
    assert target.tolist() == [2.0, 0.0, 1.0], "users that each could get; a score of 0 is nobody"


@settings(max_examples=60)
@given(ranks=st.lists(st.sampled_from([0.5, 1.0, 2.0, 7.0]), min_size=1, max_size=40))
def test_the_heap_pops_in_order(ranks: list[float]) -> None:
    rank, edge, popped = np.array(ranks), np.arange(len(ranks)), []
    for at in range(len(ranks) // 2 - 1, -1, -1):
        sift_down(rank, edge, len(ranks), at)
    for count in range(len(ranks) - 1, -1, -1):
        popped.append(int(edge[0]))
        rank[0], edge[0] = rank[count], edge[count]
        sift_down(rank, edge, count, 0)
    assert popped == sorted(range(len(ranks)), key=lambda e: (-ranks[e], e))


@pytest.mark.parametrize(
    "options", [{"weight": -1.0}, {"weight": np.inf}, {"rate": -1.0}, {"rate": 501.0}, {"rate": np.nan}, {"seed": -1}]
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected a finite weight >= 0, a rate from 0 to 500, seed >= 0"):
        MaxMin(**options)
