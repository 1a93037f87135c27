"""Floors, caps per (user, creator) and exclusions at the door: what is kept, what is dropped, what is refused."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.errors import ProblemError
from dualrec.solvers.problem import Problem

seeds = st.integers(0, 2**32 - 1)
GOOD: dict[str, Any] = {
    "item": ["a", "a", "b", "b", "c"],
    "user": [7, 9, 7, 9, 7],
    "score": [5.0, 4, 3, 2, 1],
    "demand": 2,
    "capacity": 3,
}


def pairs_of(problem: Problem) -> set[tuple[Any, Any, float]]:
    item = problem.item_of(np.arange(problem.edges)).tolist()
    columns = zip(item, problem.user.tolist(), problem.score.tolist(), strict=True)
    return {(problem.item_name(i), problem.user_name(u), s) for i, u, s in columns}


def draw(seed: int, **limits: Any) -> Problem:
    """12 items by 10 users with ids 0, 10, 20, ... and 0 to 9, about half of the pairs."""
    rng = np.random.default_rng(seed)
    item, user = np.nonzero(rng.random((12, 10)) < 0.5)
    score = rng.random(item.size).astype(np.float32)
    ids = {"item_ids": np.arange(12) * 10, "user_ids": range(10)}
    return Problem.from_edges(item * 10, user, score, 2, rng.integers(0, 5, 10), **ids, **limits)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, cap=st.integers(0, 4))
def test_groups_are_the_pairs_whose_limit_could_bind(seed: int, cap: int) -> None:
    rng = np.random.default_rng(seed)
    made_by = {int(item) * 10: f"c{rng.integers(4)}" for item in range(12) if rng.random() < 0.8}
    problem = draw(seed, creator=made_by, creator_cap=cap)
    listed = [(u, made_by.get(i)) for i, u, _ in sorted(pairs_of(problem))]
    count = Counter(listed)
    binding = {pair for pair in listed if pair[1] is not None and count[pair] > cap and problem.capacity[pair[0]] > cap}
    assert problem.groups == len(binding)
    if not binding:
        assert problem.group is None
        return
    assert problem.group is not None
    assert problem.group_limit is not None
    assert (problem.group_limit == cap).all()
    number: dict[tuple, int] = {}
    for pair, group in zip(listed, problem.group.tolist(), strict=True):
        assert number.setdefault(pair, group) == group if pair in binding else group == -1
    assert sorted(number.values()) == list(range(len(binding)))


def test_caps_by_creator_and_their_names() -> None:
    problem = Problem.from_edges(
        **GOOD, creator={"a": "x", "b": "x", "c": None, "z": "y"}, creator_cap={"x": 1, "other": 0}
    )
    assert problem.creator is not None
    assert problem.creator.tolist() == [0, 0, -1]
    assert problem.creator_name(0) == "x"
    assert problem.group_limit is not None
    assert problem.group_limit.tolist() == [1, 1]
    assert {problem.group_name(0), problem.group_name(1)} == {
        "user 7 and creator 'x'",
        "user 9 and creator 'x'",
    }


def test_a_creator_without_a_cap_limits_nothing() -> None:
    for limits in ({"creator": {"a": 1, "b": 1}}, {"creator": {"a": 1, "b": 1}, "creator_cap": {5: 0}}):
        problem = Problem.from_edges(**GOOD, **limits)
        assert problem.creator is not None
        assert problem.group is None
        assert problem.groups == 0


def test_arrays_stand_along_the_items() -> None:
    given_arrays: dict[str, Any] = {
        "item_ids": ["c", "b", "a"],
        "floor": [0, 1, 2],
        "creator": ["x", None, "y"],
        "author": [9, 9, 9],
    }
    problem = Problem.from_edges(**GOOD, **given_arrays)
    assert problem.floor is not None
    assert problem.floor.tolist() == [0, 1, 2]
    assert problem.creator is not None
    assert problem.creator.tolist() == [0, -1, 1]
    assert pairs_of(problem) == {("a", 7, 5.0), ("b", 7, 3.0), ("c", 7, 1.0)}
    assert problem.excluded == 2


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_excluded_pairs_go_and_others_stay(seed: int) -> None:
    plain, rng = draw(seed), np.random.default_rng(seed)
    items, users = rng.integers(0, 15, 30) * 10, rng.integers(0, 12, 30)
    author = {int(item) * 10: int(rng.integers(0, 12)) for item in range(0, 14, 2)}
    problem = draw(seed, exclude=(items, users), author=author)
    dropped = set(zip(items.tolist(), users.tolist(), strict=True)) | set(author.items())
    left = {edge for edge in pairs_of(plain) if edge[:2] not in dropped}
    assert pairs_of(problem) == left
    assert problem.excluded == plain.edges - len(left)
    if problem.excluded:
        assert problem.item_excluded is not None
        assert np.array_equal(problem.item_excluded, np.diff(plain.indptr) - np.diff(problem.indptr))
    for i in range(problem.items):
        assert (np.diff(problem.user[problem.indptr[i] : problem.indptr[i + 1]]) > 0).all()


def test_nothing_excluded_leaves_the_arrays_alone() -> None:
    score = np.ones(2, np.float32)
    problem = Problem.from_csr([0, 2], np.array([0, 1], np.int32), score, 1, [1, 1, 1], exclude=([0, 5], [2, 0]))
    assert np.shares_memory(problem.score, score)
    assert (problem.excluded, problem.item_excluded) == (0, None)


def test_floors_of_zero_are_no_floors() -> None:
    assert Problem.from_edges(**GOOD, floor=0).floor is None
    assert Problem.from_edges(**GOOD, floor={"a": 0}).floor is None
    problem = Problem.from_edges(**GOOD, floor={"b": 2})
    assert problem.floor is not None
    assert problem.floor.tolist() == [0, 2, 0]


def test_every_source_takes_the_limits() -> None:
    limits: dict[str, Any] = {"floor": [0, 1], "creator": [3, 3], "creator_cap": 1, "exclude": ([0], [1])}
    expected = Problem.from_csr([0, 2, 3], [0, 1, 0], [1.0, 2, 3], 2, [2, 2], **limits)
    assert (expected.groups, expected.excluded) == (1, 1)
    import pandas as pd
    import scipy.sparse as sp

    frame = pd.DataFrame({"item": [0, 0, 1], "user": [0, 1, 0], "score": [1.0, 2, 3]})
    for problem in (
        Problem.from_padded([[0, 1], [0, -1]], [[1.0, 2], [3, 0]], 2, [2, 2], **limits),
        Problem.from_sparse(sp.csr_array(np.array([[1.0, 2], [3, 0]])), 2, 2, **limits),
        Problem.from_frame(frame, 2, 2, item_ids=[0, 1], user_ids=[0, 1], **limits),
    ):
        for name in ("indptr", "user", "score", "floor", "creator", "group", "group_limit", "creator_ids"):
            assert np.array_equal(getattr(problem, name), getattr(expected, name)), name


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"floor": 3}, "floor of item 'a' is 3, expected at most its demand of 2"),
        ({"floor": {"b": -1}}, "floor of item 'b' is -1"),
        ({"floor": {"z": 1}}, "floor has an entry for item 'z', which is not in the problem"),
        ({"floor": [1, 1, 1]}, "floor is an array, so item_ids must say which item"),
        ({"floor": 0.5}, "floor is float64, expected whole numbers"),
        ({"creator_cap": 1}, "creator_cap is given without creator"),
        ({"creator": ["x"] * 3}, "creator is an array, so item_ids must say"),
        ({"creator": ["x"], "item_ids": ["a", "b", "c"]}, r"creator has shape \(1,\), expected \(3,\)"),
        ({"creator": {1: "x"}}, "creator's item ids are integers but the problem's are strings"),
        ({"creator": {"a": 1.5}}, "creator ids are float64"),
        ({"creator": {"a": "x"}, "creator_cap": -1}, "creator_cap of creator 'x' is -1"),
        ({"creator": {"a": "x"}, "creator_cap": [1]}, "creator_cap is an array, expected one number or a mapping"),
        ({"creator": {"a": "x"}, "creator_cap": {7: 1}}, "creator_cap names creator 7, expected ids as 'x'"),
        ({"exclude": (["a"], [7, 9])}, "exclude has 1 items and 2 users"),
        ({"exclude": {"a": 7}}, "exclude is dict, expected two columns of ids"),
        ({"exclude": [("a", 7), ("b", 9)]}, "exclude looks like a list of pairs"),
        (
            {"creator": {"a": 1, "b": "x"}},
            "creator id 'x' at position 1 is str, expected integers like the ids before it",
        ),
        ({"exclude": (["a"], ["7"])}, "excluded user ids are strings but the problem's are integers"),
        ({"author": {"a": "7"}}, "author ids are strings but the problem's are integers"),
    ],
)
def test_wrong_limits_are_refused_in_one_line(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message) as caught:
        Problem.from_edges(**GOOD, **limits)
    assert "\n" not in str(caught.value)


def test_an_unknown_limit_is_no_silent_nothing() -> None:
    wrong: Any = {"flor": 1}
    with pytest.raises(TypeError, match="flor"):
        Problem.from_edges(**GOOD, **wrong)
