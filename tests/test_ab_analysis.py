"""Estimates of an A/B test: against plain Python, how often intervals cover, p without an effect, ugly input."""

from collections.abc import Callable
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, t, ttest_ind

from dualrec.alloc.ab_analysis import COLUMNS, analyse, analysis_table, estimate, sample_ratio
from dualrec.alloc.ab_estimate import Estimate, Metric
from dualrec.alloc.errors import InputError


def experiment(seed: int, lift: float = 0.0, units: int = 800) -> dict[str, np.ndarray]:
    """Creators with heavy-tailed uploads and reactions on them, related to what they did before; rates lifted in arm 1."""
    rng = np.random.default_rng([seed, 5])
    rate, liked = rng.lognormal(0.5, 0.8, units), 0.8 * rng.beta(2, 6, units)
    arm = rng.integers(0, 2, units)
    per = rng.poisson(rate * 4) + 1
    return {
        "arm": arm,
        "before": rng.poisson(rate * 3).astype(float),
        "count": rng.poisson(rate * (1 + lift * arm)).astype(float),
        "per": per.astype(float),
        "likes": rng.binomial(per, liked * (1 + lift * arm)).astype(float),
    }


def slow_interval(value: list, per: list | None, arm: list, share: list | None) -> tuple[float, ...]:
    """Difference, low, high and p, unit by unit."""
    logs, parts, sizes = [], [], []
    for side in (0, 1):
        mine = [place for place in range(len(arm)) if arm[place] == side]
        n, total = len(mine), sum(value[place] for place in mine)
        below = share[side] if share else sum(per[place] if per else 1 for place in mine)
        figure = total / below
        rest = [value[place] - (0 if share else figure * (per[place] if per else 1)) for place in mine]
        parts.append(sum(one**2 for one in rest) / total**2 * (1 if share else n / (n - 1)))
        logs.append(log(figure))
        sizes.append(n)
    freedom = sum(parts) ** 2 / sum(part**2 / (n - 1) for part, n in zip(parts, sizes, strict=True))
    middle, error = logs[1] - logs[0], sqrt(sum(parts))
    reach = t.ppf(0.975, freedom) * error
    p = 2 * t.sf(abs(middle) / error, freedom)
    return np.expm1(middle), np.expm1(middle - reach), np.expm1(middle + reach), p


def figures(one: Estimate) -> tuple[float, ...]:
    return one.difference, one.low, one.high, one.p


@given(st.integers(0, 10_000), st.integers(12, 60), st.sampled_from(["mean", "ratio", "total"]))
def test_delta_is_that_of_the_slow_way(seed: int, units: int, kind: str) -> None:
    data = experiment(seed, 0.2, units)
    data["arm"][:4] = [0, 0, 1, 1]
    data["count"][:4] += [1, 2, 1, 3]
    per, share = data["per"] if kind == "ratio" else None, [0.3, 0.6] if kind == "total" else None
    found = estimate(data["count"], data["arm"], share, per=per)
    slow = slow_interval(data["count"].tolist(), None if per is None else per.tolist(), data["arm"].tolist(), share)
    assert figures(found) == pytest.approx(slow, rel=1e-9)


def test_units_outside_and_other_arms_change_nothing() -> None:
    data = experiment(1, 0.1)
    inside = estimate(data["count"], data["arm"])
    more = np.append(data["count"], [1e6, 5.0, 3.0]), np.append(data["arm"], [-1, 2, 2])
    assert estimate(*more) == inside
    assert estimate(*more, treatment=2).treatment == 4.0


def test_two_arms_exchanged_tell_the_same() -> None:
    data = experiment(3, 0.3)
    one, other = estimate(data["count"], data["arm"]), estimate(data["count"], 1 - data["arm"])
    assert 1 + one.difference == pytest.approx(1 / (1 + other.difference))
    assert (1 + one.low) * (1 + other.high) == pytest.approx(1)
    assert one.p == pytest.approx(other.p)


def test_p_is_near_that_of_welch() -> None:
    data = experiment(4, 0.1)
    sides = [data["count"][data["arm"] == arm] for arm in (0, 1)]
    assert estimate(data["count"], data["arm"]).p == pytest.approx(ttest_ind(*sides, equal_var=False).pvalue, abs=0.01)


def mean(data: dict, **options: object) -> Estimate:
    return estimate(data["count"], data["arm"], **options)


def adjusted(data: dict, **options: object) -> Estimate:
    return estimate(data["count"], data["arm"], before=data["before"], **options)


def total(data: dict, **options: object) -> Estimate:
    return estimate(data["count"], data["arm"], [0.5, 0.5], **options)


def ratio(data: dict, **options: object) -> Estimate:
    return estimate(data["likes"], data["arm"], per=data["per"], **options)


