"""Features of a row come from strictly before it: against slow twins, and whatever happens later."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualrec.models.cross_features import FeatureSources, bucket, cross_features
from dualrec.models.log import Log
from dualrec.models.past import GRID, Past

USERS, ITEMS = 4, 5


def made_log(seed: int, count: int, ties: bool = True) -> FeatureSources:
    generator = np.random.default_rng(seed)
    day = generator.integers(0, 24, count) / 6 if ties else generator.uniform(0, 4, count)
    log = Log(
        user=generator.integers(0, USERS, count).astype(np.int32),
        item=generator.integers(0, ITEMS, count).astype(np.int32),
        day=np.sort(day),
        kinds={name: generator.random(count) < share for name, share in (("like", 0.3), ("comment", 0.1))},
        users=USERS,
        items=ITEMS,
        upload=np.zeros(ITEMS),
        token=np.array([0, 1, -1, 1, 0], np.int32),
        tokens=2,
        content=np.zeros((ITEMS, 0), np.float32),
    )
    return FeatureSources(
        log=log,
        creator=np.array([0, 0, 1, -1, 2], np.int32),
        item_numbers={"duration": np.array([3, 20, 0, np.nan, 7], np.float32)},
        user_numbers={"follows": np.array([1, np.nan, 5, 9], np.float32)},
        crossed=("duration",),
        user_codes={"degree": np.array([0, 1, -1, 1], np.int32)},
        measured={"watch": generator.normal(size=count) ** 2},
    )


def with_later_rows_changed(sources: FeatureSources, cut: int, seed: int) -> FeatureSources:
    """From row ``cut`` on, other users, items, times, feedback and measurements, and a few rows more."""
    log, generator = sources.log, np.random.default_rng(seed)
    count = len(log) - cut + int(generator.integers(0, 4))
    start = log.day[cut]

    def changed(values: np.ndarray, new: np.ndarray) -> np.ndarray:
        return np.concatenate([values[:cut], new.astype(values.dtype)])

    other = replace(
        log,
        user=changed(log.user, generator.integers(0, USERS, count)),
        item=changed(log.item, generator.integers(0, ITEMS, count)),
        day=changed(log.day, np.sort(start + generator.random(count) * 1000)),
        kinds={name: changed(flags, generator.random(count) < 0.5) for name, flags in log.kinds.items()},
    )
    watch = {"watch": changed(sources.measured["watch"], generator.random(count) * 1e6)}
    return replace(sources, log=other, measured=watch)


@given(
    seed=st.integers(0, 10_000), count=st.integers(1, 60), part=st.floats(0, 1), known=st.sampled_from(["row", "day"])
)
def test_later_rows_never_change_earlier_features(seed: int, count: int, part: float, known: Any) -> None:
    sources = made_log(seed, count)
    cut = min(int(part * count), count - 1)
    one = cross_features(sources, known)
    two = cross_features(with_later_rows_changed(sources, cut, seed + 1), known)
    assert one.names == two.names and len(set(one.names)) == len(one.names)
    assert one.values[:cut].tobytes() == two.values[:cut].tobytes()


@given(seed=st.integers(0, 10_000), count=st.integers(1, 40), known=st.sampled_from(["row", "day"]))
def test_a_rows_own_outcome_is_not_among_its_features(seed: int, count: int, known: Any) -> None:
    """Nor are those of the rows at the same time or, with "day", of the same day."""
    sources = made_log(seed, count)
    log = sources.log
    row = seed % count
    hidden = np.floor(log.day) == np.floor(log.day[row]) if known == "day" else log.day == log.day[row]
    kinds = {name: flags ^ hidden for name, flags in log.kinds.items()}
    watch = {"watch": sources.measured["watch"] + 5.0 * hidden}
    other = replace(sources, log=replace(log, kinds=kinds), measured=watch)
    one, two = cross_features(sources, known), cross_features(other, known)
    assert one.values[row].tobytes() == two.values[row].tobytes()


@given(seed=st.integers(0, 10_000), count=st.integers(0, 40), last=st.sampled_from([None, 1, 3]))
def test_the_past_against_a_slow_twin(seed: int, count: int, last: int | None) -> None:
    generator = np.random.default_rng(seed)
    key, time = generator.integers(-1, 3, count), generator.integers(0, 12, count) / 4
    values = np.round(generator.normal(size=(count, 2)) / GRID) * GRID
    flags = values > 0
    past, order = Past(key, time), np.lexsort((time, key))
    counts, sums, within = past.counts(last), past.sums(values, last), past.within(0.75)
    gap, age, since = past.gap(), past.age(), past.since(flags)
    for row in range(count):
        before = [n for n in order if key[n] == key[row] >= 0 and time[n] < time[row]]
        few = before[-last:] if last else before
        assert counts[row] == len(few)
        assert sums[row].tolist() == values[few].sum(0).tolist()
        assert within[row] == sum(time[row] - time[n] <= 0.75 for n in before)
        assert gap[row] == time[row] - time[before[-1]] if before else np.isnan(gap[row])
        assert age[row] == time[row] - time[before[0]] if before else np.isnan(age[row])
        for place in range(2):
            did = [time[n] for n in before if flags[n, place]]
            assert since[row, place] == time[row] - did[-1] if did else np.isnan(since[row, place])


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 40),
    last=st.sampled_from([1, 4, 99]),
    half_life=st.sampled_from([None, 0.5]),
    period=st.sampled_from([None, 1.0]),
)
def test_sums_of_near_rows_against_a_slow_twin(
    seed: int, count: int, last: int, half_life: float | None, period: float | None
) -> None:
    generator = np.random.default_rng(seed)
    key, time = generator.integers(-1, 3, count), generator.integers(0, 12, count) / 4
    values, place = generator.normal(size=(count, 2)), generator.random(count) * 3
    place[generator.random(count) < 0.1] = np.nan
    past, order = Past(key, time), np.lexsort((time, key))
    weight, total = past.nearby(values, place, width=0.3, last=last, half_life=half_life, period=period)
    for row in range(count):
        expected, sums = 0.0, np.zeros(2)
        for n in [n for n in order if key[n] == key[row] >= 0 and time[n] < time[row]][-last:]:
            shifts = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0) if period else (0.0,)
            near = np.exp(-(min(abs(place[row] - place[n] + shift) for shift in shifts) ** 2) / (2 * 0.3**2))
            near *= 0.5 ** ((time[row] - time[n]) / half_life) if half_life else 1.0
            if np.isfinite(near):
                expected, sums = expected + near, sums + near * values[n]
        np.testing.assert_allclose(weight[row], expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(total[row], sums, rtol=1e-9, atol=1e-12)


@given(seed=st.integers(0, 10_000), count=st.integers(1, 40), known=st.sampled_from(["row", "day"]))
def test_columns_of_near_rows_and_of_the_same_item_against_a_slow_twin(seed: int, count: int, known: Any) -> None:
    """Recomputed row by row, from nothing but what the user did strictly earlier."""
    sources = made_log(seed, count)
    log, features = sources.log, cross_features(sources, known)
    column = dict(zip(features.names, features.values.T, strict=True))
    time = log.day if known == "row" else np.floor(log.day)
    like, watch = log.kinds["like"], sources.measured["watch"]
    duration, hour = np.log1p(sources.item_numbers["duration"][log.item].astype(float)), log.day % 1
    for row in range(count):
        earlier = time < time[row]
        mine = earlier & (log.user == log.user[row])
        everybody = (like[earlier].sum() + 1) / (earlier.sum() + 4)
        own = (like[mine].sum() + 15 * everybody) / (mine.sum() + 15)
        apart = np.abs(hour - hour[row])
        age = np.where(mine, time[row] - time, 0.0)
        for name, distance, width, half_life, rows in (
            ("user near duration", duration - duration[row], 0.6, np.inf, 4),
            ("user near duration, lately", duration - duration[row], 0.25, 2.0, 4),
            ("user near hour", np.minimum(apart, 1 - apart), 0.08, np.inf, 4),
            ("user x item", np.where(log.item == log.item[row], 0.0, np.inf), 1.0, np.inf, 8),
        ):
            weight = np.nan_to_num(np.exp(-0.5 * (distance / width) ** 2)) * mine * 0.5 ** (age / half_life)
            rate = (weight @ like + rows * own) / (weight.sum() + rows)
            change = np.log(rate / (1 - rate)) - np.log(own / (1 - own))
            assert column[f"{name}: rows"][row] == pytest.approx(np.log1p(weight.sum()), abs=1e-6)
            assert column[f"{name}: like"][row] == pytest.approx(change, abs=1e-5)
            mean = column[f"{name}: mean watch"][row]
            if weight.sum() > 2e-6:
                assert mean == pytest.approx(weight @ watch / weight.sum(), rel=1e-4, abs=1e-4)
            elif weight.sum() < 5e-7:
                assert np.isnan(mean)


def test_a_busy_users_near_rows_are_its_last_ones() -> None:
    """After 256 rows that were liked, 256 that were not: nothing of the former is left."""
    sources = made_log(1, 513, ties=False)
    like = np.arange(513) < 256
    kinds = {"like": like, "comment": ~like}
    log = replace(sources.log, user=np.zeros(513, np.int32), item=np.ones(513, np.int32), kinds=kinds)
    features = cross_features(replace(sources, log=log))
    column = dict(zip(features.names, features.values[512], strict=True))
    assert column["user near duration: rows"] == pytest.approx(np.log1p(256.0))
    own = (256 + 15 * 257 / 516) / (512 + 15)
    rate = 4 * own / 260
    assert column["user near duration: like"] == pytest.approx(np.log(rate / (1 - rate)) - np.log(own / (1 - own)))


def test_rates_by_hand() -> None:
    """A user's third row: one like in two rows, everybody's rate (1 + 1) / (2 + 4)."""
    sources = made_log(1, 3, ties=False)
    log = replace(
        sources.log,
        user=np.zeros(3, np.int32),
        kinds={"like": np.array([True, False, True]), "comment": np.zeros(3, bool)},
    )
    features = cross_features(replace(sources, log=log))
    column = dict(zip(features.names, features.values[2], strict=True))
    above, rate = 2 / 6, (1 + 15 * 2 / 6) / (2 + 15)
    assert column["user: rows"] == pytest.approx(np.log(3))
    expected = np.log(rate / (1 - rate)) - np.log(above / (1 - above))
    assert column["user: like"] == pytest.approx(expected, rel=1e-5)
    assert column["user: since like"] == pytest.approx(np.log(log.day[2] - log.day[0] + 1e-5), rel=1e-5)
    assert np.isnan(column["user: since comment"])
    assert column["user: mean watch"] == pytest.approx(sources.measured["watch"][:2].mean(), abs=1e-4)


def test_buckets_have_fixed_edges() -> None:
    assert bucket(np.array([0.0, 0.4, 1.0, 3.0, np.nan, -1.0])).tolist() == [0, 0, 2, 4, -1, -1]


def test_an_empty_log_has_the_same_columns() -> None:
    empty = cross_features(made_log(0, 0))
    assert empty.values.shape == (0, len(empty.names))
    assert empty.names == cross_features(made_log(0, 5)).names
