"""Expected popularity of new items: outcomes and features against slow twins, no future, recovery of known rates."""

import numpy as np
import pytest

from dualrec.models.history import user_history
from dualrec.models.item_rate import (
    Outcomes,
    RateRows,
    damped,
    outcomes,
    predict_item_rate,
    rate_features,
    train_item_rate,
)
from dualrec.models.log import Log
from dualrec.models.tower_inputs import item_inputs

TARGET_DAYS = 2
CREATOR = np.array([-1, 0, 0, 1, 1, 1, 3, 3, -1, 0] * 4, np.int32)


def random_log(seed: int, categories: int = 3) -> Log:
    """40 items uploaded over 8 days, 15 users, 400 interactions; some of unknown category."""
    generator = np.random.default_rng(seed)
    upload = generator.uniform(0, 8, 40)
    item = generator.integers(0, 40, 400).astype(np.int32)
    day = np.minimum(upload[item] + generator.exponential(1.5, 400), 9.99)
    order = np.argsort(day, kind="stable")
    skip = generator.random(400) < 0.2
    token = generator.integers(-1, categories, 40) if categories else np.arange(40)
    return Log(
        user=generator.integers(0, 15, 400).astype(np.int32),
        item=item[order],
        day=day[order],
        kinds={"view": ~skip, "skip": skip},
        users=15,
        items=40,
        upload=upload,
        token=token.astype(np.int32),
        tokens=categories or 40,
        content=np.zeros((40, 0), np.float32),
    )


def slow_log_share(log: Log, item: int) -> float:
    """Users with a positive interaction on the two days after the upload day, among those who came then."""
    first = np.floor(log.upload[item]) + 1
    window = [row for row in range(len(log)) if first <= log.day[row] < first + TARGET_DAYS]
    who = {log.user[row] for row in window if log.item[row] == item and log.kinds["view"][row]}
    active = {log.user[row] for row in window}
    return float(np.log1p(1e4 * len(who) / max(len(active), 1)))


@pytest.mark.parametrize("seed", range(3))
def test_outcomes_are_the_shares_of_active_users(seed: int) -> None:
    log = random_log(seed)
    found = outcomes(log, TARGET_DAYS)
    assert found.log_share == pytest.approx([slow_log_share(log, item) for item in range(40)])
    assert (found.upload_day == np.floor(log.upload)).all()


def test_outcomes_of_an_empty_log_are_zero() -> None:
    assert (outcomes(random_log(1).take(slice(0, 0)), TARGET_DAYS).log_share == 0).all()


def features_at(log: Log, day: int, past: Outcomes, creator: np.ndarray | None = CREATOR) -> np.ndarray:
    known = log.between(0, day)
    inputs = item_inputs(known, day, log.new_items(day), user_history(known, day))
    return rate_features(inputs, known, day, past, TARGET_DAYS, creator)


def slow_mean(log: Log, group: np.ndarray, own: int, day: int, past: Outcomes) -> tuple[float, float]:
    """Smoothed mean log share of the group's items whose two days were over, and its weight."""
    closed = [item for item in range(40) if np.floor(log.upload[item]) + TARGET_DAYS <= day and group[item] >= 0]
    weight = {item: 0.8 ** (day - np.floor(log.upload[item])) for item in closed}
    overall = sum(weight[i] * past.log_share[i] for i in closed) / max(sum(weight.values()), 1e-9)
    mine = [item for item in closed if group[item] == own]
    mass = sum(weight[item] for item in mine)
    return (sum(weight[i] * past.log_share[i] for i in mine) + 3 * overall) / (mass + 3), mass


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("day", [0, 1, 5, 7])
def test_features_say_how_earlier_items_of_the_group_fared(seed: int, day: int) -> None:
    log = random_log(seed)
    past = outcomes(log, TARGET_DAYS)
    features, items = features_at(log, day, past), log.new_items(day)
    assert features.dtype == np.float32 and len(features) == len(items)
    for row, item in zip(features[:, -5:], items, strict=True):
        same_day = sum(log.token[other] == log.token[item] >= 0 for other in items)
        expected = [*slow_mean(log, log.token, log.token[item], day, past), same_day]
        expected += slow_mean(log, CREATOR, CREATOR[item], day, past)
        if log.token[item] < 0:
            expected[1] = 0
        if CREATOR[item] < 0:
            expected[4] = 0
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)
    assert features_at(log, day, past, None).shape[1] == features.shape[1] - 2


