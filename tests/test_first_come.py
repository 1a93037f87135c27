"""First come, first served as the paper's Algorithm 1 has it: available users, in upload order, the best of them."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.errors import ProblemError
from dualrec.solvers.first_come import FirstCome
from dualrec.solvers.instances import SCORE_KINDS, Ragged
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve

Make = Callable[..., Problem]
seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)
thresholds = st.sampled_from([0.0, 0.25, 0.5, 1.0])


def algorithm_1(problem: Problem, quality: np.ndarray, activity: np.ndarray, threshold: float) -> list[int]:
    """The paper's algorithm, word for word, with the matching sets D_u as sets of items; quality: float[edges]."""
    available = {u for u in range(problem.users) if activity[u] >= threshold and problem.capacity[u] > 0}
    matched: dict[int, set[int]] = {u: set() for u in range(problem.users)}
    chosen = []
    for i in range(problem.items):
        row = range(problem.indptr[i], problem.indptr[i + 1])
        found = [e for e in row if problem.user[e] in available and problem.score[e] > 0]
        for e in sorted(found, key=lambda e: (-quality[e], problem.user[e]))[: problem.demand[i]]:
            user = int(problem.user[e])
            matched[user].add(i)
            chosen.append(e)
            if len(matched[user]) == problem.capacity[user]:
                available.remove(user)
    return sorted(chosen)


@settings(max_examples=100)
@given(seed=seeds, kind=kinds, threshold=thresholds)
def test_creator_side_scores_and_activity_apart(seed: int, kind: str, threshold: float) -> None:
    problem = Ragged(items=12, users=9, kind=kind).make(seed)
    activity = np.random.default_rng(seed).integers(0, 5, problem.users) / 4
    answer = solve(problem, FirstCome(threshold, activity, weighted=False))
    assert answer.chosen.tolist() == algorithm_1(problem, problem.score, activity, threshold)


@settings(max_examples=100)
@given(seed=seeds, kind=kinds, threshold=thresholds)
def test_weighted_scores_are_ranked_without_activity(seed: int, kind: str, threshold: float) -> None:
    """Activities are powers of two, so the products and quotients are exact and even ties are the same."""
    plain = Ragged(items=12, users=9, kind=kind).make(seed)
    activity = 2.0 ** -np.random.default_rng(seed).integers(0, 4, plain.users)
    weighted = plain.score * activity[plain.user]
    problem = Problem.from_csr(plain.indptr, plain.user, weighted, plain.demand, plain.capacity)
    answer = solve(problem, FirstCome(threshold, activity))
    assert answer.chosen.tolist() == algorithm_1(plain, plain.score, activity, threshold)


@settings(max_examples=60)
@given(seed=seeds, kind=kinds)
def test_without_threshold_all_users_are_available(seed: int, kind: str) -> None:
    problem = Ragged(items=12, users=9, kind=kind).make(seed)
    everybody = np.ones(problem.users)
    assert solve(problem, "first-come").chosen.tolist() == algorithm_1(problem, problem.score, everybody, 0.0)


def test_the_threshold_itself_is_active() -> None:
    problem = Problem.from_csr([0, 2], [0, 1], [2.0, 1.0], 2, [1, 1])
    assert solve(problem, FirstCome(0.5, np.array([0.5, 0.49]))).chosen.tolist() == [0]


def test_activity_ranks_a_likely_user_no_higher() -> None:
    """User 1 likes the item more but comes less: by score alone user 0 is first, by the paper's ranking user 1."""
    problem = Problem.from_csr([0, 2], [0, 1], [0.9 * 0.5, 0.5 * 0.8], 1, [1, 1])
    assert solve(problem, "first-come").chosen.tolist() == [0]
    assert solve(problem, FirstCome(0.4, np.array([0.9, 0.5]))).chosen.tolist() == [1]


def test_weighted_scores_of_users_who_never_come_are_not_taken() -> None:
    problem = Problem.from_csr([0, 2], [0, 1], [2.0, 1.0], 2, [1, 1])
    activity = np.array([0.0, 0.5])
    assert solve(problem, FirstCome(0.0, activity)).chosen.tolist() == [1]
    assert solve(problem, FirstCome(0.0, activity, weighted=False)).chosen.tolist() == [0, 1]


@settings(max_examples=60)
@given(seed=seeds, kind=kinds, threshold=thresholds)
def test_creator_limits_are_kept_by_available_users_too(
    limited_problem: Make, seed: int, kind: str, threshold: float
) -> None:
    problem = limited_problem(seed, kind)
    activity = np.random.default_rng(seed).random(problem.users)
    answer = solve(problem, FirstCome(threshold, activity))  # the driver checks every limit
    assert (activity[problem.user[answer.chosen]] >= threshold).all()
    assert answer.bound >= answer.value


class TestOptions:
    def test_equal_by_content(self) -> None:
        first, second = (FirstCome(0.5, np.array([0.1, 0.9])) for _ in range(2))
        assert first == second and hash(first) == hash(second)
        assert first != FirstCome(0.5, np.array([0.1, 0.8])) and first != FirstCome() and first != "first-come"

    @pytest.mark.parametrize("options", [{"threshold": 0.5}, {"activity": np.ones(2)}])
    def test_threshold_and_activity_come_together(self, options: dict) -> None:
        with pytest.raises(ValueError, match="both or neither"):
            FirstCome(**options)

    @pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
    def test_threshold_is_a_probability(self, threshold: float) -> None:
        with pytest.raises(ValueError, match="expected a probability from 0 to 1"):
            FirstCome(threshold, np.ones(2))

    @pytest.mark.parametrize(
        ("activity", "message"),
        [
            ([1.0], r"activity has shape \(1,\), expected \(2,\): one for each user"),
            ([0.5, np.nan], "activity of user 'y' is nan, expected a probability from 0 to 1"),
            ([1.5, 0.5], "activity of user 'x' is 1.5, expected a probability"),
        ],
    )
    def test_wrong_activity_names_the_user(self, activity: list[float], message: str) -> None:
        problem = Problem.from_edges(["a", "a"], ["x", "y"], [1.0, 2.0], 1, 1)
        with pytest.raises(ProblemError, match=message):
            solve(problem, FirstCome(0.5, np.array(activity)))
