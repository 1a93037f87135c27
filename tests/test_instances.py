"""Seeded instances: what a family promises, the same bytes for the same seed, kernels against plain Python."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers import instance_rows
from dualrec.solvers.instance_kernels import BLOCK, keep_best, sort_users
from dualrec.solvers.instance_rows import alias_of, draw_rows, lognormal_scores, stream_seed, to_levels
from dualrec.solvers.instances import Skewed, TiedGroups, TightFlat, by_rank
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve
from dualrec.solvers.uneven_instances import RATING_SHARES, GiantRow, HubUsers, Ratings, SkewedLists

seeds = st.integers(0, 2**32 - 1)
SMALL = {
    "skewed": Skewed(items=60, users=300, candidates=40, demand=9, capacity=3),
    "tied groups": TiedGroups(items=60, groups=7, users=300, candidates=40, demand=9, capacity=3),
    "tied groups, few levels": TiedGroups(items=60, groups=7, users=300, candidates=40, demand=9, levels=3),
    "tight": TightFlat(items=60, users=300, candidates=40, demand=9, capacity=2),
    "ties": Skewed(items=60, users=300, candidates=40, demand=9, capacity=3, levels=3),
    "hubs": HubUsers(items=60, users=300, candidates=40, hubs=4, demand=9, capacity=3),
    "lists": SkewedLists(items=60, users=300, candidates=40, demand=9, capacity=3),
}
UNEVEN = {
    "giant row": GiantRow(items=60, users=300, candidates=40, demand=9, capacity=3),
    "ratings": Ratings(items=100, users=800, ratings=20_000),
}
even = pytest.mark.parametrize("name", SMALL)
family = pytest.mark.parametrize("name", [*SMALL, *UNEVEN])


def made(name: str, seed: int) -> Problem:
    return (SMALL | UNEVEN)[name].make(seed)


class Stream:
    """splitmix64 in plain Python integers."""

    def __init__(self, seed: int, number: int) -> None:
        self.state = mixed((mixed(seed + 0x9E3779B97F4A7C15)) ^ (number * 0x94D049BB133111EB % 2**64))

    def uniform(self) -> float:
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        return (mixed(self.state) >> 11) * 2.0**-53


def mixed(z: int) -> int:
    z %= 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def row_twin(stream: Stream, length: int, weight: np.ndarray, keep: np.ndarray, alias: np.ndarray) -> list[int]:
    """Distinct users through the alias table for 8 draws a place, the rest by the smallest exponential times."""
    row: list[int] = []
    for _ in range(8 * length):
        if len(row) == length:
            break
        place = stream.uniform() * weight.size
        user = int(place)
        user = user if place - user < keep[user] else int(alias[user])
        row += [] if user in row else [user]
    if len(row) < length:
        times = [math.inf if u in row else -math.log(1 - stream.uniform()) / w for u, w in enumerate(weight)]
        row += sorted(range(weight.size), key=times.__getitem__)[: length - len(row)]
    return sorted(row)


def score_twin(stream: Stream, count: int, sigma: float) -> list[float]:
    """Lognormal numbers in pairs, by the polar method."""
    scores: list[float] = []
    while len(scores) < count:
        x, y = 2 * stream.uniform() - 1, 2 * stream.uniform() - 1
        square = x * x + y * y
        if 0 < square < 1:
            scale = sigma * math.sqrt(-2 * math.log(square) / square)
            scores += [math.exp(x * scale), math.exp(y * scale)]
    return scores[:count]


@settings(max_examples=60)
@given(seed=seeds, users=st.integers(1, 60), skew=st.sampled_from([0.0, 0.7, 3.0]), share=st.floats(0, 1))
def test_rows_equal_their_twin(seed: int, users: int, skew: float, share: float) -> None:
    length, weight = max(1, round(users * share)), by_rank(users, skew)
    indptr, user = draw_rows(seed, np.full(5, length), weight)
    keep, alias = alias_of(weight)
    assert indptr.tolist() == [length * row for row in range(6)]
    for row in range(5):
        expected = row_twin(Stream(int(stream_seed(seed, 0)), row), length, weight, keep, alias)
        assert user[indptr[row] : indptr[row + 1]].tolist() == expected


@settings(max_examples=20)
@given(seed=seeds, count=st.sampled_from([0, 1, 2, 101]), sigma=st.sampled_from([0.0, 0.5, 1.0]))
def test_scores_equal_their_twin(seed: int, count: int, sigma: float) -> None:
    user, factor = np.arange(BLOCK + count, dtype=np.int32) % 3, np.array([0.25, 1.0, 3.0])
    score = lognormal_scores(seed, user, sigma, factor)
    numbers = stream_seed(seed, 1)
    first, last = score_twin(Stream(int(numbers), 0), 200, sigma), score_twin(Stream(int(numbers), 1), count, sigma)
    assert score.dtype == np.float32
    np.testing.assert_allclose(score[:200], np.array(first) * factor[user[:200]], rtol=1e-6)
    np.testing.assert_allclose(score[BLOCK:], np.array(last) * factor[user[BLOCK:]], rtol=1e-6)


@settings(max_examples=60)
@given(seed=seeds, users=st.sampled_from([1, 2, 200, 256, 257, 70_000, 20_000_000]), count=st.integers(0, 300))
def test_sort_users_sorts(seed: int, users: int, count: int) -> None:
    row = np.random.default_rng(seed).integers(0, users, count).astype(np.int32)
    expected = np.sort(row)
    sort_users(row, np.empty(count, np.int32), users)
    assert np.array_equal(row, expected)


@settings(max_examples=60)
@given(seed=seeds, users=st.integers(1, 400), sigma=st.sampled_from([0.0, 1.0, 4.0]))
def test_an_alias_table_gives_each_user_its_share(seed: int, users: int, sigma: float) -> None:
    weight = np.random.default_rng(seed).lognormal(sigma=sigma, size=users)
    keep, alias = alias_of(weight)
    share = (keep + np.bincount(alias, 1.0 - keep, users)) / users
    np.testing.assert_allclose(share, weight / weight.sum(), atol=1e-6 / users, rtol=1e-5)


def test_users_are_drawn_as_numpy_draws_without_repeats() -> None:
    """How often each user is in a row of 8 of 40, against NumPy's choice: chi-square of 40 differences."""
    weight, rows = by_rank(40, 0.7), 20_000
    share = weight / weight.sum()
    rng = np.random.default_rng(1)
    expected = np.bincount(
        np.concatenate([rng.choice(40, 8, replace=False, p=share) for _ in range(rows)]), minlength=40
    )
    drawn = np.bincount(draw_rows(1, np.full(rows, 8), weight)[1], minlength=40)
    rate = (drawn + expected) / (2 * rows)
    square = ((drawn - expected) ** 2 / (2 * rows * rate * (1 - rate))).sum()
    assert square < 40 + 5 * math.sqrt(80)


