"""The online rule: against first come, against naive formulas, its promises on awkward problems, what it is worth."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.errors import ProblemError
from dualrec.solvers.first_come import FirstCome
from dualrec.solvers.online import OnlineRule
from dualrec.solvers.online_prices import BidCurves, UserPrices, bid_curves, curves_of
from dualrec.solvers.online_refresh import refreshed
from dualrec.solvers.place_values import bid_at
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve
from dualrec.solvers.uneven_instances import SkewedLists

KINDS = ("greedy", "prices", "curves")


@pytest.fixture(scope="session")
def plain(random_problems: ModuleType) -> Callable[[int], Problem]:
    """A random problem of a seed, without floors and creators."""

    def of_seed(seed: int) -> Problem:
        shape = replace(random_problems.random_shape(seed, 20, 14), floors="none", creators=0)
        problem: Problem = random_problems.make(shape)[1]
        return problem

    return of_seed


def rule_of(kind: str, problem: Problem, seed: int = 0) -> OnlineRule:
    rng = np.random.default_rng(seed)
    if kind == "greedy":
        return OnlineRule(problem.capacity)
    if kind == "prices":
        return OnlineRule(problem.capacity, UserPrices(rng.exponential(0.5, problem.users)), items=7)
    return OnlineRule(problem.capacity, bid_curves(solve(problem, gap=0.01)))


def shares(problem: Problem) -> np.ndarray:
    return np.arange(problem.items) / max(problem.items, 1)


@pytest.mark.parametrize("seed", range(40))
def test_without_prices_it_is_first_come(plain: Callable[[int], Problem], seed: int) -> None:
    problem = plain(seed)
    chosen = OnlineRule(problem.capacity).run(problem, shares(problem))
    assert chosen.tolist() == solve(problem, FirstCome()).chosen.tolist()


@pytest.mark.parametrize("seed", range(20))
def test_with_activity_and_a_threshold_it_is_the_papers_store(plain: Callable[[int], Problem], seed: int) -> None:
    problem = plain(seed)
    activity = np.random.default_rng(seed).uniform(0.01, 1, problem.users).round(2)
    rule = OnlineRule(problem.capacity, activity=activity, threshold=0.4)
    expected = solve(problem, FirstCome(threshold=0.4, activity=activity)).chosen
    assert rule.run(problem, shares(problem)).tolist() == expected.tolist()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from(KINDS))
def test_a_day_keeps_every_limit_and_leaves_the_right_places(
    plain: Callable[[int], Problem], seed: int, kind: str
) -> None:
    problem = plain(seed)
    rule = rule_of(kind, problem, seed)
    chosen = rule.run(problem, shares(problem))
    assert (np.diff(chosen) > 0).all()
    load = np.bincount(problem.user[chosen], minlength=problem.users)
    assert (load <= problem.capacity).all() and (rule.left == problem.capacity - load).all()
    assert (problem.item_load(chosen) <= problem.demand).all()
    assert (problem.score[chosen] > 0).all()
    assert rule.answered == problem.items


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from(KINDS))
def test_a_day_is_offers_and_takes_one_after_the_other(plain: Callable[[int], Problem], seed: int, kind: str) -> None:
    problem = plain(seed)
    day, one = rule_of(kind, problem, seed), rule_of(kind, problem, seed)
    chosen, gone = [], shares(problem)
    for i in range(problem.items):
        first, last = problem.indptr[i], problem.indptr[i + 1]
        user, score = problem.user[first:last], problem.score32()[first:last]
        offered = one.offer_one(user, score, problem.demand[i], gone[i])
        before = one.left.copy()
        assert one.offer_one(user, score, problem.demand[i], gone[i]).tolist() == offered.tolist()
        assert (one.left == before).all() and one.answered == i
        one.take(user[offered])
        chosen += (first + offered).tolist()
    assert day.run(problem, gone).tolist() == chosen
    assert (day.left == one.left).all()


@pytest.mark.parametrize("kind", KINDS)
def test_many_offers_are_each_the_one_offer(plain: Callable[[int], Problem], kind: str) -> None:
    problem = plain(3)
    rule = rule_of(kind, problem)
    rule.run(problem, shares(problem))
    rule.give_back(problem.user[:0])
    many = rule.offer_many(problem, 0.5)
    for i, offered in enumerate(many):
        row = slice(problem.indptr[i], problem.indptr[i + 1])
        one = rule.offer_one(problem.user[row], problem.score32()[row], problem.demand[i], 0.5)
        assert one.tolist() == offered.tolist()


def naive_bids(problem: Problem, price: np.ndarray, user: int) -> list[float]:
    """Score less the net score of the item's last place, of each item that has the user as a candidate."""
    found = []
    for i in range(problem.items):
        row = slice(problem.indptr[i], problem.indptr[i + 1])
        who, score, wanted = problem.user[row], problem.score32()[row].astype(float), int(problem.demand[i])
        net = np.sort(score - price[who])[::-1]
        margin = max(net[wanted - 1], 0.0) if 0 < wanted < len(who) else 0.0
        if wanted:
            found += (score[who == user] - margin).tolist()
    return sorted((bid for bid in found if bid > 0), reverse=True)


