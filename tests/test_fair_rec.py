"""FairRec: users in turn, a least number of users for each item, and whom a user can envy."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.certificate import check
from dualrec.solvers.fair_rec import FairRec
from dualrec.solvers.instances import SCORE_KINDS, Ragged, Skewed
from dualrec.solvers.places_left import group_arrays
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve
from dualrec.solvers.uneven_instances import SkewedLists

Make = Callable[..., Problem]
seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)
shares = st.sampled_from([0.0, 0.3, 0.5, 1.0])


def complete(score: np.ndarray, demand: int, capacity: int) -> Problem:
    """Every (item, user) pair is a candidate."""
    items, users = score.shape
    ends, user = np.arange(items + 1) * users, np.tile(np.arange(users), items)
    return Problem.from_csr(ends, user, score.ravel(), demand, np.full(users, capacity))


def fair_rec_twin(problem: Problem, guarantee: float, seed: int) -> list[int]:
    """Both phases from dictionaries and sorted lists."""
    item, (group, group_limit) = problem.item_of(np.arange(problem.edges)).tolist(), group_arrays(problem)
    wish: dict[int, list[int]] = {u: [] for u in range(problem.users)}
    reached = set()
    for e in sorted(range(problem.edges), key=lambda e: (-problem.score[e], item[e])):
        u = int(problem.user[e])
        if problem.score[e] > 0:
            wish[u].append(e)
            if problem.demand[item[e]] and problem.capacity[u]:
                reached.add(e)
    fillable = sum(min(int(problem.capacity[u]), len(reached.intersection(wish[u]))) for u in wish)
    able = len({item[e] for e in reached})
    kept = int(guarantee * fillable / able) if able else 0
    user_left, group_left, chosen = problem.capacity.tolist(), group_limit.tolist(), set()
    load = [0] * problem.items
    for most in (np.minimum(problem.demand, kept), problem.demand):
        took = True
        while took:
            took = False
            for u in np.random.default_rng([seed, 41]).permutation(problem.users).tolist():
                free = (
                    e
                    for e in wish[u]
                    if e not in chosen
                    and load[item[e]] < most[item[e]]
                    and (not group.size or group[e] < 0 or group_left[group[e]])
                )
                e = next(free, None) if user_left[u] else None
                if e is not None:
                    took = True
                    chosen.add(e)
                    load[item[e]] += 1
                    user_left[u] -= 1
                    if group.size and group[e] >= 0:
                        group_left[group[e]] -= 1
    return sorted(chosen)


@settings(max_examples=100)
@given(seed=seeds, kind=kinds, guarantee=shares)
def test_equals_a_twin(seed: int, kind: str, guarantee: float) -> None:
    problem = Ragged(items=10, users=12, kind=kind).make(seed)
    assert solve(problem, FairRec(guarantee, seed)).chosen.tolist() == fair_rec_twin(problem, guarantee, seed)


@settings(max_examples=60)
@given(seed=seeds, kind=kinds, guarantee=shares)
def test_equals_a_twin_with_creator_limits(limited_problem: Make, seed: int, kind: str, guarantee: float) -> None:
    problem = limited_problem(seed, kind, items=12)
    assert solve(problem, FairRec(guarantee)).chosen.tolist() == fair_rec_twin(problem, guarantee, 0)


class TestProducers:
    @settings(max_examples=100)
    @given(seed=seeds, items=st.integers(1, 9), users=st.integers(1, 9), capacity=st.integers(1, 9), guarantee=shares)
    def test_all_items_but_as_many_as_a_user_has_places_get_their_share(
        self, seed: int, items: int, users: int, capacity: int, guarantee: float
    ) -> None:
        """The paper's theorem, where all pairs are candidates."""
        score = np.random.default_rng(seed).lognormal(size=(items, users)).astype(np.float32)
        share = int(guarantee * users * min(capacity, items) / items)
        load = solve(complete(score, users, capacity), FairRec(guarantee, seed)).item_load
        assert np.count_nonzero(load >= share) >= items - capacity

    def test_copies_are_the_equal_share_of_the_places_that_can_be_filled(self) -> None:
        """User 2 has no place, item 2 wants nobody, item 3 has no candidate: 2 + 1 places for items 0 and 1."""
        user, score, ends = [0, 1, 2, 0, 2, 1], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [0, 3, 5, 6, 6]
        problem = Problem.from_csr(ends, user, score, [9, 1, 0, 5], [9, 1, 0])
        assert FairRec().copies(problem).tolist() == [1, 1, 0, 1]
        assert FairRec(guarantee=0.5).copies(problem).tolist() == [0, 0, 0, 0]

    def test_the_least_served_item_gets_more_than_without_a_guarantee(self) -> None:
        problem = SkewedLists(items=200, users=2_000, candidates=200, demand=20, capacity=3).make(3)
        free, kept = (solve(problem, FairRec(guarantee)).item_load.min() for guarantee in (0.0, 0.5))
        assert kept > free