def test_scores_are_lognormal() -> None:
    logs = np.log(lognormal_scores(2, np.zeros(400_000, np.int32), 0.7).astype(np.float64)) / 0.7
    assert abs(logs.mean()) < 0.01 and abs(logs.std() - 1) < 0.01
    assert abs((logs > 1.6449).mean() - 0.05) < 0.002 and abs((logs < -2.3263).mean() - 0.01) < 0.001


@settings(max_examples=60)
@given(seed=seeds, count=st.integers(1, 60), levels=st.sampled_from([1, 2, 5, 1000]), share=st.floats(0.01, 1))
def test_the_best_are_kept(seed: int, count: int, levels: int, share: float) -> None:
    scores = np.random.default_rng(seed).integers(1, levels + 1, count).astype(np.float32)
    row, wanted = np.arange(count, dtype=np.int32) * 3, max(1, round(share * count))
    out, out_score = np.empty(wanted, np.int32), np.empty(wanted, np.float32)
    keep_best(row, scores, out, out_score)
    best = np.sort(np.lexsort((row, -scores))[:wanted])
    assert np.array_equal(out, row[best]) and np.array_equal(out_score, scores[best])


def test_lists_hold_the_best_half_of_twice_as_many() -> None:
    """A list of all users has scores of no cut; with half as many the lower half is gone."""
    whole = SkewedLists(items=40, users=60, candidates=60).make(2)
    half = SkewedLists(items=40, users=60, candidates=30).make(2)
    assert np.array_equal(np.sort(whole.score.reshape(40, 60))[:, 30:], np.sort(half.score.reshape(40, 30)))


