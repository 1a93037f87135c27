"""Every source gives the same problem as columns of edges do, and every wrong source is refused in one line."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.errors import ProblemError
from dualrec.solvers.problem import Problem
from dualrec.solvers.problem_kernels import first_wrong_item, place_rows, sort_rows

seeds = st.integers(0, 2**32 - 1)
ITEMS, USERS = 7, 9


def draw_edges(seed: int, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct (item, user) pairs in random order, with scores, some of them 0."""
    rng = np.random.default_rng(seed)
    key = rng.permutation(np.flatnonzero(rng.random(ITEMS * USERS) < rng.random()))
    return key // USERS, key % USERS, (rng.random(key.size) * (rng.random(key.size) < 0.8)).astype(dtype)


def by_columns(seed: int, dtype: Any = np.float32) -> Problem:
    item, user, score = draw_edges(seed, dtype)
    return Problem.from_edges(
        item, user, score, np.arange(ITEMS), np.arange(USERS), item_ids=range(ITEMS), user_ids=range(USERS)
    )


def assert_same(problem: Problem, expected: Problem) -> None:
    for name in ("indptr", "user", "score", "demand", "capacity"):
        found, wanted = getattr(problem, name), getattr(expected, name)
        assert np.array_equal(found, wanted), name
        assert found.dtype == wanted.dtype, name