def test_features_do_not_know_outcomes_that_were_open() -> None:
    log, day = random_log(4), 5
    later = np.flatnonzero(log.day >= day + 1)
    user = log.user.copy()
    user[later] = (user[later] + 1) % 3
    changed = Log(**{**vars(log), "user": user})
    one, two = (features_at(each, day, outcomes(each, TARGET_DAYS)) for each in (log, changed))
    assert (outcomes(log, TARGET_DAYS).log_share != outcomes(changed, TARGET_DAYS).log_share).any()
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("categories", [0, 3])
def test_no_new_items_have_no_features(categories: int) -> None:
    log = random_log(5, categories)
    assert len(features_at(log, 20, outcomes(log, TARGET_DAYS))) == 0


def simulated(seed: int, days: int = 10) -> tuple[list[RateRows], np.ndarray]:
    """Popularity that depends on the first of two features, with Poisson noise of 2000 active users."""
    generator, rows, rates = np.random.default_rng(seed), [], []
    for age in range(days):
        features = generator.normal(size=(150, 2)).astype(np.float32)
        rate = 0.01 * np.exp(features[:, 0])
        rows.append(RateRows(features, generator.poisson(2000 * rate) / 2000, np.full(150, float(age))))
        rates.append(rate)
    return rows, np.concatenate(rates)


def test_trees_recover_rates_and_their_sum() -> None:
    rows, rate = simulated(1)
    trees, factor = train_item_rate(rows)
    features = np.concatenate([part.features for part in rows])
    share, weight = np.concatenate([part.share for part in rows]), 0.8 ** np.repeat(np.arange(10), 150)
    predicted = predict_item_rate(trees, factor, features)
    assert predicted.dtype == np.float64 and predicted.shape == (1500,)
    assert np.corrcoef(np.log(predicted), np.log(rate))[0, 1] > 0.95
    assert (weight * predicted).sum() == pytest.approx((weight * share).sum(), rel=1e-3)
    again, same = train_item_rate(rows)
    assert same == factor and again.save_raw("json") == trees.save_raw("json")


def test_predictions_are_shares_whatever_the_features() -> None:
    rows, _ = simulated(2)
    trees, factor = train_item_rate(rows)
    wild = np.array([[np.nan, np.nan], [1e30, -1e30], [-1e30, 0]], np.float32)
    for times in (0.0, factor, 1e9):
        share = predict_item_rate(trees, times, wild)
        assert ((share > 0) & (share <= 0.5)).all()
    assert predict_item_rate(trees, factor, wild[:0]).shape == (0,)


def test_items_nobody_touched_have_the_smallest_share() -> None:
    nothing = [RateRows(np.zeros((40, 2), np.float32), np.zeros(40), np.zeros(40))]
    share = predict_item_rate(*train_item_rate(nothing), np.zeros((2, 2), np.float32))
    assert (share > 0).all() and (share < 1e-5).all()


@pytest.mark.parametrize("rows", [[], [RateRows(np.zeros((0, 2), np.float32), np.zeros(0), np.zeros(0))]])
def test_nothing_to_learn_from_is_said(rows: list[RateRows]) -> None:
    with pytest.raises(ValueError, match="no past day has new items"):
        train_item_rate(rows)


def test_damped_shares() -> None:
    share = np.array([0.001, 0.01, 0.1])
    np.testing.assert_allclose(damped(share, 1.0), share)
    np.testing.assert_allclose(damped(share, 0.0), 0.01)
    half = damped(share, 0.5)
    np.testing.assert_allclose(half, [10**-2.5, 0.01, 10**-1.5])
    assert np.log(half).mean() == pytest.approx(np.log(share).mean())
