"""Scores of all pairs against eq. 10 in plain float64: heads, negative weights, exclusions, rounding, blocks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.models.exact_search import ExactSearch
from dualrec.models.heads import Head
from dualrec.models.pair_scores import DEFAULT_BETA, SIGNIFICANT_BITS, PairScorer, _rounded

HEADS = (
    Head("click", 0, 0, 0, 0, always=True),
    Head("like", -2.0, 0.5, 1.1, 0.9, taste=0.7),
    Head("skip", -1.0, -0.3, 1.0, 1.0),
)
BETA = np.array([1.0, 2.0, -0.5])


def scorer(
    seed: int,
    users: int = 40,
    items: int = 30,
    heads: tuple[Head, ...] = HEADS,
    beta: np.ndarray = BETA,
    exponent: float = 1.0,
) -> PairScorer:
    generator = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    return PairScorer(
        user_vector=normal(users, 8),
        user_bias=normal(users),
        item_vector=normal(items, 8),
        item_logit=normal(items) - 4,
        heads=heads,
        beta=beta,
        user_rate=normal(users, len(heads)),
        item_rate=normal(items, len(heads)),
        user_taste=normal(users, 3),
        item_taste=normal(items, 3),
        factor=generator.random(users).astype(np.float32),
        excluded=np.unique(generator.integers(0, users * items, 60)),
        interaction_exponent=exponent,
    )


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def plain_scores(of: PairScorer) -> np.ndarray:
    """Eq. 10 for every pair, in float64."""
    lift = of.item_vector.astype(float) @ of.user_vector.astype(float).T + of.user_bias.astype(float)
    taste = of.item_taste.astype(float) @ of.user_taste.astype(float).T
    feedback = np.zeros_like(lift)
    for number, (head, beta) in enumerate(zip(of.heads, of.beta, strict=True)):
        users, items = of.user_rate[:, number].astype(float), of.item_rate[:, number].astype(float)
        logit = head.offset + head.lift * lift + head.taste * taste + head.user * users + head.item * items[:, None]
        feedback += beta * (np.ones_like(lift) if head.always else sigmoid(logit))
    scores = of.factor * sigmoid(lift + of.item_logit.astype(float)[:, None]) ** of.interaction_exponent * feedback
    scores[np.unravel_index(of.excluded, scores.shape)] = 0
    return np.maximum(scores, 0)


UNIT = 2.0 ** (1 - SIGNIFICANT_BITS)


@pytest.mark.parametrize("seed", range(4))
def test_one_row_alone_is_that_of_all(seed: int) -> None:
    of, product = scorer(seed), np.empty((2, 40), np.float32)
    for item in range(of.items):
        expected = of.rows(np.array([item]))[0]
        np.testing.assert_allclose(of.row(item), expected, rtol=4 * UNIT, atol=1e-6)
        np.testing.assert_array_equal(of.row(item, product), of.row(item))
        np.testing.assert_array_equal(of.row(item) == 0, expected == 0)


@pytest.mark.parametrize("exponent", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_rows_are_eq_10_within_rounding(seed: int, exponent: float) -> None:
    of = scorer(seed, exponent=exponent)
    scores = of.rows(np.arange(30))
    assert scores.shape == (30, 40) == (of.items, of.users)
    assert scores.dtype == np.float32
    # Half a unit of 16 bits, and float32's own error in a sum of heads of both signs.
    np.testing.assert_allclose(scores, plain_scores(of), rtol=UNIT, atol=1e-7)


def test_a_skip_lowers_a_score_and_never_below_zero() -> None:
    skip = (Head("click", -1.0, 0.0, 0.0, 0.0), Head("skip", 0.0, 0.0, 1.0, 0.0))
    without = scorer(1, heads=skip, beta=np.array([1.0, 0.0])).rows(np.arange(30))
    mild = scorer(1, heads=skip, beta=np.array([1.0, -0.2])).rows(np.arange(30))
    strong = scorer(1, heads=skip, beta=np.array([1.0, -100.0])).rows(np.arange(30))
    there = without > 0
    assert there.any() and (mild[there] < without[there]).all()
    assert (strong == 0).all()


@pytest.mark.parametrize("beta", [[3.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
def test_heads_of_weight_zero_and_constant_heads(beta: list[float]) -> None:
    of = scorer(2, beta=np.array(beta))
    np.testing.assert_allclose(of.rows(np.arange(30)), plain_scores(of), rtol=UNIT, atol=1e-7)


def test_all_heads_constant_is_the_chance_of_an_interaction() -> None:
    always = tuple(Head(kind, 0, 0, 0, 0, always=True) for kind in ("click", "view"))
    of = scorer(3, heads=always, beta=np.array([1.0, 0.5]))
    np.testing.assert_allclose(of.rows(np.arange(30)), plain_scores(of), rtol=UNIT, atol=1e-9)


def test_excluded_pairs_are_zero_in_every_order_of_items() -> None:
    of = scorer(4)
    items = np.random.default_rng(0).permutation(30)[:11]
    scores = of.rows(items)
    barred = np.isin(items[:, None] * of.users + np.arange(of.users), of.excluded)
    assert barred.any() and (scores[barred] == 0).all()
    assert (scores[~barred] > 0).mean() > 0.5
    other = np.ones((11, of.users), np.float32)
    of.exclude(other, items)
    assert (other == ~barred).all()


def test_the_same_items_give_the_same_bytes() -> None:
    of, items = scorer(5, users=333), np.arange(7, 29)
    assert of.rows(items).tobytes() == of.rows(items).tobytes()


@pytest.mark.parametrize("block", [1, 2, 7, 16])
def test_other_blocks_differ_by_a_unit_of_the_last_bit_at_most(block: int) -> None:
    of = scorer(6, users=333)
    whole = of.rows(np.arange(30))
    parts = np.concatenate([of.rows(np.arange(start, min(start + block, 30))) for start in range(0, 30, block)])
    np.testing.assert_allclose(parts, whole, rtol=UNIT * 1.001, atol=1e-9)


@pytest.mark.parametrize(("users", "items"), [(0, 4), (3, 0), (1, 1)])
def test_few_users_and_items(users: int, items: int) -> None:
    of = scorer(7, users=max(users, 1), items=max(items, 1))
    of = PairScorer(**{**vars(of), "excluded": np.zeros(0, np.int64)})
    nobody = PairScorer(
        **{
            **vars(of),
            "user_vector": of.user_vector[:users],
            "user_bias": of.user_bias[:users],
            "user_rate": of.user_rate[:users],
            "user_taste": of.user_taste[:users],
            "factor": of.factor[:users],
        }
    )
    assert nobody.rows(np.arange(items)).shape == (items, users)


def test_scores_keep_16_bits() -> None:
    scores = scorer(8).rows(np.arange(30))
    assert (scores.view(np.int32) & 0xFF == 0).all()
    assert len(np.unique(scores)) > 1000


@settings(deadline=None, max_examples=300)
@given(st.floats(2.0**-100, 2.0**100, width=32))
def test_rounding_is_to_the_nearest_of_16_bits(value: float) -> None:
    rounded = float(_rounded(torch.tensor([value], dtype=torch.float32))[0])
    fraction, _ = np.frexp(rounded)
    assert (fraction * 2**SIGNIFICANT_BITS) % 1 == 0
    assert abs(rounded - value) <= 2.0 ** (np.frexp(value)[1] - SIGNIFICANT_BITS - 1)


def test_rounding_keeps_zero_and_small_integers() -> None:
    few = torch.tensor([0.0, 1.0, 3.0, 65535.0])
    assert torch.equal(_rounded(few.clone()), few)
    assert _rounded(torch.tensor([65537.0]))[0] == 65538, "halves go up"


def test_lift_is_the_product_plus_bias() -> None:
    of = scorer(9)
    generator = np.random.default_rng(1)
    item, user = generator.integers(0, 30, 70_000), generator.integers(0, 40, 70_000)
    lift = of.lift(item, user)
    exact = of.item_vector.astype(float) @ of.user_vector.astype(float).T + of.user_bias
    assert lift.dtype == np.float32
    np.testing.assert_allclose(lift, exact[item, user], rtol=1e-4, atol=1e-5)
    assert of.lift(item[:0], user[:0]).shape == (0,)


def test_only_a_skip_counts_against_an_item() -> None:
    assert {kind for kind, beta in DEFAULT_BETA.items() if beta < 0} == {"skip"}


@pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
@pytest.mark.parametrize(("first", "last"), [(0, 40), (0, 7), (13, 14), (25, 40)])
def test_tiles_are_parts_of_rows(first: int, last: int, device: str) -> None:
    """Up to the last bit, which may differ with the width of a matrix product."""
    of = scorer(3)
    items = np.array([4, 4, 29, 0, 17])
    tile = of.tile(items, first, last, device).cpu().numpy()
    rows = of.rows(items)[:, first:last]
    np.testing.assert_allclose(tile, rows, rtol=UNIT)
    assert ((tile == 0) == (rows == 0)).all()


def test_an_exact_search_of_tiles_finds_the_best_of_rows() -> None:
    of, price = scorer(3), np.random.default_rng(3).random(40).astype(np.float32) * np.float32(1e-3)
    user, score = ExactSearch(of.tile, of.items, of.users).best(np.arange(30), price, 9)
    rows = of.rows(np.arange(30))
    assert (np.diff(score - np.where(user >= 0, price[user], 0), axis=1)[user[:, 1:] >= 0] <= 1e-9).all()
    best = np.sort(rows - price, axis=1)[:, ::-1][:, :9]
    np.testing.assert_allclose(np.where(user >= 0, score - price[user], 0), np.maximum(best, 0), atol=1e-8)
