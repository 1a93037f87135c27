"""Ranking heads: rates against slow twins, known logits recovered, constant heads, theta's smoothing."""

import math

import numpy as np
import pytest

from dualrec.models.heads import Head, fit_head, fit_heads, head_rates, interaction_rate
from dualrec.models.log import Log
from dualrec.models.logistic import sigmoid

HEADS = ("view", "like", "skip")


def random_log(seed: int, count: int = 400, users: int = 12, items: int = 9) -> Log:
    """Interactions with three kinds; user 0 and item 0 have none."""
    generator = np.random.default_rng(seed)
    like = generator.random(count) < 0.3
    return Log(
        user=generator.integers(1, users, count).astype(np.int32),
        item=generator.integers(1, items, count).astype(np.int32),
        day=np.sort(generator.uniform(0, 5, count)),
        kinds={"view": np.ones(count, bool), "like": like, "skip": ~like & (generator.random(count) < 0.1)},
        users=users,
        items=items,
        upload=np.zeros(items),
        token=np.arange(items, dtype=np.int32),
        tokens=items,
        content=np.zeros((items, 0), np.float32),
    )


def log_odds(p: float) -> float:
    return math.log(p / (1 - p))


@pytest.mark.parametrize("seed", range(3))
def test_rates_are_smoothed_log_odds_less_the_overall(seed: int) -> None:
    log = random_log(seed)
    group = np.array([-1, 0, 0, 1, 3, 3, 3, -1, 1], np.int32)
    rates = head_rates(log, HEADS, group)
    assert rates.user.dtype == rates.item.dtype == np.float32
    assert rates.user.shape == (12, 3) and rates.item.shape == (9, 3)
    for number, kind in enumerate(HEADS):
        flags = log.kinds[kind]
        overall = min(flags.mean(), 1 - 1e-6)
        assert rates.overall[number] == pytest.approx(overall)
        for user in range(12):
            own = flags[log.user == user]
            expected = log_odds((own.sum() + 20 * overall) / (len(own) + 20)) - log_odds(overall)
            assert rates.user[user, number] == pytest.approx(expected, rel=1e-5, abs=1e-6)
        for item in range(9):
            own = flags[group[log.item] == group[item]] if group[item] >= 0 else flags[:0]
            expected = log_odds((own.sum() + 50 * overall) / (len(own) + 50)) - log_odds(overall)
            assert rates.item[item, number] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_rates_without_interactions_or_groups_say_nothing() -> None:
    log, nobody = random_log(1), np.full(9, -1, np.int32)
    assert (head_rates(log, HEADS, nobody).item == 0).all()
    empty = head_rates(log.take(slice(0, 0)), HEADS, nobody)
    assert (empty.user == 0).all() and (empty.item == 0).all()
    assert (empty.overall == 0.5).all()


def test_fit_recovers_the_weights_that_made_the_data() -> None:
    generator = np.random.default_rng(7)
    lift, user, item = generator.normal(size=(3, 60_000))
    happened = generator.random(60_000) < sigmoid(-1.0 + 0.6 * lift + 1.2 * user + 0.4 * item)
    head = fit_head("like", happened, lift, user, item)
    assert [head.offset, head.lift, head.user, head.item] == pytest.approx([-1.0, 0.6, 1.2, 0.4], abs=0.05)
    assert head.probability(lift, user, item).mean() == pytest.approx(happened.mean(), abs=1e-3)


@pytest.mark.parametrize("scale", [20.0, 300.0])
def test_parts_on_a_wild_scale_leave_the_mean_right(scale: float) -> None:
    generator = np.random.default_rng(8)
    lift, user, item = scale * generator.normal(size=(3, 3000))
    happened = generator.random(3000) < 0.3
    head = fit_head("like", happened, lift, user, item)
    assert head.probability(lift, user, item).mean() == pytest.approx(0.3, abs=0.05)


def test_a_head_that_is_always_true_has_probability_one() -> None:
    zeros = np.zeros(1000)
    head = fit_head("view", np.ones(1000, bool), zeros, zeros, zeros)
    assert head.always
    assert (head.probability(np.zeros((2, 3)), np.zeros(3), np.zeros(3)) == np.ones((2, 3))).all()


def test_a_head_that_never_happens_is_small_and_finite() -> None:
    parts = np.random.default_rng(9).normal(size=(3, 1000))
    head = fit_head("share", np.zeros(1000, bool), *parts)
    assert not head.always
    assert head.probability(*parts).max() < 1e-3


def test_a_head_without_rows_is_the_rates_alone() -> None:
    empty = np.zeros(0)
    assert fit_head("like", np.zeros(0, bool), empty, empty, empty) == Head("like", 0.0, 0.0, 1.0, 1.0)


def test_heads_take_each_interactions_own_user_and_item() -> None:
    log = random_log(5, count=3000)
    generator = np.random.default_rng(1)
    rates = head_rates(log, HEADS, np.arange(9, dtype=np.int32))
    lift = generator.normal(size=3000).astype(np.float32)
    calls: list[int] = []
    fitted = fit_heads(log, HEADS, rates, lift, lambda: calls.append(1))
    assert [head.kind for head in fitted] == list(HEADS) and len(calls) == 3
    assert fitted[0].always
    for number in (1, 2):
        user = np.array([rates.user[user, number] for user in log.user])
        item = np.array([rates.item[item, number] for item in log.item])
        assert fitted[number] == fit_head(HEADS[number], log.kinds[HEADS[number]], lift, user, item)


@pytest.mark.parametrize("smoothing", [0.5, 20.0])
def test_theta_is_the_smoothed_rate_over_the_mean(smoothing: float) -> None:
    log = random_log(2)
    explicit = ("like", "skip")
    theta = interaction_rate(log, explicit, smoothing)
    given = log.kinds["like"].astype(int) + log.kinds["skip"]
    for user in range(12):
        own = given[log.user == user]
        rate = (own.sum() + smoothing * given.mean()) / (len(own) + smoothing)
        assert theta[user] == pytest.approx(rate / given.mean())
    assert theta[0] == pytest.approx(1.0), "a user without interactions is average"


def test_theta_moves_from_the_mean_to_the_users_own_rate() -> None:
    log = random_log(3)
    own = np.bincount(log.user, log.kinds["like"], minlength=12)[1:] / np.bincount(log.user, minlength=12)[1:]
    little, much = (interaction_rate(log, ("like",), smoothing) for smoothing in (1e-9, 1e9))
    np.testing.assert_allclose(little[1:], own / log.kinds["like"].mean())
    np.testing.assert_allclose(much, 1.0, atol=1e-5)


def test_theta_is_one_where_there_is_no_explicit_feedback() -> None:
    log = random_log(4)
    assert (interaction_rate(log, (), 20.0) == 1).all()
    never = Log(**{**vars(log), "kinds": {"like": np.zeros(len(log), bool)}})
    assert (interaction_rate(never, ("like",), 20.0) == 1).all()
    assert (interaction_rate(log.take(slice(0, 0)), ("like",), 20.0) == 1).all()
