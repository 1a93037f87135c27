"""The assignment problems that SciPy tests its own functions on, restated here, and larger ones of the same kinds.

SciPy minimises cost over matchings that leave no row (or no column, if there are fewer) without a partner. Here every row
wants one user and every user takes one item; scores are an offset less the cost, so large that one match more is worth
more than anything it does to the others. No edge where the cost is infinite.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching, min_weight_full_bipartite_matching

from dualrec.solvers.allocation import Allocation
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve

INF = np.inf
EXACT = pytest.mark.parametrize("name", ["auction", "min-cost-flow", "lp"])

KNOWN = {
    "square": ([[400, 150, 400], [400, 450, 600], [300, 225, 300]], 850),
    "one column more": ([[400, 150, 400, 1], [400, 450, 600, 2], [300, 225, 300, 3]], 452),
    "small, square": ([[10, 10, 8], [9, 8, 1], [9, 7, 4]], 18),
    "small, one column more": ([[10, 10, 8, 11], [9, 8, 1, 1], [9, 7, 4, 10]], 15),
    "only one way": ([[10, INF, INF], [INF, INF, 1], [INF, 7, INF]], 18),
    "constant": (np.ones((8, 8)), 8),
    "identity": (np.identity(3), 0),
    "no columns": (np.empty((2, 0)), 0),
    "no rows": (np.empty((0, 3)), 0),
}
"""Cost matrices and their least costs."""

IMPOSSIBLE = {
    "two rows with one column": [[1, 1, 1], [1, INF, INF], [1, INF, INF]],
    "the same, last column": [[1, 1, 1], [INF, INF, 1], [INF, INF, 1]],
    "a row without edges": [[1, INF, INF, 1], [1, 1, INF, 1], [INF, INF, INF, INF]],
    "a column without edges": [[INF, 1, 1], [INF, 1, 2], [INF, 2, 1]],
    "only the first column": [[1, INF, INF], [2, INF, INF]],
    "only the middle column": [[INF, 1, INF], [INF, 2, INF]],
    "three rows with one column": [[1, INF], [2, INF], [5, INF]],
}


def restated(cost: np.ndarray) -> tuple[Problem, float]:
    """The problem, and the offset of its scores: exact for costs that are whole multiples of 2^-10, up to 2^13 in all."""
    row, column = np.nonzero(np.isfinite(cost))
    finite, places = cost[row, column], min(cost.shape)
    offset = 1.0
    if finite.size:
        offset += places * float(finite.max()) - (places - 1) * float(finite.min())
    score = (offset - finite).astype(np.float32)
    assert np.array_equal(score, offset - finite)
    return Problem.from_sparse(coo_array((score, (row, column)), cost.shape).tocsr(), 1, 1), offset


def solved(cost: np.ndarray, name: str) -> tuple[Allocation, float]:
    """The answer, proven optimal, and the cost of its matches."""
    problem, offset = restated(cost)
    answer = solve(problem, name, gap=1e-9)
    assert answer.gap <= 1e-9
    column = problem.user[answer.chosen]
    assert np.unique(column).size == column.size and (answer.item_load <= 1).all()
    assert answer.value == offset * answer.matches - cost[problem.item_of(answer.chosen), column].sum()
    return answer, offset * answer.matches - answer.value


def agrees(cost: np.ndarray, name: str) -> bool:
    """As SciPy: the same cost, or in both no full matching; returns whether there is one."""
    answer, found = solved(cost, name)
    full, edges = min(cost.shape), coo_array(np.isfinite(cost).astype(np.int8)).tocsr()
    if answer.matches < full:
        with pytest.raises(ValueError, match="infeasible"):
            linear_sum_assignment(cost)
        assert answer.matches == (maximum_bipartite_matching(edges, perm_type="column") >= 0).sum()
        return False
    assert found == cost[linear_sum_assignment(cost)].sum()
    if full:
        graph = coo_array(np.where(np.isfinite(cost), cost + 1.0 - cost.min(), 0.0)).tocsr()  # 0 would be no edge there
        assert found == cost[min_weight_full_bipartite_matching(graph)].sum()
    return True


@EXACT
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", KNOWN)
def test_known_matrices(shape: str, turned: bool, name: str) -> None:
    cost, least = np.asarray(KNOWN[shape][0], float), KNOWN[shape][1]
    cost = cost.T if turned else cost
    assert solved(cost, name)[1] == least
    assert agrees(cost, name)


@EXACT
@pytest.mark.parametrize("shape", KNOWN)
def test_known_matrices_with_the_sign_turned(shape: str, name: str) -> None:
    """Negative costs: the dearest matching."""
    cost = np.asarray(KNOWN[shape][0], float)
    assert agrees(np.where(np.isfinite(cost), -cost, INF), name)


@EXACT
@pytest.mark.parametrize("shape", KNOWN)
def test_maximising_needs_no_offset(shape: str, name: str) -> None:
    cost = np.asarray(KNOWN[shape][0], float)
    score = np.where(np.isfinite(cost), cost, 0.0).astype(np.float32)
    problem = Problem.from_sparse(coo_array(score).tocsr(), 1, 1)
    assert solve(problem, name, gap=1e-9).value == score[linear_sum_assignment(score, maximize=True)].sum()


@EXACT
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", IMPOSSIBLE)
def test_without_a_full_matching_as_many_as_can_be(shape: str, turned: bool, name: str) -> None:
    cost = np.asarray(IMPOSSIBLE[shape], float)
    assert not agrees(cost.T if turned else cost, name)


@EXACT
def test_one_edge_at_each_row_and_column(name: str) -> None:
    column = np.random.default_rng(42).permutation(25)
    cost = np.full((25, 25), INF)
    cost[np.arange(25), column] = 1.0
    answer, _ = solved(cost, name)
    assert answer.problem.user[answer.chosen].tolist() == column.tolist()


@EXACT
def test_sparse_whole_numbers_with_and_without_a_full_matching(name: str) -> None:
    """100 x 100, 6 % of the pairs, costs 1 to 99: about a third have no full matching."""
    full = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        cost = np.full((100, 100), INF)
        cost.flat[rng.choice(cost.size, 600, replace=False)] = rng.integers(1, 100, 600)
        full += agrees(cost, name)
    assert 10 <= full <= 25


def larger(kind: str, rows: int, columns: int) -> np.ndarray:
    rng, size = np.random.default_rng([rows, columns]), (rows, columns)
    costs = {
        "uniform": lambda: rng.integers(0, 1024, size) / 1024,
        "whole numbers with ties": lambda: rng.integers(1, 11, size),
        "row times column": lambda: np.outer(np.arange(1, rows + 1), np.arange(1, columns + 1)) / 1024,
        "points of a plane": lambda: np.rint(
            64 * np.hypot(*(rng.random((rows, 1)) - rng.random(columns) for _ in "xy"))
        ),
        "two thirds forbidden": lambda: np.where(rng.random(size) < 2 / 3, INF, rng.integers(0, 1024, size) / 1024),
    }
    return costs[kind]().astype(float)


@EXACT
@pytest.mark.parametrize("size", [(60, 60), (50, 90), (90, 50)], ids=str)
@pytest.mark.parametrize(
    "kind", ["uniform", "whole numbers with ties", "row times column", "points of a plane", "two thirds forbidden"]
)
def test_larger_random_ones(kind: str, size: tuple[int, int], name: str) -> None:
    assert agrees(larger(kind, *size), name)


costs = st.one_of(st.integers(-20, 20), st.integers(-3000, 3000).map(lambda n: n / 1024), st.just(INF))


@EXACT
@settings(max_examples=80)
@given(data=st.data(), rows=st.integers(1, 7), columns=st.integers(1, 7))
def test_any_small_matrix(name: str, data: Any, rows: int, columns: int) -> None:
    table = data.draw(st.lists(costs, min_size=rows * columns, max_size=rows * columns))
    agrees(np.array(table, float).reshape(rows, columns), name)
