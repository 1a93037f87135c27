"""Similarity services against dictionaries and loops, for items and for users."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from dualrec.models import similar_content, sparse_top
from dualrec.models.content_embedding import WIDTH, item_embedding, row_embedding
from dualrec.models.history import user_history
from dualrec.models.similar_cf import collaborative_similarity
from dualrec.models.similar_content import content_similarity
from dualrec.models.similar_graph import graph_similarity
from dualrec.models.similarity import Interactions, SimilarLists, TwoHop, interactions
from dualrec.models.similarity_choice import similar_items, similar_users
from dualrec.models.sparse_top import only_columns, ranked, top_of_product, top_of_rows

DAY = 6
Table = dict[tuple[int, int], float]


def rows_of(matrix: sparse.csr_matrix) -> list[dict[int, float]]:
    return [
        dict(zip(matrix.indices[low:high].tolist(), matrix.data[low:high].tolist(), strict=True))
        for low, high in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)
    ]


def same_bytes(one: sparse.csr_matrix, other: sparse.csr_matrix) -> bool:
    pairs = [(one.data, other.data), (one.indices, other.indices), (one.indptr, other.indptr)]
    return one.shape == other.shape and all(np.array_equal(a, b) for a, b in pairs)


def agrees(found: dict[int, float], exact: dict[int, float], count: int) -> bool:
    """The right number, right weights, and none left out that is larger by more than rounding."""
    least = min(found.values(), default=0)
    rest = [value for key, value in exact.items() if key not in found]
    return (
        len(found) == min(count, sum(value > 0 for value in exact.values()))
        and all(value == pytest.approx(exact[key], rel=1e-5) for key, value in found.items())
        and max(rest, default=0) <= least * (1 + 1e-5) + (0 if found else 1e-12)
    )


def slow_cf(table: Table, row: int, size: int) -> dict[int, float]:
    length = {r: sum(v * v for (q, _), v in table.items() if q == r) ** 0.5 for r in range(size)}
    out: dict[int, float] = {}
    for (r, column), value in table.items():
        for other in range(size):
            if r == row != other and (other, column) in table:
                out[other] = out.get(other, 0) + value * table[other, column] / length[row] / length[other]
    return out


def slow_graph(table: Table, row: int, size: int) -> dict[int, float]:
    total = {r: sum(v for (q, _), v in table.items() if q == r) for r in range(size)}
    into = {c: sum(v for (_, d), v in table.items() if d == c) for c in {c for _, c in table}}
    out: dict[int, float] = {}
    for (r, column), value in table.items():
        for other in range(size):
            if r == row != other and (other, column) in table:
                step = value / total[row] * table[other, column] / into[column]
                out[other] = out.get(other, 0) + step / total[other] ** 0.5
    return out


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 30), events=st.sampled_from([0, 1, 20, 150]))
@pytest.mark.parametrize(("make", "slow"), [(collaborative_similarity, slow_cf), (graph_similarity, slow_graph)])
def test_similarity_by_likes(
    logs: ModuleType,
    make: Callable[[sparse.csr_matrix], TwoHop],
    slow: Callable[[Table, int, int], dict[int, float]],
    seed: int,
    count: int,
    events: int,
) -> None:
    log = logs.random_log(seed, 3, 0, events)
    liked, table = interactions(log, DAY), logs.slow_likes(log)
    for matrix, likes in ((liked.users_of, table), (liked.items_of, logs.turned(table))):
        size = matrix.shape[0]
        found = make(matrix).nearest(np.arange(size), count)
        assert found.dtype == np.float32 and found.shape == (size, size)
        for row, similar in enumerate(rows_of(found)):
            assert row not in similar
            assert agrees(similar, slow(likes, row, size), count)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 30))
def test_similarity_by_content(logs: ModuleType, seed: int, count: int) -> None:
    log = logs.random_log(seed, 3, 4)
    seen = np.random.default_rng(seed).random(30) < 0.7
    found = rows_of(content_similarity(log.content, "content", seen).nearest(np.arange(30), count))
    unit = log.content / np.linalg.norm(log.content.astype(float), axis=1, keepdims=True)
    cosine = unit @ unit.T
    for row, similar in enumerate(found):
        exact = {other: float(cosine[row, other]) for other in np.flatnonzero(seen).tolist() if other != row}
        assert agrees(similar, exact, count)


def test_ties_go_to_the_lower_row() -> None:
    likes = sparse.csr_matrix(np.ones((6, 2)))
    for service in (collaborative_similarity(likes), graph_similarity(likes)):
        assert [sorted(row) for row in rows_of(service.nearest(np.array([0, 3]), 2))] == [[1, 2], [0, 1]]
    same = content_similarity(np.ones((6, 3), np.float32), "content", np.ones(6, bool))
    assert [sorted(row) for row in rows_of(same.nearest(np.array([0, 3]), 2))] == [[1, 2], [0, 1]]


@pytest.mark.parametrize("choice", ["auto", "content", "cf", "graph"])
def test_neither_threads_nor_blocks_nor_grouping_change_a_byte(
    logs: ModuleType, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logs.random_log(5, 4, 6)
    liked, history = interactions(log, DAY), user_history(log, DAY)
    for lists in (similar_items(choice, log, liked, history), similar_users(choice, log, liked)):
        rows = np.arange(lists.size)
        whole = lists.service.nearest(rows, 5)
        with monkeypatch.context() as patch:
            patch.setattr(sparse_top, "_BLOCK_PRODUCTS", 40)
            patch.setattr(similar_content, "_BLOCK_NUMBERS", 70)
            assert same_bytes(whole, lists.service.nearest(rows, 5, threads=3))
        single = [lists.service.nearest(rows[place : place + 1], 5) for place in rows]
        assert same_bytes(whole, sparse.csr_matrix(sparse.vstack(single)))


def test_lists_are_computed_once(logs: ModuleType) -> None:
    asked: list[int] = []
    inner = collaborative_similarity(interactions(logs.random_log(1, 3, 0), DAY).users_of)

    class Counting:
        how = "cf"

        def nearest(self, rows: np.ndarray, count: int, threads: int = 1) -> sparse.csr_matrix:
            asked.extend(rows.tolist())
            return inner.nearest(rows, count, threads)

    lists = SimilarLists(Counting(), 4, 30)
    for rows in ([3, 1, 3], [1, 2], [], [7, 3]):
        assert same_bytes(lists.of(np.array(rows, np.int64)), inner.nearest(np.array(rows, np.int64), 4))
    assert sorted(asked) == [1, 2, 3, 7]


@pytest.mark.parametrize(
    ("categories", "width", "item_how", "content_how"),
    [(3, 4, "content", "content"), (3, 0, "category", "category"), (0, 0, "users", "co-interaction")],
)
def test_what_the_data_lacks_is_done_without_and_said(
    logs: ModuleType, categories: int, width: int, item_how: str, content_how: str
) -> None:
    log = logs.random_log(2, categories, width)
    for some in (log, log.take(slice(0, 0))):
        liked, history = interactions(some, DAY), user_history(some, DAY)
        assert similar_items("auto", some, liked, history).service.how == item_how
        assert similar_users("auto", some, liked).service.how == "cf"
        for lists in (similar_items("content", some, liked, history), similar_users("content", some, liked)):
            assert lists.service.how == content_how
            assert (lists.of(np.arange(5)).nnz > 0) == (len(some) > 0)
            assert lists.of(np.zeros(0, np.int64)).shape == (0, lists.size)


def test_items_without_content_or_likes_have_no_list(logs: ModuleType) -> None:
    log = logs.random_log(3, 3, 4)
    log.content[2] = 0
    past = log.without_new_items(DAY)
    liked, history = interactions(past, DAY), user_history(past, DAY)
    assert similar_items("content", past, liked, history).of(np.array([2])).nnz == 0
    new = log.new_items(DAY)
    assert similar_items("content", past, liked, history).of(new).nnz > 0, "content finds strictly cold items' like"
    for choice in ("cf", "graph"):
        assert similar_items(choice, past, liked, history).of(new).nnz == 0


def test_a_popular_column_counts_for_its_largest_shares() -> None:
    likes = sparse.csr_matrix(np.arange(1, 6)[:, None].astype(float))
    found = rows_of(graph_similarity(likes, most=2, exponent=0).nearest(np.arange(5), 5))
    assert [sorted(row) for row in found] == [[3, 4], [3, 4], [3, 4], [4], [3]]


def test_an_embedding_has_at_most_128_numbers_and_keeps_the_angles(logs: ModuleType) -> None:
    wide = np.random.default_rng(0).normal(size=(30, 300)).astype(np.float32)
    log = logs.random_log(1, 3, 0)
    log.content.resize((30, 0), refcheck=False)
    vectors, how = item_embedding(logs.random_log(1, 3, 300), interactions(log, DAY))
    assert vectors.shape == (30, WIDTH) and how == "content"
    assert (vectors == item_embedding(logs.random_log(1, 3, 300), interactions(log, DAY))[0]).all()
    small = sparse.csr_matrix(wide)
    embedded = row_embedding(small, 40)
    assert embedded.shape == (30, 30)
    assert np.allclose(embedded @ embedded.T, wide @ wide.T, rtol=1e-4, atol=1e-2)


def test_a_truncated_embedding_is_the_best_of_its_rank() -> None:
    generator = np.random.default_rng(4)
    full = generator.normal(size=(60, 5)) @ generator.normal(size=(5, 80)) + 1e-3 * generator.normal(size=(60, 80))
    embedded = row_embedding(sparse.csr_matrix(full), 5)
    assert np.allclose(embedded @ embedded.T, full @ full.T, atol=0.01)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 8), levels=st.integers(1, 5))
def test_top_of_rows_and_products(logs: ModuleType, seed: int, count: int, levels: int) -> None:
    """Few levels of weight, so that there are many ties."""
    generator = np.random.default_rng(seed)
    left, right = generator.integers(0, levels, (7, 9)), generator.integers(-1, levels, (9, 8))
    product = left @ right
    own = generator.integers(0, 8, 7)
    sides = sparse.csr_matrix(left.astype(float)), sparse.csr_matrix(right.astype(float))
    expected = [logs.best(dict(enumerate(row)), count) for row in product.astype(float)]
    assert rows_of(top_of_product(*sides, count)) == expected
    found = top_of_rows(sparse.csr_matrix(product.astype(float)), count)
    assert rows_of(found) == expected
    for row, users in enumerate(ranked(found, count)):
        assert users[users >= 0].tolist() == list(expected[row])
    without = [
        logs.best({c: v for c, v in enumerate(row) if c != own[n]}, count) for n, row in enumerate(product.tolist())
    ]
    assert rows_of(top_of_product(*sides, count, threads=2, own=own)) == without


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected bool \(3,\)"):
        only_columns(sparse.csr_matrix((2, 3)), np.ones(2, bool))


def test_the_likes_are_decayed_counts(logs: ModuleType) -> None:
    log = logs.random_log(8, 3, 0)
    liked: Interactions = interactions(log, DAY)
    table = logs.slow_likes(log)
    assert liked.users_of.nnz == len(table)
    assert all(liked.users_of[i, u] == pytest.approx(w) == liked.items_of[u, i] for (i, u), w in table.items())