KINDS = [mean, adjusted, total, ratio]


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_cover_the_truth_19_times_in_20(kind: Callable) -> None:
    found = [kind(experiment(seed, 0.15)) for seed in range(600)]
    covered = sum(one.low <= 0.15 <= one.high for one in found)
    assert 0.92 * 600 <= covered <= 0.98 * 600  # five standard deviations of a binomial: 0.906 to 0.994
    assert np.mean([one.difference for one in found]) == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize("kind", [mean, total, ratio])
def test_intervals_of_the_bootstrap_cover_too(kind: Callable) -> None:
    found = [kind(experiment(seed, 0.15, 400), method="bootstrap", resamples=400) for seed in range(200)]
    covered = sum(one.low <= 0.15 <= one.high for one in found)
    assert 0.90 * 200 <= covered <= 0.99 * 200


@pytest.mark.parametrize("kind", KINDS)
def test_p_is_uniform_without_an_effect(kind: Callable) -> None:
    p = np.array([kind(experiment(seed)).p for seed in range(600)])
    cells = np.bincount((p * 10).astype(int), minlength=10)[:10]
    assert ((cells - 60) ** 2 / 60).sum() < chi2.isf(1e-4, 9)


@pytest.mark.parametrize("kind", KINDS)
def test_delta_and_bootstrap_agree(kind: Callable) -> None:
    data = experiment(11, 0.1, 4_000)
    one, other = kind(data), kind(data, method="bootstrap", resamples=4_000)
    assert one.difference == pytest.approx(other.difference)
    width = one.high - one.low
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.08 * width)


def test_the_time_before_narrows_the_interval() -> None:
    data = experiment(2, 0.1)
    one, other = mean(data), adjusted(data)
    assert other.high - other.low < 0.8 * (one.high - one.low)
    useless = estimate(data["count"], data["arm"], before=np.zeros(800))
    assert figures(useless) == pytest.approx(figures(one))


def test_adjustment_is_that_of_the_slow_way() -> None:
    data = experiment(8, 0.1, 50)
    x, y, arm = data["before"].tolist(), data["count"].tolist(), data["arm"].tolist()
    over = under = 0.0
    for side in (0, 1):
        mine = [place for place in range(50) if arm[place] == side]
        middle_x, middle_y = (sum(column[place] for place in mine) / len(mine) for column in (x, y))
        over += sum((x[place] - middle_x) * (y[place] - middle_y) for place in mine)
        under += sum((x[place] - middle_x) ** 2 for place in mine)
    values = [one - over / under * (before - sum(x) / 50) for one, before in zip(y, x, strict=True)]
    assert figures(adjusted(data)) == pytest.approx(slow_interval(values, None, arm, None))


def test_rows_of_one_creator_are_not_independent() -> None:
    """A ratio over exposures: with creators as units the interval covers; taking each exposure for a unit it does not."""
    covered = np.zeros(2)
    for seed in range(200):
        data = experiment(seed, 0.0, 300)
        data["likes"] = np.where(np.random.default_rng(seed).random(300) < 0.5, data["per"], 0.0)
        creator = np.repeat(np.arange(300), data["per"].astype(int))
        hit = np.where(data["likes"][creator] > 0, 1.0, 0.0)
        both = ratio(data), estimate(hit, data["arm"][creator])
        covered += [one.low <= 0 <= one.high for one in both]
    assert covered[0] > 180 and covered[1] < 150


def test_units_in_both_arms_are_compared_in_pairs() -> None:
    rng, covered = np.random.default_rng(6), 0
    for _ in range(300):
        rate = rng.lognormal(0, 1, 200)
        values = rng.poisson(5 * rate * np.array([[1.0], [1.2]])).astype(float)
        one = estimate(values, np.full(200, -1))
        apart = estimate(np.concatenate([values[0], values[1]]), np.repeat([0, 1], 200))
        assert one.high - one.low < 0.6 * (apart.high - apart.low)
        covered += one.low <= 0.2 <= one.high
    assert 0.90 * 300 <= covered <= 0.99 * 300
    other = estimate(values, np.full(200, -1), method="bootstrap", resamples=4_000)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.1 * (one.high - one.low))
    psi = values[1] / values[1].sum() - values[0] / values[0].sum()
    reach = t.ppf(0.975, 199) * sqrt(200 / 199 * (psi**2).sum())
    assert np.log1p([one.low, one.high]) == pytest.approx(np.log1p(one.difference) + np.array([-reach, reach]))


