"""The approximate search: all lists together miss nobody, some lists find most and say so, prices and masks count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.models.inner_product import InnerProduct
from dualrec.models.user_lists import user_lists
from dualrec.solvers.candidate_source import CandidateSource, MeasuredSource, RowSource
from dualrec.solvers.dense_instances import Dense, DensePairs
from dualrec.solvers.errors import ProblemError
from dualrec.solvers.list_source import ListSource
from dualrec.solvers.price_rounds import PriceRounds, search_candidates


def search_of(pairs: DensePairs, lists: int, probes: int, threads: int = 0) -> ListSource:
    item = np.concatenate([pairs.item, np.ones((len(pairs.item), 1), np.float32)], 1)
    user = np.concatenate([pairs.user, pairs.base[:, None]], 1)
    made = user_lists(user, lists)
    product = InnerProduct(item, user[made.order])
    nearest = made.nearest(item, probes)
    return ListSource(
        lambda items, a, b: product.tile(items, a, b).numpy(), made.order, made.bounds, nearest, threads=threads
    )


def exact_source(pairs: DensePairs) -> RowSource:
    scores = np.maximum(pairs.item @ pairs.user.T + pairs.base, 0).astype(np.float32)
    return RowSource(lambda rows: scores[rows], *scores.shape)


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32 - 1), count=st.sampled_from([1, 4, 50]), levels=st.sampled_from([0, 2]))
def test_the_best_are_those_of_the_lists_looked_into(seed: int, count: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    items, users, lists = rng.integers(1, 12), rng.integers(1, 300), rng.integers(1, 8)
    scores = rng.normal(0.5, 1, (items, users)).astype(np.float32)
    scores = np.ceil(levels * scores) if levels else scores
    cuts = np.sort(rng.integers(0, users + 1, lists - 1))
    bounds, order = np.concatenate([[0], cuts, [users]]), rng.permutation(users)
    nearest = np.sort(rng.permuted(np.tile(np.arange(lists), (items, 1)), axis=1)[:, : rng.integers(1, lists + 1)])
    price = np.where(rng.random(users) < 0.5, np.round(rng.random(users), 1), 0.0)
    mask = rng.random(users) < 0.7 if seed % 2 else None
    asked = rng.permutation(items)
    source = ListSource(lambda rows, a, b: scores[rows][:, order[a:b]], order, bounds, nearest, threads=1 + seed % 3)
    user, score = source.best(asked, price, count, mask)
    for row, item in enumerate(asked):
        looked = np.concatenate([order[bounds[one] : bounds[one + 1]] for one in nearest[item]])
        looked = looked if mask is None else looked[mask[looked]]
        net = scores[item, looked].astype(np.float64) - price[looked]
        best = np.lexsort((looked, -net))
        best = looked[best[net[best] > 0][:count]]
        if levels:  # of equal ones at the end of a list any may be kept
            np.testing.assert_allclose(
                (scores[item] - price)[user[row][user[row] >= 0]], (scores[item] - price)[best], rtol=1e-6
            )
        else:
            assert user[row].tolist() == best.tolist() + [-1] * (count - best.size)
        assert np.array_equal(score[row][user[row] >= 0], scores[item, user[row][user[row] >= 0]])


@pytest.mark.parametrize("masked", [False, True])
def test_all_lists_give_what_an_exact_search_gives(masked: bool) -> None:
    pairs, rng = Dense(40, 3_000).draw(1), np.random.default_rng(1)
    search, exact = search_of(pairs, lists=20, probes=20), exact_source(pairs)
    price = rng.random(3_000)
    available = rng.random(3_000) < 0.5 if masked else None
    items = rng.permutation(40)[:30]
    user, score = search.best(items, price, 25, available)
    user_twin, score_twin = exact.best(items, price, 25, available)
    assert user.dtype == np.int32 and score.dtype == np.float32
    np.testing.assert_allclose(score, score_twin, rtol=1e-5, atol=1e-6)
    assert (user == user_twin).mean() > 0.99  # sums of products end in other bits
    assert available is None or available[user[user >= 0]].all()
    assert search.recall(items, price, 25) == 1.0


def test_some_lists_find_most_of_the_best_and_say_so() -> None:
    pairs = Dense(60, 20_000).draw(2)
    search = search_of(pairs, lists=100, probes=20)
    user, score = search.best(np.arange(60), np.zeros(20_000), 50)
    exact = exact_source(pairs).best(np.arange(60), np.zeros(20_000), 50)[0]
    share = np.mean([np.isin(one, other).mean() for one, other in zip(exact, user, strict=True)])
    assert search.recall(np.arange(60), np.zeros(20_000), 50) == pytest.approx(share, abs=0.005)
    assert share > 0.8
    for row, worth in zip(user, score, strict=True):
        assert len(set(row.tolist())) == row.size and (np.diff(worth) <= 0).all()
    none = search.best(np.arange(3), np.full(20_000, 1e6), 5)
    assert (none[0] == -1).all() and (none[1] == 0).all()
    assert search.recall(np.arange(3), np.full(20_000, 1e6), 5) == 1.0


def test_threads_and_new_lists_change_no_byte() -> None:
    pairs = Dense(200, 8_000).draw(4)
    price = np.random.default_rng(4).random(8_000)
    answers = [search_of(pairs, 100, 8, threads).best(np.arange(200), price, 30) for threads in (1, 2)]
    assert all(np.array_equal(one, other) for one, other in zip(*answers, strict=True))


def test_a_search_over_its_candidates_is_close_to_the_exact_one() -> None:
    pairs = Dense(400, 10_000).draw(5)
    options = PriceRounds(200, 200, rounds=4, gap=1e-3)
    search = search_of(pairs, lists=150, probes=40)
    assert isinstance(search, CandidateSource) and isinstance(search, MeasuredSource)
    found = search_candidates(search, 60, np.full(10_000, 4), options)
    exact = search_candidates(Dense(400, 10_000).make(5), 60, np.full(10_000, 4), options)
    assert found.covers == "pairs searched" and found.recall is not None and found.recall > 0.8
    assert exact.covers == "all pairs" and exact.recall is None
    assert found.allocation.value >= 0.99 * exact.allocation.value
    assert found.allocation.value >= found.first_come.value


def test_lists_hold_each_user_once_and_the_nearest_are_the_nearest() -> None:
    rng = np.random.default_rng(6)
    vector, item = rng.normal(size=(2_000, 5)).astype(np.float32), rng.normal(size=(9, 5)).astype(np.float32)
    lists = user_lists(vector, 16)
    assert np.array_equal(np.sort(lists.order), np.arange(2_000)) and len(lists.centres) == 16
    assert all((np.diff(part) > 0).all() for part in np.split(lists.order, lists.bounds[1:-1]))
    np.testing.assert_allclose(np.linalg.norm(lists.centres, axis=1), 1, rtol=1e-5)
    assert np.array_equal(lists.nearest(item, 3), np.sort(np.argsort(-(item @ lists.centres.T), 1)[:, :3], 1))
    assert lists.nearest(item, 99).shape == (9, 16)
    assert len(user_lists(vector[:70], 16).centres) == 1


def test_wrong_vectors_lists_and_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="expected some"):
        user_lists(np.zeros((0, 4), np.float32))
    with pytest.raises(ValueError, match=r"\(3, 2\), expected \(items, 4\)"):
        user_lists(np.ones((9, 4), np.float32)).nearest(np.zeros((3, 2), np.float32), 1)
    order, bounds, nearest = np.arange(4), np.array([0, 4]), np.zeros((2, 1), int)

    def constant(value: float) -> ListSource:
        return ListSource(lambda rows, a, b: np.full((rows.size, b - a), value, np.float32), order, bounds, nearest)

    assert constant(1).best(np.arange(2), np.zeros(4), 2)[0].tolist() == [[0, 1], [0, 1]]
    assert constant(1).best(np.arange(0), np.zeros(4), 2)[0].shape == (0, 2)
    with pytest.raises(ProblemError, match="item 0 and user 0 is nan"):
        constant(np.nan).best(np.arange(2), np.zeros(4), 2)
    for wrong in (
        (np.zeros(4, int), bounds, nearest),
        (order, np.array([0, 3]), nearest),
        (order, bounds, nearest + 1),
    ):
        with pytest.raises(ProblemError, match="expected"):
            ListSource(lambda rows, a, b: np.zeros((rows.size, b - a), np.float32), *wrong)
