"""A problem is checked once, when made: every wrong input is one line that names the item, the user and the place."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.errors import ProblemError
from dualrec.solvers.problem import Problem

GOOD: dict[str, Any] = {"item": ["b", "a", "b"], "user": [7, 9, 9], "score": [1.0, 0.5, 0.25]}


def edges_of(problem: Problem) -> set[tuple[Any, Any, float]]:
    item = problem.item_of(np.arange(problem.edges))
    columns = item.tolist(), problem.user.tolist(), problem.score.tolist()
    return {(problem.item_name(i), problem.user_name(u), s) for i, u, s in zip(*columns, strict=True)}


def test_rows_follow_first_appearance() -> None:
    problem = Problem.from_edges(**GOOD, demand={"a": 1, "b": 2}, capacity={7: 3, 9: 4})
    assert problem.item_ids is not None and problem.item_ids.tolist() == ["b", "a"]
    assert problem.user_ids is not None and problem.user_ids.tolist() == [7, 9]
    assert problem.demand.tolist() == [2, 1]
    assert problem.capacity.tolist() == [3, 4]
    assert problem.indptr.tolist() == [0, 2, 3]
    assert edges_of(problem) == {("b", 7, 1.0), ("b", 9, 0.25), ("a", 9, 0.5)}


def test_ids_without_edges_exist() -> None:
    problem = Problem.from_edges(**GOOD, item_ids=["z", "a", "b"], user_ids=[9, 8, 7], demand=[1, 2, 3], capacity=5)
    assert (problem.items, problem.users, problem.edges) == (3, 3, 3)
    assert problem.indptr.tolist() == [0, 0, 1, 3]
    assert edges_of(problem) == {("b", 7, 1.0), ("b", 9, 0.25), ("a", 9, 0.5)}


@pytest.mark.parametrize("make", [list, np.array, pd.Series, pa.array, lambda x: pa.chunked_array([x])])
def test_columns_of_any_kind(make: Any) -> None:
    problem = Problem.from_edges(make(GOOD["item"]), make(GOOD["user"]), make(GOOD["score"]))
    assert edges_of(problem) == {("b", 7, 1.0), ("b", 9, 0.25), ("a", 9, 0.5)}


@settings(deadline=None)
@given(
    edges=st.dictionaries(st.tuples(st.integers(-9, 9), st.integers(0, 9)), st.floats(0, 100, width=32), max_size=40),
    order=st.randoms(use_true_random=False),
)
def test_edge_order_changes_nothing_but_the_rows(edges: dict[tuple[int, int], float], order: Any) -> None:
    listed = [(i, u, s) for (i, u), s in edges.items()]
    shuffled = order.sample(listed, len(listed))
    columns = [list(column) for column in zip(*shuffled, strict=True)] or [[], [], []]
    problem = Problem.from_edges(*columns)
    assert edges_of(problem) == set(listed)
    for i in range(problem.items):
        assert (np.diff(problem.user[problem.indptr[i] : problem.indptr[i + 1]]) > 0).all()


def test_dtypes_and_read_only() -> None:
    problem = Problem.from_edges(**GOOD)
    dtypes = {"indptr": "int64", "user": "int32", "score": "float32", "demand": "int32", "capacity": "int32"}
    for name, dtype in dtypes.items():
        array = getattr(problem, name)
        assert array.dtype == dtype
        with pytest.raises(ValueError, match="read-only"):
            array[:1] = 0


def test_csr_arrays_are_not_copied_and_stay_writable() -> None:
    score = np.ones(2, np.float32)
    problem = Problem.from_csr(np.array([0, 2]), np.array([0, 1], np.int32), score, 1, np.array([1, 1]))
    assert np.shares_memory(problem.score, score)
    score[0] = 2.0


def test_empty_problem() -> None:
    problem = Problem.from_edges([], [], [])
    assert (problem.items, problem.users, problem.edges) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": [1.0, np.nan, 2]}, r"score of item 'a', user 9 \(edge 1\) is nan"),
        ({"score": [1.0, 1, np.inf]}, r"item 'b', user 9 \(edge 2\) is inf"),
        ({"score": [-1.0, 1, 1]}, r"item 'b', user 7 \(edge 0\) is -1.0"),
        ({"score": [1.0, 1, 1e39]}, "expected a finite number"),
        ({"score": ["1", "2", "3"]}, "expected numbers"),
        ({"score": [1.0, 1]}, "have 3, 3 and 2 entries"),
        ({"item": ["b", "b", "b"]}, "item 'b' and user 9 are paired twice, at edges 1 and 2"),
        ({"item": [1.0, 2.0, 3.0]}, "item ids are float64"),
        ({"item": ["a", None, "b"]}, "item id None at position 1"),
        ({"user": [True, False, True]}, "user ids are bool"),
        ({"user": [[7], [9], [9]]}, "2 dimensions"),
        ({"user": np.array([2**63, 1, 2], np.uint64)}, "64 signed bits"),
        ({"user_ids": [7]}, "edge 1 names user 9, which is not among the 1 user_ids"),
        ({"user_ids": [7, 9, 7]}, "user_ids names 7 twice, at positions 0 and 2"),
        ({"user_ids": ["7", "9"]}, "expected both of the same type"),
        ({"demand": -1}, "demand of item 'b' is -1"),
        ({"demand": 2**31}, "demand of item 'b' is 2147483648"),
        ({"demand": 1.5}, "demand is float64, expected whole numbers"),
        ({"demand": [1, 2]}, "item_ids must say which item"),
        ({"demand": [1], "item_ids": ["a", "b"]}, "one entry for each of the 2 items"),
        ({"capacity": {7: 1}}, "capacity has no entry for user 9"),
        ({"capacity": {7: 1, 9: 1, 8: 1}}, "capacity has an entry for user 8"),
        ({"capacity": {7: -2, 9: 1}}, "capacity of user 7 is -2"),
    ],
)
def test_wrong_edges_are_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message) as caught:
        Problem.from_edges(**{**GOOD, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indptr": [0, 3]}, "end at the number of edges"),
        ({"indptr": [0, 2, 1, 2]}, "never fall"),
        ({"user": [0, 2]}, r"item 0, user 2 \(edge 1\): there is no such user"),
        ({"user": [1, 0]}, "expected rising rows"),
        ({"user": [1, 1]}, "item 0, user 1 are paired twice, at edges 0 and 1, expected once"),
        ({"user": [0.0, 1.0]}, "expected integers"),
        ({"score": [1.0]}, "score has 1 entries, expected 2"),
        ({"score": [1.0, np.nan]}, "item 0, user 1"),
        ({"capacity": 3}, "one entry for each user"),
        ({"item_ids": ["a", "b"]}, "item_ids has 2 entries, expected 1"),
    ],
)
def test_wrong_rows_are_refused(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"indptr": [0, 2], "user": [0, 1], "score": [1.0, 2.0], "demand": 1, "capacity": [1, 1]}
    with pytest.raises(ProblemError, match=message):
        Problem.from_csr(**{**good, **change})
