"""Explanations agree with the allocation, at an optimum the prices separate, and the sentences say what holds."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.allocation import Allocation
from dualrec.solvers.errors import ProblemError
from dualrec.solvers.explain import ItemExplanation, UserExplanation, edge_prices, explain_item, explain_user
from dualrec.solvers.instances import SCORE_KINDS
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)
Limited = Callable[..., Problem]


def chosen_pairs(answer: Allocation) -> set[tuple[int, int]]:
    return set(
        zip(answer.problem.item_of(answer.chosen).tolist(), answer.problem.user[answer.chosen].tolist(), strict=True)
    )


@settings(max_examples=60, deadline=None)
@given(seed=seeds, kind=kinds, solver=st.sampled_from(["min-cost-flow", "greedy"]))
def test_explanations_agree_with_the_allocation(limited_problem: Limited, seed: int, kind: str, solver: str) -> None:
    problem = limited_problem(seed, kind)
    answer = solve(problem, solver)
    told = [explain_item(answer, i) for i in range(problem.items)]
    assert {(i, u) for i, it in enumerate(told) for u in it.users.id.tolist()} == chosen_pairs(answer)
    for i, it in enumerate(told):
        assert it.users.id.size + it.next_users.id.size == problem.indptr[i + 1] - problem.indptr[i]
        assert sum(vars(it.unmatched).values()) == it.next_users.id.size
        assert (it.users.net == it.users.score - it.users.price).all()
        assert (np.diff(it.next_users.net) <= 0).all()
        assert (it.missed_by is None) == (it.next_users.id.size == 0)
    heard = [explain_user(answer, u) for u in range(problem.users)]
    assert {(i, u) for u, it in enumerate(heard) for i in it.items.id.tolist()} == chosen_pairs(answer)
    for u, one in enumerate(heard):
        assert one.items.id.size + one.next_items.id.size == (problem.user == u).sum()
        assert sum(vars(one.unmatched).values()) == one.next_items.id.size


@settings(max_examples=60, deadline=None)
@given(seed=seeds, kind=st.sampled_from(["spread", "levels", "equal"]))
def test_at_an_optimum_the_next_in_line_is_not_better(limited_problem: Limited, seed: int, kind: str) -> None:
    """Complementary slackness: a full item's users are those of the highest nets, others' nets are at most 0."""
    problem = limited_problem(seed, kind, floors=False)
    answer = solve(problem, "min-cost-flow")
    for i in range(problem.items):
        it = explain_item(answer, i)
        if it.next_users.id.size and problem.demand[i]:
            assert it.next_users.net[0] <= answer.lowest_net[i] + 1e-6
            assert it.next_place <= max(0.0, answer.lowest_net[i]) + 1e-6
        assert (it.users.net >= -1e-6).all()


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_one_more_place_is_worth_what_the_estimate_says_at_most(limited_problem: Limited, seed: int) -> None:
    """The bound at the same prices grows by exactly `next_place`, so the optimum cannot grow by more."""
    problem = limited_problem(seed, floors=False, creators=0)
    answer = solve(problem, "min-cost-flow")
    item = seed % problem.items
    it = explain_item(answer, item)
    wider = problem.demand.copy()
    wider[item] += 1
    more = Problem.from_csr(problem.indptr, problem.user, problem.score, wider, problem.capacity)
    gain = solve(more, "min-cost-flow").value - answer.value
    assert -1e-6 <= gain <= it.next_place + 1e-6


def crowded() -> Allocation:
    """Item a wants 6 of 8 users; each of the others stays away for another reason, and one pair is excluded."""
    scores = {
        ("a", "free"): 5.0,
        ("a", "worthless"): 0.0,
        ("a", "closed"): 5.0,
        ("a", "dear"): 1.0,
        ("a", "capped"): 1.0,
        ("a", "tied"): 4.0,
        ("a", "blocked"): 9.0,
        ("b", "capped"): 6.0,
        ("b", "dear"): 7.0,
        ("c", "tied"): 4.0,
    }
    item, user = zip(*scores, strict=True)
    capacity = {name: {"closed": 0, "capped": 5}.get(name, 1) for name in user}
    problem = Problem.from_edges(
        item,
        user,
        list(scores.values()),
        {"a": 6, "b": 2, "c": 1},
        capacity,
        creator={"a": "ann", "b": "ann"},
        creator_cap=1,
        exclude=(["a"], ["blocked"]),
        floor={"a": 3},
    )
    free, capped, dear, tied = (edge_of(problem, *pair) for pair in (("a", "free"), *list(scores)[7:]))
    prices = np.zeros(problem.users)
    prices[problem.user[[dear, tied]]] = 3.0, 4.0
    answer = solve(problem, "greedy")
    chosen = np.sort(np.array([free, capped, dear, tied]))
    return Allocation(problem, chosen, prices, "greedy", answer.status, answer.bound, 0.0, group_prices=np.array([0.5]))


def edge_of(problem: Problem, item: str, user: str) -> int:
    pairs = [
        (problem.item_name(int(problem.item_of(np.array([e]))[0])), problem.user_name(int(problem.user[e])))
        for e in range(problem.edges)
    ]
    return pairs.index((item, user))


def test_each_reason_is_counted() -> None:
    it = crowded().explain(item="a")
    assert isinstance(it, ItemExplanation)
    expected = {"worthless": 1, "closed": 1, "capped": 1, "too_dear": 1, "other_taken": 1, "item_full": 0, "free": 0}
    assert vars(it.unmatched) == expected
    assert (it.creator, it.demand, it.floor, it.excluded, it.next_place) == ("ann", 6, 3, 1, 0.0)
    assert it.missed_by == 0.0


def test_an_item_in_sentences() -> None:
    lines = str(crowded().explain(item="a")).split("\n")
    assert lines[0] == "Item 'a' wants 6 users and has 1, out of 6 candidates."
    assert lines[1] == "1 other candidate was excluded."
    assert lines[2] == "Its users: 'free' (score 5, price 0, left 5)."
    assert lines[3] == "Its floor of 3 users is missed by 2."
    assert lines[4] == "Next in line was user 'closed', score 5 at a price of 0: the prices did not keep it away."
    assert lines[5] == (
        "It has too few users: of its other 5 candidates, 1 has a score of 0, 1 takes no items, 1 has as many items of "
        "creator 'ann' as the limit allows, 1 is full at a price above the score and 1 is full with other items as good."
    )
    assert len(lines) == 6


def test_a_user_in_sentences() -> None:
    answer = crowded()
    it = answer.explain(user="dear")
    assert isinstance(it, UserExplanation)
    assert (it.capacity, it.price, it.items.id.tolist(), it.next_items.id.tolist()) == (1, 3.0, ["b"], ["a"])
    assert it.missed_by == 2.0
    assert str(it).split("\n") == [
        "User 'dear' takes up to 1 item and has 1; 2 items had this user as a candidate.",
        "One more place with this user would be worth about 3, the user's price.",
        "Its items: 'b' (score 7, price 3, left 4).",
        "Next in line was item 'a', score 1 at a price of 3: it missed by 2.",
        "Of the items that did not get this user, 1 has a score below the user's price.",
    ]


def test_a_full_item_in_sentences() -> None:
    problem = Problem.from_edges([1] * 8, range(8), np.arange(8.0, 0, -1), demand=7, capacity=1)
    assert str(solve(problem, "min-cost-flow").explain(item=1)).split("\n") == [
        "Item 1 wants 7 users and has 7, out of 8 candidates.",
        "Its users: 0 (score 8, price 0, left 8), 1 (score 7, price 0, left 7), 2 (score 6, price 0, left 6), "
        "3 (score 5, price 0, left 5), 4 (score 4, price 0, left 4) and 2 more.",
        "Next in line was user 7, score 1 at a price of 0: it missed by 1.",
        "One more place would be worth about 1, as the prices estimate it.",
    ]


def test_users_that_only_the_floor_holds() -> None:
    problem = Problem.from_edges(["a", "b", "b"], ["u", "u", "v"], [5.0, 1.0, 0.5], 1, 1, floor={"b": 1})
    prices = np.zeros(2)
    prices[1] = 4.5
    answer = solve(problem, "min-cost-flow")
    held = Allocation(problem, answer.chosen, prices, "test", answer.status, answer.bound, 0.0)
    assert "1 of them has a score below its price: there for the floor of 1 user." in str(held.explain(item="b"))
    assert "for the floor" not in str(held.explain(item="a"))


def test_nobody_to_explain() -> None:
    problem = Problem.from_edges([1], [2], [1.0], item_ids=[1, 3], user_ids=[2, 4], demand=1)
    answer = solve(problem, "greedy")
    assert "there is no other candidate" in str(answer.explain(item=3))
    assert "User 4 takes up to 10 items and has 0; 0 items had" in str(answer.explain(user=4))


def test_prices_of_edges_hold_those_of_the_limits() -> None:
    answer = crowded()
    edges = np.array([edge_of(answer.problem, *pair) for pair in (("b", "capped"), ("b", "dear"), ("a", "free"))])
    assert edge_prices(answer, edges).tolist() == [0.5, 3.0, 0.0]
    assert answer.group_load.tolist() == [1]


def test_questions_that_have_no_answer() -> None:
    answer = crowded()
    with pytest.raises(ProblemError, match="item 'z' is not in the problem, expected one of its 3 items"):
        answer.explain(item="z")
    with pytest.raises(ProblemError, match="user ids are integers but the problem's are strings"):
        answer.explain(user=1)
    with pytest.raises(ProblemError, match="expected one of them"):
        answer.explain()
    with pytest.raises(ProblemError, match="expected one of them"):
        answer.explain(item="a", user="free")
