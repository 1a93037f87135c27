"""Tiles of scores: the same users as from whole rows, whatever the tiles; ties, masks, wrong scores and shapes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.models.inner_product import InnerProduct
from dualrec.solvers.candidate_source import CandidateSource, RowSource
from dualrec.solvers.errors import ProblemError
from dualrec.solvers.price_rounds import PriceRounds, search_candidates
from dualrec.solvers.tile_source import TileSource


def tiles_of(scores: np.ndarray, shape: tuple[int, int] = (3, 16), threads: int = 0) -> TileSource:
    return TileSource(lambda items, a, b: scores[items, a:b], *scores.shape, shape=shape, threads=threads)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 8), st.integers(1, 400)),
    count=st.sampled_from([1, 3, 40]),
    levels=st.sampled_from([0, 1, 3]),
)
def test_the_best_are_those_of_whole_rows(seed: int, shape: tuple[int, int], count: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.5, 1, (rng.integers(1, 9), rng.integers(1, 700))).astype(np.float32)
    if levels:
        scores = np.ceil(levels * scores)
    users = scores.shape[1]
    price = np.where(rng.random(users) < 0.5, np.round(rng.random(users), 1), 0.0)
    mask = rng.random(users) < 0.7 if seed % 2 else None
    items = rng.permutation(len(scores))
    user, score = tiles_of(scores, shape, threads=1 + seed % 3).best(items, price, count, mask)
    twin = RowSource(lambda rows: scores[rows], *scores.shape).best(items, price, count, mask)
    assert np.array_equal(user, twin[0]) and np.array_equal(score, twin[1])
    assert user.dtype == np.int32 and score.dtype == np.float32


def test_rising_rows_keep_the_last() -> None:
    """Every user displaces another, so that what is kept is thinned out again and again."""
    scores = np.linspace(1, 2, 5_000, dtype=np.float32)[None, :].repeat(4, 0)
    user, _ = tiles_of(scores, (2, 1_000)).best(np.arange(4), np.zeros(5_000), 7)
    assert (user == np.arange(4_999, 4_992, -1)).all()


def test_the_search_over_all_pairs_is_that_of_rows() -> None:
    scores = np.random.default_rng(5).lognormal(0, 1, (30, 200)).astype(np.float32)
    assert isinstance(tiles_of(scores), CandidateSource)
    options = PriceRounds(first_candidates=20, price_candidates=20, rounds=8)
    ours = search_candidates(tiles_of(scores), 10, np.full(200, 2), options)
    theirs = search_candidates(RowSource(lambda rows: scores[rows], 30, 200), 10, np.full(200, 2), options)
    assert ours.covers == "all pairs"
    assert np.array_equal(ours.allocation.chosen, theirs.allocation.chosen)
    assert ours.bound_all_pairs == theirs.bound_all_pairs and np.array_equal(ours.found, theirs.found)


def test_inner_products_by_tiles_and_by_pairs() -> None:
    rng = np.random.default_rng(6)
    scores = InnerProduct(rng.normal(size=(9, 5)).astype(np.float32), rng.normal(size=(70, 5)).astype(np.float32))
    whole = scores.item_vector.astype(float) @ scores.user_vector.T.astype(float)
    items, users = rng.integers(0, 9, 50), rng.integers(0, 70, 50)
    np.testing.assert_allclose(scores.tile(items, 11, 60).numpy(), whole[items, 11:60], atol=1e-5)
    np.testing.assert_allclose(scores.pairs(items, users), np.maximum(whole[items, users], 0), atol=1e-5)
    assert (scores.items, scores.users) == (9, 70)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_named(wrong: float) -> None:
    scores = np.ones((9, 100), np.float32)
    scores[6, 77] = wrong
    with pytest.raises(ProblemError, match=f"item 6 and user 77 is {wrong}"):
        tiles_of(scores).best(np.arange(9), np.zeros(100), 5)


def test_wrong_tiles_and_sizes_are_refused() -> None:
    with pytest.raises(ProblemError, match=r"shape \(2, 3\).*expected \(2, 4\)"):
        TileSource(lambda items, a, b: np.ones((2, 3), np.float32), 2, 4).best(np.arange(2), np.zeros(4), 1)
    with pytest.raises(ProblemError, match="float64"):
        TileSource(lambda items, a, b: np.ones((2, 4)), 2, 4).best(np.arange(2), np.zeros(4), 1)
    for options in ({"threads": -1}, {"shape": (0, 4)}):
        with pytest.raises(ProblemError, match="expected none negative"):
            TileSource(lambda items, a, b: np.ones((2, 4), np.float32), 2, 4, **options)  # type: ignore[arg-type]
    user, score = tiles_of(np.ones((2, 3), np.float32)).best(np.arange(2), np.zeros(3), 0)
    assert user.shape == score.shape == (2, 0)