def padded(item: np.ndarray, user: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lists of users in the given order, each edge in a place of its own, -1 and NaN between."""
    users, scores = np.full((ITEMS, item.size), -1), np.full((ITEMS, item.size), np.nan, score.dtype)
    users[item, np.arange(item.size)], scores[item, np.arange(item.size)] = user, score
    return users, scores


AMOUNTS = np.arange(ITEMS), np.arange(USERS)
SOURCES: dict[str, Callable[..., Problem]] = {
    "frame": lambda i, u, s: Problem.from_frame(
        pd.DataFrame({"video": i, "user": u, "score": s}),
        *AMOUNTS,
        item="video",
        item_ids=range(ITEMS),
        user_ids=range(USERS),
    ),
    "arrow table": lambda i, u, s: Problem.from_frame(
        pa.table({"item": i, "user": u, "score": s}), *AMOUNTS, item_ids=range(ITEMS), user_ids=range(USERS)
    ),
    "padded": lambda i, u, s: Problem.from_padded(*padded(i, u, s), *AMOUNTS),
    "coo": lambda i, u, s: Problem.from_sparse(sp.coo_array((s, (i, u)), (ITEMS, USERS)), *AMOUNTS),
    "csr matrix": lambda i, u, s: Problem.from_sparse(sp.csr_matrix((s, (i, u)), (ITEMS, USERS)), *AMOUNTS),
    "csc": lambda i, u, s: Problem.from_sparse(sp.csc_array((s, (i, u)), (ITEMS, USERS)), *AMOUNTS),
    "unsorted csr": lambda i, u, s: Problem.from_sparse(unsorted_csr(i, u, s), *AMOUNTS),
}


def unsorted_csr(item: np.ndarray, user: np.ndarray, score: np.ndarray) -> Any:
    order = np.argsort(item, kind="stable")
    indptr = np.searchsorted(item[order], np.arange(ITEMS + 1))
    return sp.csr_array((score[order], user[order], indptr), (ITEMS, USERS))


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_sources_agree_with_columns(source: str, seed: int) -> None:
    assert_same(SOURCES[source](*draw_edges(seed)), by_columns(seed))


@pytest.mark.parametrize("source", ["frame", "padded"])
def test_half_scores_stay_half(source: str) -> None:
    problem = SOURCES[source](*draw_edges(5, np.float16))
    assert problem.score.dtype == np.float16
    assert problem.score32().dtype == np.float32
    assert np.shares_memory(problem.stored_score(), problem.score)
    assert_same(problem, by_columns(5, np.float16))


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint8, ">f4", np.longdouble])
def test_other_numbers_become_float32(dtype: Any) -> None:
    score = np.array([2, 0, 1], dtype)
    problem = Problem.from_csr([0, 2, 3], np.array([0, 1, 0], ">i2"), score, 1, [1, 1])
    assert problem.score.dtype == np.float32
    assert problem.score.tolist() == [2, 0, 1]
    assert Problem.from_padded([[0, 1], [0, -1]], score[[0, 1, 2, 2]].reshape(2, 2), 1, [1, 1]).edges == 3


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_negative_zero_is_zero(dtype: Any) -> None:
    """Kernels read the bits of scores, and those of -0 are those of a negative number."""
    score = np.array([-0.0, 1.0], dtype)
    for problem in (
        Problem.from_csr([0, 2], [0, 1], score, 1, [1, 1]),
        Problem.from_edges([0, 0], [0, 1], score),
        Problem.from_padded([[1, 0]], score[None, ::-1], 1, [1, 1]),
    ):
        assert not np.signbit(problem.score).any()


def test_a_number_or_a_mapping_for_users_needs_their_ids() -> None:
    rows: Any = [0, 2], [0, 1], [1.0, 2.0], 1
    assert Problem.from_csr(*rows, 3, user_ids=["u", "v"]).capacity.tolist() == [3, 3]
    assert Problem.from_csr(*rows, {"v": 4, "u": 5}, user_ids=["u", "v"]).capacity.tolist() == [5, 4]
    with pytest.raises(ProblemError, match="capacity of user 'v' is -1"):
        Problem.from_csr(*rows, {"v": -1, "u": 5}, user_ids=["u", "v"])


def test_a_sparse_matrix_keeps_stored_zeros_and_counts_its_columns() -> None:
    matrix = sp.csr_array((np.array([0.0, 2.0]), ([0, 1], [1, 0])), (3, 4))
    problem = Problem.from_sparse(matrix, 1, 2)
    assert (problem.items, problem.users, problem.edges) == (3, 4, 2)
    assert problem.score.tolist() == [0.0, 2.0]
    assert problem.capacity.tolist() == [2, 2, 2, 2]


def test_a_sorted_sparse_matrix_is_not_copied() -> None:
    matrix = sp.csr_array(np.array([[1, 2], [0, 3]], np.float32))
    assert np.shares_memory(Problem.from_sparse(matrix, 1, 1).score, matrix.data)


TWICE = sp.coo_array(([1.0, 2.0], ([0, 0], [1, 1])), (1, 2))
NOT_A_MATRIX: Any = [[1.0]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Problem.from_sparse(TWICE, 1, 1), "item 0, user 1 are paired twice, at edges 0 and 1"),
        (lambda: Problem.from_sparse(sp.csr_array(np.array([[-1.0]])), 1, 1), r"item 0, user 0 \(edge 0\) is -1.0"),
        (lambda: Problem.from_sparse(NOT_A_MATRIX, 1, 1), "matrix is list, expected a SciPy sparse array"),
        (lambda: Problem.from_sparse(sp.csr_array((1, 2)), 1, [1]), "the matrix has 2 columns, expected 1"),
        (lambda: Problem.from_sparse(sp.csr_array([[True]]), 1, 1), "score is bool"),
        (lambda: Problem.from_padded([0, 1], [1.0, 2.0], 1, [1]), "user is int64 of 1 dimensions"),
        (lambda: Problem.from_padded([[0.0]], [[1.0]], 1, [1]), "user is float64 of 2 dimensions"),
        (lambda: Problem.from_padded([[0, 1]], [[1.0]], 1, [1, 1]), r"score has shape \(1, 1\), expected \(1, 2\)"),
        (lambda: Problem.from_padded([[0, -2]], [[1.0, 1.0]], 1, [1]), "user -2 of item 0 is no row"),
        (lambda: Problem.from_padded([[1, 0, 1]], [[1.0, 2, 3]], 1, [1, 1]), "item 0, user 1 are paired twice"),
        (lambda: Problem.from_padded([[0, 1]], [[1.0, np.nan]], 1, [1, 1]), "item 0, user 1 .* is nan"),
        (lambda: Problem.from_padded([[0, 3]], [[1.0, 1.0]], 1, [1]), "user 3 .* no such user, expected rows 0 to 0"),
        (lambda: Problem.from_frame(pd.DataFrame({"item": [], "usr": []})), "no column 'user': did you mean 'usr'"),
        (lambda: Problem.from_frame(pd.DataFrame({"x": []})), "no column 'item': it has x"),
        (lambda: Problem.from_csr([0, 1], [0], np.array([np.inf], np.float16), 1, [1]), "is inf.* 0 to 6.6e[+]04"),
        (lambda: Problem.from_csr([0, 1], [0], [-1e-60], 1, [1]), "is -1e-60"),
        (lambda: Problem.from_csr([0, 2], [1, 0], [1.0, 1.0], 1, [1, 1]), "stands after a user of a higher row"),
    ],
)
def test_wrong_sources_are_refused_in_one_line(make: Callable[[], Problem], message: str) -> None:
    with pytest.raises(ProblemError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, wrong=st.sampled_from(["user", "order", "score", "nothing"]))
def test_the_check_finds_any_wrong_edge(seed: int, wrong: str) -> None:
    """`first_wrong_item` names the row of the edge that was spoilt, wherever it is."""
    problem, rng = by_columns(seed), np.random.default_rng(seed)
    user, score = problem.user.copy(), problem.score.copy()
    rows = np.flatnonzero(np.diff(problem.indptr) > (wrong == "order"))
    expected = -1
    if wrong != "nothing" and rows.size:
        expected = int(rng.choice(rows))
        edge = rng.integers(problem.indptr[expected] + (wrong == "order"), problem.indptr[expected + 1])
        if wrong == "user":
            user[edge] = rng.choice([-1, USERS, 2**31 - 1])
        elif wrong == "order":
            user[edge] = rng.integers(0, user[edge - 1] + 1)
        else:
            score[edge] = rng.choice([np.nan, np.inf, -np.inf, -1e-30, -0.0])
    most = int(np.array([np.finfo(np.float32).max]).view(np.uint32)[0])
    arrays = problem.indptr, user, score.view(np.uint32)
    assert first_wrong_item(arrays, USERS, most, 0, ITEMS) == expected


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_placing_and_sorting_equal_lexsort(seed: int) -> None:
    item, user, score = draw_edges(seed)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(item, minlength=ITEMS))])
    cursor, users, scores = indptr[:-1].copy(), np.empty(item.size, np.int32), np.empty(item.size, np.float32)
    assert place_rows((item, user, score), cursor, indptr[1:], users, scores)
    assert np.array_equal(cursor, indptr[1:])
    assert sort_rows(indptr, users, scores, 0, ITEMS) == -1
    order = np.lexsort((user, item))
    assert np.array_equal(users, user[order])
    assert np.array_equal(scores, score[order])
    if item.size:
        assert not place_rows((item[:1], user[:1], score[:1]), cursor, indptr[1:], users, scores)


def test_sorting_names_a_row_with_a_user_twice() -> None:
    indptr, user = np.array([0, 2, 5]), np.array([1, 0, 3, 2, 3], np.int32)
    assert sort_rows(indptr, user, np.arange(5.0), 0, 2) == 1