def test_many_metrics_in_one_table() -> None:
    data = experiment(5, 0.1)
    arm = np.where(np.arange(800) % 4 == 0, 2, data["arm"])
    metrics = {
        "uploads": Metric(data["count"]),
        "like rate": Metric(data["likes"], data["per"]),
        "nothing": Metric(np.zeros(800)),
        "untold": Metric(np.zeros(0), missing="an upload belongs to no arm of users"),
    }
    frame = analyse(metrics, arm, ("control", "one", "two"))
    assert tuple(frame.columns) == COLUMNS and len(frame) == 8
    for row in frame.itertuples():
        if row.metric in ("uploads", "like rate"):
            metric, number = metrics[row.metric], ("control", "one", "two").index(row.arm)
            alone = estimate(metric.values, arm, per=metric.per, treatment=number)
            assert (row.control, row.treatment) == (alone.control, alone.treatment)
            assert (row.difference, row.low, row.high, row.p) == figures(alone)
        else:
            assert np.isnan([row.difference, row.low, row.high, row.p]).all() and row.note
    text = analysis_table(frame)
    assert "untold, two: an upload belongs to no arm of users" in text
    assert f"{frame.difference[0]:+.2%}" in text
    again, other = (analyse(metrics, arm, ("control", "one", "two"), method="bootstrap") for _ in range(2))
    assert again.equals(other)
    alone = estimate(data["count"], arm, method="bootstrap")
    assert tuple(again.loc[0, ["difference", "low", "high", "p"]]) == figures(alone)


def test_rare_metrics_come_with_a_warning() -> None:
    values, arm = np.zeros(400), np.arange(400) % 2
    values[:6] = 1
    assert estimate(values, arm).note == "only 3 units of an arm are not 0"
    values[:6] = [1, 1, 0, 0, 0, 0]
    found = estimate(values, arm, method="bootstrap")
    assert np.isnan(found.p) and "both arms are 0 in a resample" in found.note
    assert figures(estimate(np.ones(400), arm)) == (0.0, 0.0, 0.0, 1.0)


def test_arms_of_the_wrong_size_are_found_out() -> None:
    assert sample_ratio(np.repeat([0, 1, -1], [5_000, 5_100, 9_999]), [0.05, 0.05]) == pytest.approx(
        chi2.sf(100**2 / 2 / 5_050, 1)
    )
    assert sample_ratio(np.repeat([0, 1], [5_000, 5_500]), [0.5, 0.5]) < 1e-5
    assert sample_ratio(np.repeat([0, 1, 2], [100, 200, 300]), [0.1, 0.2, 0.3]) == pytest.approx(1)
    assert sample_ratio(np.array([], int), [0.5, 0.5]) == 1.0
    with pytest.raises(InputError, match="arm 2, expected arms below 2"):
        sample_ratio(np.array([0, 2]), [0.5, 0.5])


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1, 2, 3, np.nan], {}, "value nan of unit 3, expected finite"),
        ([1, 2, 3, np.inf], {}, "value inf of unit 3"),
        ([1, 2, 3], {}, "expected one for each unit"),
        ([0, 0, 0, 0], {}, "the sum over the control arm is 0, not over 0: there is no relative"),
        ([1, 1, 0, 0], {}, "the sum over the treatment arm is 0"),
        ([-1, -1, 1, 1], {}, "the sum over the control arm is -2"),
        ([1, 2, 3, 4], {"per": [1, 1, np.nan, 1]}, "per nan of unit 2"),
        ([1, 2, 3, 4], {"per": [1, 1, -1, 1]}, "per -1, expected"),
        ([1, 2, 3, 4], {"per": [1, 1, 0, 0]}, "the sum over the treatment arm"),
        ([1, 2, 3, 4], {"arm": [0, 0, 0, 0]}, "0 units in the treatment arm, expected 2 or more"),
        ([1, 2, 3, 4], {"arm": [0, 1, 1, 1]}, "1 units in the control arm"),
        ([1, 2, 3, 4], {"before": [1, 2, 3]}, "expected 4 finite numbers"),
        ([1, 2, 3, 4], {"before": [1, 2, 3, np.nan]}, "expected 4 finite numbers"),
        ([1, 2, 3, 4], {"before": [1, 2, 3, 4], "per": [1, 1, 1, 1]}, "for means of units"),
        ([1, 2, 3, 4], {"method": "magic"}, "method 'magic'"),
        ([1, 2, 3, 4], {"method": "bootstrap", "resamples": 0}, "0 resamples"),
    ],
)
def test_what_is_unfit_is_refused(values: list, options: dict, message: str) -> None:
    given = {"arm": [0, 0, 1, 1]} | options
    with pytest.raises(InputError, match=message):
        estimate(np.array(values), **given)


def test_the_metric_is_named() -> None:
    with pytest.raises(InputError, match="metric 'likes': value nan of unit 1"):
        analyse({"likes": Metric(np.array([1.0, np.nan]))}, np.array([0, 1]), ("control", "treatment"))
