"""The best users among all users: selection, candidate sources, the sequential pass and candidate lists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.all_pairs_kernels import CHUNK, best_of_rows, kth_largest
from dualrec.solvers.candidate_lists import BY_PRICE, FIRST_COME, CandidateLists, ExtraLists, lists_from_padded
from dualrec.solvers.candidate_source import RowSource, empty_lists
from dualrec.solvers.errors import ProblemError
from dualrec.solvers.sequential import first_come_all_pairs


class Asked:
    """A source that only answers `best`, through a RowSource."""

    exact = True

    def __init__(self, source: RowSource) -> None:
        self.items, self.users, self.best = source.items, source.users, source.best


def source_of(scores: np.ndarray, **options: int) -> RowSource:
    scores = scores.astype(np.float32)
    return RowSource(lambda rows: scores[rows], *scores.shape, **options)


def random_scores(rng: np.random.Generator, items: int, users: int) -> np.ndarray:
    """Continuous, tied, identical or mostly empty rows, with scores of 0 and below."""
    scores = rng.normal(0.5, 1, (items, users))
    kind = rng.integers(4)
    if kind == 1:
        scores = np.ceil(scores * 2) / 2
    if kind == 2:
        scores = np.ceil(scores * 2)[rng.integers(0, max(1, items // 3), items)]
    if kind == 3:
        scores[rng.random(scores.shape) < 0.9] = 0
    return scores.astype(np.float32)


def best_twin(row: np.ndarray, price: np.ndarray, count: int) -> list[int]:
    net = row.astype(np.float64) - price
    order = np.lexsort((np.arange(row.size), -net))
    return [int(u) for u in order[:count] if net[u] > 0]


def first_come_twin(scores, order, demand, capacity, count, held):
    """Loops over every item's whole row; returns each item's list and what it took."""
    left, listed, taken = capacity.copy(), {}, {}
    for i in order:
        price = np.where(left > 0, 0.0, np.inf)
        price[held[i]] = np.inf
        listed[i] = best_twin(scores[i], price, max(count, demand[i]))
        taken[i] = listed[i][: demand[i]]
        left[taken[i]] -= 1
    return listed, taken


@pytest.mark.parametrize("users", [1, 7, CHUNK, 10 * CHUNK + 3])
@pytest.mark.parametrize("count", [1, 5, 40])
def test_the_selection_is_the_sorted_one(users: int, count: int) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        scores = random_scores(rng, 6, users)
        price = np.where(rng.random(users) < 0.3, np.round(rng.random(users), 1), 0.0)
        price[rng.random(users) < 0.1] = np.inf
        user, score = empty_lists(6, count)
        assert best_of_rows(scores, price, user, score) == (-1, -1)
        for i in range(6):
            expected = best_twin(scores[i], price, count)
            assert user[i].tolist() == expected + [-1] * (count - len(expected))
            assert score[i].tolist() == scores[i, expected].tolist() + [0.0] * (count - len(expected))


@pytest.mark.parametrize("shape", ["rising", "falling", "constant", "two levels"])
def test_the_order_of_a_row_and_ties_do_not_matter(shape: str) -> None:
    users = 5_000
    row = np.linspace(0.1, 1, users, dtype=np.float32)
    row = {"rising": row, "falling": row[::-1], "constant": np.ones_like(row), "two levels": np.ceil(2 * row)}[shape]
    row = np.ascontiguousarray(row)[None]
    user, score = empty_lists(1, 30)
    best_of_rows(row, np.zeros(users), user, score)
    assert user[0].tolist() == best_twin(row[0], np.zeros(users), 30)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5]) | st.floats(0, 10), min_size=1, max_size=60), st.data())
@settings(max_examples=60, deadline=None)
def test_kth_largest_agrees_with_sorting(values: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(values)))
    array = np.array(values)
    assert kth_largest(array, array.size, k) == sorted(values, reverse=True)[k - 1]
    assert sorted(array.tolist()) == sorted(values)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_refused_by_name(wrong: float) -> None:
    scores = np.ones((5, 300))
    scores[3, 222] = wrong
    source = source_of(scores, block_items=2, threads=2)
    with pytest.raises(ProblemError, match=rf"item 3 and user 222 is {wrong}"):
        source.best(np.arange(5), np.zeros(300), 3)
    with pytest.raises(ProblemError, match=rf"item 3 and user 222 is {wrong}"):
        first_come_all_pairs(source, None, np.ones(5, int), np.ones(300, int), 3)


def test_minus_infinity_is_no_candidate() -> None:
    scores = np.array([[1.0, -np.inf, 2.0]])
    user, _ = source_of(scores).best(np.array([0]), np.zeros(3), 3)
    assert user.tolist() == [[2, 0, -1]]


def test_rows_of_another_shape_or_dtype_are_refused() -> None:
    for rows in (np.ones((1, 4), np.float32), np.ones((1, 3))):
        with pytest.raises(ProblemError, match=r"expected \(1, 3\) and float32"):
            RowSource(lambda item_rows, rows=rows: rows, 1, 3).best(np.array([0]), np.zeros(3), 1)


@pytest.mark.parametrize(
    ("prices", "available", "message"),
    [
        (np.zeros(2), None, "user prices"),
        (np.array([0, -1, 0.0]), None, "user prices"),
        (np.array([0, np.nan, 0.0]), None, "user prices"),
        (np.zeros(3), np.ones(3), "available"),
        (np.zeros(3), np.ones(2, bool), "available"),
    ],
)
def test_wrong_prices_and_masks_are_refused(prices, available, message) -> None:
    with pytest.raises(ProblemError, match=message):
        source_of(np.ones((1, 3))).best(np.array([0]), prices, 1, available)


def test_wrong_options_of_a_source_are_refused() -> None:
    with pytest.raises(ProblemError, match="block_items at least 1"):
        source_of(np.ones((1, 3)), block_items=0)


def test_threads_and_blocks_change_no_byte() -> None:
    rng = np.random.default_rng(5)
    scores = random_scores(rng, 23, 700)
    prices, available = rng.random(700), rng.random(700) < 0.8
    demand, capacity = np.full(23, 40), rng.integers(0, 3, 700)
    answers = []
    for options in ({"threads": 1}, {"threads": 2, "block_items": 4}, {"threads": 5, "block_items": 1}):
        source = source_of(scores, **options)
        first = first_come_all_pairs(source, np.arange(23)[::-1], demand, capacity, 60)
        arrays = *source.best(np.arange(23), prices, 50, available), first.lists.user, first.lists.score, first.chosen
        answers.append([array.tobytes() for array in arrays])
    assert answers[0] == answers[1] == answers[2]


def test_the_mask_takes_users_out_and_prices_may_be_float32() -> None:
    scores = np.array([[5.0, 4.0, 3.0, 2.0]])
    user, score = source_of(scores).best(
        np.array([0]), np.array([0, 3, 0, 0], np.float32), 3, np.array([False, True, True, True])
    )
    assert user.tolist() == [[2, 3, 1]]
    assert score.tolist() == [[3.0, 2.0, 4.0]]


def test_nobody_asked_and_no_users() -> None:
    user, score = source_of(np.ones((2, 3))).best(np.array([], int), np.zeros(3), 4)
    assert user.shape == score.shape == (0, 4)
    user, _ = source_of(np.ones((2, 0))).best(np.arange(2), np.zeros(0), 4)
    assert (user == -1).all()


@pytest.mark.parametrize("seed", range(20))
def test_the_sequential_pass_is_the_simple_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    items, users, count = rng.integers(1, 12), rng.integers(1, 60), int(rng.integers(1, 9))
    scores = random_scores(rng, items, users)
    demand, capacity = rng.integers(0, 7, items), rng.integers(0, 4, users)
    held = [np.sort(rng.choice(users, rng.integers(0, min(users, 4)), replace=False)) for _ in range(items)]
    csr = np.cumsum([0, *(h.size for h in held)]), np.concatenate(held).astype(np.int32)
    order = rng.permutation(items)[: rng.integers(1, items + 1)]
    listed, taken = first_come_twin(scores, order, demand, capacity, count, held)
    source = source_of(scores, block_items=3, threads=2)
    for asked in (source, Asked(source)):
        done: list[int] = []
        first = first_come_all_pairs(asked, order, demand, capacity, count, held=csr, progress=done.append)
        assert sum(done) == order.size
        for i in range(items):
            edges = slice(first.lists.indptr[i], first.lists.indptr[i + 1])
            assert first.lists.user[edges].tolist() == sorted(listed.get(i, []))
            assert sorted(first.user[first.item == i]) == sorted(taken.get(i, []))
        assert first.value == pytest.approx(sum(float(scores[i, taken[i]].sum()) for i in taken), rel=1e-6)
        assert (first.lists.found == FIRST_COME).all()


@pytest.mark.parametrize("order", [[0, 0], [0, 2], [-1, 0], [0.0, 1.0]])
def test_a_wrong_order_is_refused(order: list[float]) -> None:
    with pytest.raises(ProblemError, match="order"):
        first_come_all_pairs(source_of(np.ones((2, 3))), np.array(order), np.ones(2, int), np.ones(3, int), 1)


def test_demand_and_capacity_of_another_size_are_refused() -> None:
    with pytest.raises(ProblemError, match="demand has shape"):
        first_come_all_pairs(source_of(np.ones((2, 3))), None, np.ones(2, int), np.ones(4, int), 1)


def test_scores_of_given_pairs() -> None:
    scores = random_scores(np.random.default_rng(1), 5, 9)
    indptr, user = np.array([0, 2, 2, 5, 5, 6]), np.array([8, 0, 1, 1, 4, 3])
    found = source_of(scores, block_items=2).scores_of(indptr, user)
    assert found.tolist() == scores[[0, 0, 2, 2, 2, 4], user].tolist()


def random_lists(rng: np.random.Generator, items: int, users: int, code: int) -> CandidateLists:
    user = np.full((items, 6), -1, np.int32)
    for row in user:
        length = rng.integers(0, min(users, 6) + 1)
        row[:length] = rng.choice(users, length, replace=False)
    return lists_from_padded(user, rng.random((items, 6)).astype(np.float32) + 0.1, code)


def as_dict(lists: CandidateLists) -> dict[tuple[int, int], tuple[float, int]]:
    pairs = zip(lists.item.tolist(), lists.user.tolist(), strict=True)
    return dict(zip(pairs, zip(lists.score.tolist(), lists.found.tolist(), strict=True), strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_merging_is_a_union_in_which_the_first_finder_wins(seed: int) -> None:
    rng = np.random.default_rng(seed)
    items, users = int(rng.integers(1, 8)), int(rng.integers(1, 12))
    first, second = random_lists(rng, items, users, FIRST_COME), random_lists(rng, items, users, BY_PRICE)
    merged = first.merged(second)
    assert as_dict(merged) == {**as_dict(second), **as_dict(first)}
    assert (np.diff(merged.item * np.int64(users) + merged.user) > 0).all()
    edges = np.arange(merged.edges)
    assert merged.edges_of(merged.item, merged.user).tolist() == edges.tolist()
    missing = [(i, u) for i in range(items) for u in range(users) if (i, u) not in as_dict(merged)]
    for i, u in missing:
        assert merged.edges_of(np.array([i]), np.array([u])) == [-1]
    keep = rng.random(merged.edges) < 0.5
    left = merged.kept(keep)
    assert list(as_dict(left)) == [pair for pair, kept in zip(as_dict(merged), keep, strict=True) if kept]


def test_extra_lists_are_sorted_and_cleaned() -> None:
    extra = ExtraLists(np.array([0, 4, 4, 6]), np.array([5, 2, 5, 1, 0, 3]), np.array([3, 4, 9, 3, 4, 5], np.int8))
    lists = extra.lists(np.array([1.0, 2.0, 7.0, -1.0, 0.0, 4.0], np.float32))
    assert as_dict(lists) == {(0, 2): (2.0, 4), (0, 5): (1.0, 3), (2, 3): (4.0, 5)}


@pytest.mark.parametrize(
    ("indptr", "code", "message"), [([0, 1], [3, 3], "indptr ends at 1"), ([0, 2], [3, FIRST_COME], "codes 0 to 3")]
)
def test_wrong_extra_lists_are_refused(indptr: list[int], code: list[int], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        ExtraLists(np.array(indptr), np.array([0, 1]), np.array(code, np.int8))