@pytest.mark.parametrize("seed", range(12))
def test_bid_curves_are_the_largest_bids(plain: Callable[[int], Problem], seed: int) -> None:
    problem = plain(seed)
    price = np.random.default_rng(seed).exponential(0.5, problem.users)
    curves = curves_of(problem, price, 2)
    assert curves.bids.shape == (problem.users, 8) and curves.items == problem.items
    for user in range(problem.users):
        bids = naive_bids(problem, price, user)[:8]
        np.testing.assert_allclose(curves.bids[user], bids + [0] * (8 - len(bids)), rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=9), st.floats(0.01, 50), st.floats(0.01, 50))
def test_a_price_never_rises_with_the_rank(bids: list[float], one: float, other: float) -> None:
    falling = np.sort(np.array(bids, np.float32))[::-1].copy()
    low, high = sorted((one, other))
    assert bid_at(falling, low) >= bid_at(falling, high) * (1 - 1e-6) >= 0
    assert bid_at(falling, float(len(bids))) == falling[-1]
    assert bid_at(falling, 1.0) == falling[0]


def two_days(seed: int = 3) -> tuple[Problem, Problem]:
    """Two days of 500 items for the same 4,000 users."""
    both = SkewedLists(items=1_000, users=4_000, candidates=250, demand=40, capacity=8).make(seed)
    return day_of(both, 0, 500), day_of(both, 500, 1_000)


def day_of(problem: Problem, first: int, last: int) -> Problem:
    edges = slice(problem.indptr[first], problem.indptr[last])
    indptr = problem.indptr[first : last + 1] - problem.indptr[first]
    return Problem.from_csr(indptr, problem.user[edges], problem.score[edges], 40, problem.capacity)


def share_of_optimum(rule: OnlineRule, today: Problem, bound: float) -> float:
    return float(today.score[rule.run(today, shares(today))].sum(dtype=float)) / bound


def test_yesterdays_bids_are_worth_more_than_its_prices_and_both_more_than_first_come() -> None:
    yesterday, today = two_days()
    solved, bound = solve(yesterday), solve(today).bound
    greedy = share_of_optimum(OnlineRule(today.capacity), today, bound)
    prices = share_of_optimum(OnlineRule(today.capacity, UserPrices(solved.user_prices, 0.0)), today, bound)
    corrected = share_of_optimum(OnlineRule(today.capacity, UserPrices(solved.user_prices)), today, bound)
    curves = share_of_optimum(OnlineRule(today.capacity, bid_curves(solved)), today, bound)
    assert greedy < 0.75 < prices < corrected < curves < 1
    assert curves > 0.94


