"""The approximate search: what it finds is scored exactly, all lists together miss nobody, prices and masks count."""

import numpy as np
import pytest

from dualrec.models.approximate_search import ApproximateSearch
from dualrec.solvers.candidate_source import CandidateSource, MeasuredSource, RowSource
from dualrec.solvers.dense_instances import Dense, DensePairs
from dualrec.solvers.price_rounds import PriceRounds, search_candidates


def search_of(pairs: DensePairs, **options: int) -> ApproximateSearch:
    item = np.concatenate([pairs.item, np.ones((len(pairs.item), 1), np.float32)], 1)
    user = np.concatenate([pairs.user, pairs.base[:, None]], 1)

    def score(items: np.ndarray, users: np.ndarray) -> np.ndarray:
        return np.maximum(np.einsum("nd,nd->n", item[items], user[users]), 0)

    return ApproximateSearch(item, user, score, **options)


def exact_source(pairs: DensePairs) -> RowSource:
    scores = np.maximum(pairs.item @ pairs.user.T + pairs.base, 0).astype(np.float32)
    return RowSource(lambda rows: scores[rows], *scores.shape)


@pytest.mark.parametrize("priced", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_all_lists_give_what_an_exact_search_gives(priced: bool, masked: bool) -> None:
    pairs, rng = Dense(40, 3_000).draw(1), np.random.default_rng(1)
    search, exact = search_of(pairs, lists=20, probes=20), exact_source(pairs)
    price = rng.random(3_000) * priced
    available = rng.random(3_000) < 0.5 if masked else None
    items = rng.permutation(40)[:30]
    user, score = search.best(items, price, 25, available)
    user_twin, score_twin = exact.best(items, price, 25, available)
    assert user.dtype == np.int32 and score.dtype == np.float32
    np.testing.assert_allclose(score, score_twin, rtol=1e-5, atol=1e-6)
    assert (user == user_twin).mean() > 0.99  # sums of products end in other bits
    assert available is None or available[user[user >= 0]].all()
    assert search.recall(items, price, 25) > 0.99


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


def test_prices_are_those_of_each_call() -> None:
    pairs = Dense(5, 2_000).draw(3)
    search = search_of(pairs, lists=10, probes=10)
    before = search.best(np.arange(5), np.zeros(2_000), 10)[0]
    price = np.zeros(2_000)
    price[before[0]] = 100.0
    assert not np.isin(search.best(np.arange(5), price, 10)[0], before[0]).any()
    assert np.array_equal(search.best(np.arange(5), np.zeros(2_000), 10)[0], before)


def test_threads_and_a_second_index_change_no_byte() -> None:
    pairs = Dense(200, 8_000).draw(4)
    price = np.random.default_rng(4).random(8_000)
    answers = [search_of(pairs, threads=count, probes=8).best(np.arange(200), price, 30) for count in (1, 2)]
    assert all(np.array_equal(one, other) for one, other in zip(*answers, strict=True))


def test_a_search_over_its_candidates_is_close_to_the_exact_one() -> None:
    pairs = Dense(400, 10_000).draw(5)
    options = PriceRounds(200, 200, rounds=4, gap=1e-3)
    search = search_of(pairs, probes=40)
    assert isinstance(search, CandidateSource) and isinstance(search, MeasuredSource)
    found = search_candidates(search, 60, np.full(10_000, 4), options)
    exact = search_candidates(Dense(400, 10_000).make(5), 60, np.full(10_000, 4), options)
    assert found.covers == "pairs searched" and found.recall is not None and found.recall > 0.8
    assert exact.covers == "all pairs" and exact.recall is None
    assert found.allocation.value >= 0.99 * exact.allocation.value
    assert found.allocation.value >= found.first_come.value


def test_vectors_of_other_length_and_no_users_are_refused() -> None:
    vector = np.zeros((3, 4), np.float32)
    for users in (np.zeros((3, 5), np.float32), np.zeros((0, 4), np.float32)):
        with pytest.raises(ValueError, match="same length"):
            ApproximateSearch(vector, users, lambda item, user: np.zeros(item.size, np.float32))