def test_scores_of_a_list_fall_with_attraction_item_and_topic() -> None:
    """The logarithm of a score is a sum of the user's, the item's, 1 for the topic of 1 pair in 50, and N(0, 0.6)."""
    logs = np.log(SkewedLists(items=1000, users=400, candidates=400).make(4).score.reshape(1000, 400).astype(float))
    rest = logs - logs.mean(0) - logs.mean(1)[:, None] + logs.mean()
    assert abs(rest.var() - (0.6**2 + 0.02 * 0.98)) < 0.01
    assert abs(logs.mean(1).std() - 0.5) < 0.05


@even
def test_rows_are_full_and_users_distinct(name: str) -> None:
    problem = made(name, 3)
    assert (np.diff(problem.indptr) == 40).all()
    assert all((np.diff(problem.user[a : a + 40]) > 0).all() for a in problem.indptr[:-1])


@family
def test_the_seed_alone_decides(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = made(name, 5), made(name, 6)
    monkeypatch.setattr(instance_rows, "TASKS", 1)
    again = made(name, 5)
    for field in ("indptr", "user", "score", "demand", "capacity"):
        assert getattr(first, field).tobytes() == getattr(again, field).tobytes()
    assert not np.array_equal(first.user, other.user) and not np.array_equal(first.score, other.score)


def test_lists_longer_than_the_users_hold_all_users() -> None:
    problem: Any = Skewed(items=3, users=10, candidates=20, demand=2, capacity=1).make()
    assert problem.user.tolist() == list(range(10)) * 3


def test_levels_are_as_frequent_as_asked() -> None:
    score = to_levels(lognormal_scores(1, np.zeros(200_000, np.int32)), np.arange(1, 11) / 2, np.array(RATING_SHARES))
    levels, counts = np.unique(score, return_counts=True)
    assert levels.tolist() == [half / 2 for half in range(1, 11)]
    np.testing.assert_allclose(counts / score.size, RATING_SHARES, atol=1e-4)
    assert np.unique(made("ties", 1).score).size == 3


def test_hubs_are_in_nearly_every_list() -> None:
    problem = HubUsers(items=2_000, users=5_000, candidates=100, hubs=5).make(1)
    lists = np.bincount(problem.user, minlength=5_000) / 2_000
    assert (lists[:5] > 0.9).all() and (lists[5:] < 0.1).all()
    assert problem.score[problem.user < 5].mean() > 2 * problem.score[problem.user >= 5].mean()


def test_the_giant_row_holds_all_users() -> None:
    problem = made("giant row", 1)
    lengths = np.diff(problem.indptr)
    assert lengths[30] == 300 and (np.delete(lengths, 30) == 40).all()
    assert problem.demand[30] == 150 and (np.delete(problem.demand, 30) == 9).all()


@pytest.mark.parametrize("seed", range(4))
def test_sorting_loses_a_tenth_on_ratings(seed: int) -> None:
    """And the scarce side is the users': the items want more places than there are."""
    problem = Ratings(items=1_000, users=8_000, ratings=216_000).make(seed)
    assert problem.demand.sum() > problem.capacity.sum()
    optimum = solve(problem, "min-cost-flow").value
    assert solve(problem, "greedy").value < 0.9 * optimum
    assert solve(problem, "auction", gap=1e-3).gap <= 1e-3