class TestEnvy:
    """Phase 1 alone: the demand of each item is what phase 1 keeps for it."""

    @settings(max_examples=100)
    @given(seed=seeds, kind=kinds, capacity=st.integers(1, 4), guarantee=shares)
    def test_nobody_envies_what_he_lacks_but_for_one_item(
        self, seed: int, kind: str, capacity: int, guarantee: float
    ) -> None:
        phase_1, most = first_phase(Ragged(items=7, users=6, density=0.8, kind=kind).make(seed), capacity, guarantee)
        value, has = bundles(phase_1, seed)
        for u in range(len(has)):
            own = value[u][has[u]].sum()
            for other in has:
                lacking = value[u][other & ~has[u]]
                assert own >= lacking.sum() - lacking.max(initial=0.0) - 1e-9 * own
                if most == 1:
                    assert not (other & has[u]).any() or other is has[u]

    def test_items_that_both_have_can_make_for_more_envy(self) -> None:
        """Two copies each: user 2 comes last and finds its first choice gone, then shares nothing but its second best."""
        wish = np.array([[9, 3, 7, 5], [5, 3, 4, 1], [8, 5, 2, 1]], np.float32)
        order = np.random.default_rng([0, 41]).permutation(3)
        value = np.empty_like(wish)
        value[order] = wish
        problem = complete(value.T.copy(), 2, 3)
        assert FairRec().copies(problem).tolist() == [2, 2, 2, 2]
        worths, has = bundles(problem, 0)
        last, second = order[2], order[1]
        envied = worths[last][has[second]]
        assert worths[last][has[last]].sum() < envied.sum() - envied.max()


def first_phase(problem: Problem, capacity: int, guarantee: float) -> tuple[Problem, int]:
    """The problem with one capacity for all and no more demand than FairRec keeps, and the most that it keeps."""
    ends, places = problem.indptr, np.full(problem.users, capacity)
    whole = Problem.from_csr(ends, problem.user, problem.score, np.full(problem.items, 50), places)
    kept = FairRec(guarantee).copies(whole)
    return Problem.from_csr(ends, problem.user, problem.score, kept, places), int(kept.max(initial=0))


def bundles(problem: Problem, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """What each item is worth to each user, float64[users, items], and bool[items] for each user: what it got."""
    answer = solve(problem, FairRec(seed=seed))
    check(problem, answer.chosen)
    item = problem.item_of(np.arange(problem.edges))
    value, has = np.zeros((problem.users, problem.items)), np.zeros((problem.users, problem.items), bool)
    value[problem.user, item] = problem.score
    has[problem.user[answer.chosen], item[answer.chosen]] = True
    return value, list(has)


def test_the_seed_decides_the_order() -> None:
    problem = Skewed(items=40, users=90, candidates=20, demand=8, capacity=3).make(1)
    first, other = solve(problem, FairRec(seed=1)), solve(problem, FairRec(seed=2))
    assert not np.array_equal(first.chosen, other.chosen)


@pytest.mark.parametrize("options", [{"guarantee": -0.1}, {"guarantee": 1.1}, {"guarantee": np.nan}, {"seed": -1}])
def test_wrong_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected a guarantee from 0 to 1 and seed >= 0"):
        FairRec(**options)  # type: ignore[arg-type]