@pytest.mark.parametrize("uploads", [0.5, 2.0])
def test_a_day_of_other_size_is_known_by_its_pace(uploads: float) -> None:
    yesterday, today = two_days()
    curves = bid_curves(solve(yesterday))
    if uploads < 1:
        other = day_of(today, 0, 250)
    else:
        other = Problem.from_csr(
            np.concatenate([today.indptr, yesterday.indptr[1:] + today.edges]),
            np.concatenate([today.user, yesterday.user]),
            np.concatenate([today.score, yesterday.score]),
            40,
            today.capacity,
        )
    bound = solve(other).bound
    ours = share_of_optimum(OnlineRule(today.capacity, curves), other, bound)
    assert ours > share_of_optimum(OnlineRule(today.capacity), other, bound) + 0.02
    rule = OnlineRule(today.capacity, curves)
    assert rule.to_come(0.0) == 500
    rule.run(day_of(other, 0, other.items // 2), shares(other)[: other.items // 2])
    assert rule.to_come(0.5) == pytest.approx(250 * uploads, rel=0.05)


def test_a_refresh_finds_a_catalogue_that_has_changed() -> None:
    yesterday, today = two_days()
    # Other users are wanted today: every user row is another one's.
    moved = np.random.default_rng(0).permutation(today.users)
    order = np.lexsort((moved[today.user], today.item_of(np.arange(today.edges))))
    other = Problem.from_csr(today.indptr, moved[today.user][order], today.score[order], 40, today.capacity)
    bound, curves = solve(other).bound, bid_curves(solve(yesterday))
    stale = share_of_optimum(OnlineRule(today.capacity, curves), other, bound)
    rule, value = OnlineRule(today.capacity, curves), 0.0
    for quarter in range(4):
        first, last = 125 * quarter, 125 * (quarter + 1)
        if quarter:
            rule.reprice(refreshed(rule, yesterday, day_of(other, 0, first), first / 500))
        part = day_of(other, first, last)
        value += float(part.score[rule.run(part, shares(other)[first:last])].sum(dtype=float))
    assert value / bound > stale + 0.02


def test_places_given_back_are_offered_again() -> None:
    rule = OnlineRule(np.array([1, 1, 0]))
    user, score = np.array([2, 1, 0]), np.array([9.0, 3.0, 2.0])
    assert rule.offer_one(user, score, 1).tolist() == [1]
    rule.take(np.array([1]))
    assert rule.offer_one(user, score, 1).tolist() == [2]
    rule.give_back(np.array([1]))
    assert rule.offer_one(user, score, 1).tolist() == [1]
    assert rule.offer_one(user, score, 0).tolist() == []
    assert rule.offer_one(user[:0], score[:0], 5).tolist() == []


@pytest.mark.parametrize(
    ("user", "score", "message"),
    [
        ([0, 5], [1.0, 1.0], "candidate 1 is user row 5"),
        ([0, -1], [1.0, 1.0], "user row -1"),
        ([0, 1, 0], [1.0, 1.0, 1.0], "user row 0 again"),
        ([0, 1], [1.0, np.nan], "score nan"),
        ([0, 1], [1.0, -1.0], "score -1.0"),
        ([0, 1], [np.inf, 1.0], "score inf"),
        ([0, 1], [1.0], "expected int"),
        ([0.5, 1], [1.0, 1.0], "expected int"),
    ],
)
@pytest.mark.parametrize("kind", ["greedy", "prices"])
def test_bad_candidates_are_named(kind: str, user: list, score: list, message: str) -> None:
    prices = None if kind == "greedy" else UserPrices(np.zeros(3))
    rule = OnlineRule(np.array([1, 1, 1]), prices)
    with pytest.raises(ProblemError, match=message):
        rule.offer_one(np.array(user), np.array(score), 2)
    assert rule.offer_one(np.array([0, 1]), np.array([1.0, 2.0]), 1).tolist() == [1], "the rule goes on"


@pytest.mark.parametrize("bids", [[1.0, 2.0], [1.0, -1.0], [np.nan, 0.0], [1.0, np.nan], [np.inf, 1.0]])
def test_bids_that_are_none_are_refused(bids: list[float]) -> None:
    with pytest.raises(ProblemError, match="expected finite bids >= 0 that fall along each row"):
        BidCurves(np.array([[2.0, 1.0], bids], np.float32), 5)


@pytest.mark.parametrize("users", [[5], [-1], [0, 0]])
def test_users_that_cannot_be_taken_are_refused(users: list[int]) -> None:
    with pytest.raises(ProblemError, match="take: expected users given once and with places left"):
        OnlineRule(np.array([1, 1])).take(np.array(users))


def test_what_does_not_fit_is_refused() -> None:
    capacity = np.array([1, 1])
    with pytest.raises(ProblemError, match="not negative"):
        OnlineRule(np.array([1, -1]))
    with pytest.raises(ProblemError, match="prices of 3 users"):
        OnlineRule(capacity, UserPrices(np.zeros(3)))
    with pytest.raises(ProblemError, match="finite"):
        UserPrices(np.array([np.nan]))
    with pytest.raises(ProblemError, match="correction"):
        UserPrices(np.zeros(1), -1.0)
    with pytest.raises(ProblemError, match="one of them"):
        OnlineRule(capacity, UserPrices(np.zeros(2)), activity=np.ones(2))
    with pytest.raises(ProblemError, match="from 0 to 1"):
        OnlineRule(capacity, activity=np.array([0.5, 1.5]))
    rule = OnlineRule(capacity, BidCurves(np.ones((2, 4), np.float32), 5))
    with pytest.raises(ProblemError, match="share of the day"):
        rule.offer_one(np.array([0]), np.array([1.0]), 1, 1.5)
    with pytest.raises(ProblemError, match="one share an item"):
        rule.run(Problem.from_csr([0, 1], [0], [1.0], 1, capacity), np.zeros(2))
    with pytest.raises(ProblemError, match="3 users"):
        rule.run(Problem.from_csr([0, 1], [0], [1.0], 1, np.ones(3, int)), np.zeros(1))
    with pytest.raises(ProblemError, match="offer anew"):
        rule.take(np.array([0, 0]))
    with pytest.raises(ProblemError, match="more places"):
        rule.give_back(np.array([0]))
    with pytest.raises(ProblemError, match="reprice"):
        rule.reprice(BidCurves(np.ones((3, 4), np.float32), 5))
