"""Metrics of creators and users from an exposure log: item by item and day by day, under every design."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualrec.alloc.ab_analysis import analyse
from dualrec.alloc.ab_assign import Assignment, Design, assign
from dualrec.alloc.ab_log import ExposureLog, Window, crossings, exposure_log, rows_of
from dualrec.alloc.ab_metrics import active_creators, creator_metrics, item_exposures, user_metrics
from dualrec.alloc.errors import InputError

HALVES = {"control": 0.5, "treatment": 0.5}


def random_log(seed: int, design: Design, shares: dict | None = None) -> tuple[ExposureLog, Assignment]:
    rng = np.random.default_rng([seed, 8])
    creators, users, items, events = 20, 30, 40, 400
    found = assign(design, shares or HALVES, seed, np.arange(creators), np.arange(100, 100 + users))
    return ExposureLog(
        user=rng.integers(0, users, events),
        item=rng.integers(0, items, events) * rng.integers(0, 2, events),
        day=rng.integers(0, 12, events),
        creator=rng.integers(-1, creators, items),
        upload=rng.integers(0, 12, items),
    ), found


def events(log: ExposureLog) -> list[tuple[int, int, int]]:
    return list(zip(log.user.tolist(), log.item.tolist(), log.day.tolist(), strict=True))


@given(st.integers(0, 10_000), st.integers(0, 5), st.integers(0, 6), st.integers(1, 9), st.integers(1, 6))
def test_creators_totals_are_those_of_the_slow_way(seed: int, first: int, days: int, within: int, least: int) -> None:
    log, found = random_log(seed, Design.CO_DIVERTED)
    window = Window(first, first + days)
    metrics = creator_metrics(log, found, window, [least], within)
    shown: dict[int, int] = {}
    for _, item, day in events(log):
        if 0 <= day - log.upload[item] < within and first <= day <= first + days:
            shown[item] = shown.get(item, 0) + 1
    for creator in range(20):
        mine = [
            item
            for item in range(40)
            if log.creator[item] == creator and log.upload[item] in range(first, first + days + 1)
        ]
        slow = {
            "DAC": len({int(log.upload[item]) for item in mine}) / (days + 1),
            f"ExpoReach-{least}": sum(shown.get(item, 0) >= least for item in mine),
            "uploads": len(mine),
            "exposures": sum(shown.get(item, 0) for item in mine),
            "coverage": sum(item in shown for item in mine),
        }
        assert {name: metric.values[creator] for name, metric in metrics.items()} == pytest.approx(slow)
        assert metrics["coverage"].per is not None and metrics["coverage"].per[creator] == len(mine)


@given(st.integers(0, 10_000), st.integers(0, 5), st.integers(0, 6))
def test_users_totals_are_those_of_the_slow_way(seed: int, first: int, days: int) -> None:
    log, found = random_log(seed, Design.USER_DIVERTED)
    metrics = user_metrics(log, found, Window(first, first + days))
    for user in range(30):
        mine = [day for one, _, day in events(log) if one == user and first <= day <= first + days]
        assert metrics["DAU"].values[user] == pytest.approx(len(set(mine)) / (days + 1))
        assert metrics["exposures"].values[user] == pytest.approx(len(mine) / (days + 1))


@given(st.integers(0, 10_000), st.sampled_from([HALVES, {"control": 0.2, "treatment": 0.3}]))
def test_shared_creators_are_counted_among_each_arms_users(seed: int, shares: dict) -> None:
    log, found = random_log(seed, Design.USER_DIVERTED, shares)
    metrics = creator_metrics(log, found, Window(0, 11), [1, 10], 4)
    for arm, share in enumerate(shares.values()):
        for creator in range(20):
            mine = [item for item in range(40) if log.creator[item] == creator]
            shown = [
                sum(
                    one == item and 0 <= day - log.upload[item] < 4 and found.user_arm[user] == arm
                    for user, one, day in events(log)
                )
                for item in mine
            ]
            assert metrics["ExpoReach-10"].values[arm, creator] == sum(count >= 10 * share for count in shown)
            assert metrics["exposures"].values[arm, creator] == pytest.approx(sum(shown) / share)
    assert "cannot be held against 1 exposures" in metrics["ExpoReach-1"].missing
    assert "belongs to no arm" in metrics["DAC"].missing
    assert ("do not cover alike" in metrics["coverage"].missing) == (shares != HALVES)


@pytest.mark.parametrize("design", list(Design))
def test_a_design_says_what_it_cannot_tell(design: Design) -> None:
    log, found = random_log(3, design)
    frame = analyse(creator_metrics(log, found, Window(0, 11), [3]), found.creator_arm, found.arms)
    users = analyse(user_metrics(log, found, Window(0, 11)), found.user_arm, found.arms)
    untold = set(frame.metric[np.isnan(frame.difference)]), set(users.metric[np.isnan(users.difference)])
    expected = {
        Design.CO_DIVERTED: (set(), set()),
        Design.USER_DIVERTED: ({"DAC", "uploads"}, set()),
        Design.CREATOR_ONLY: (set(), {"DAU", "exposures"}),
    }[design]
    assert untold == expected
    assert all(frame.note[np.isnan(frame.difference)]) and all(users.note[np.isnan(users.difference)])


def test_days_before_the_test_adjust_means_alone() -> None:
    log, found = random_log(4, Design.CO_DIVERTED)
    plain = creator_metrics(log, found, Window(0, 5), [3])
    both = creator_metrics(log, found, Window(6, 11), [3], before=Window(0, 5))
    assert both["coverage"].before is None
    for name in ("DAC", "uploads", "exposures", "ExpoReach-3"):
        assert np.array_equal(both[name].before, plain[name].values)
    users = user_metrics(log, found, Window(6, 11), Window(0, 5))
    assert np.array_equal(users["DAU"].before, user_metrics(log, found, Window(0, 5))["DAU"].values)


@given(st.integers(0, 10_000))
def test_active_creators_by_day(seed: int) -> None:
    log, found = random_log(seed, Design.CO_DIVERTED)
    table = active_creators(log, found, Window(2, 9))
    for arm in (0, 1):
        for day in range(2, 10):
            mine = {c for c, up in zip(log.creator.tolist(), log.upload.tolist(), strict=True) if up == day and c >= 0}
            assert table[arm, day - 2] == sum(found.creator_arm[creator] == arm for creator in mine)


def test_crossings_are_counted() -> None:
    log, found = random_log(5, Design.CO_DIVERTED)
    slow = sum(
        log.creator[item] >= 0 and found.user_arm[user] != found.creator_arm[log.creator[item]]
        for user, item, _ in events(log)
    )
    assert crossings(log, found, Window(0, 11)) == slow > 0
    assert crossings(*random_log(5, Design.USER_DIVERTED), Window(0, 11)) == 0
    assert crossings(log, found, Window(0, 5)) + crossings(log, found, Window(6, 11)) == slow


def test_a_known_effect_is_found_in_a_log_without_leaks() -> None:
    """Each item of a treatment creator is shown 1.3 times as often; arms of a co-diverted test, then its control alone."""
    rng = np.random.default_rng(0)
    found = assign("co_diverted", HALVES, 1, np.arange(2_000), np.arange(10_000, 14_000))
    creator = rng.integers(0, 2_000, 6_000)
    times = rng.poisson(20 * rng.lognormal(0, 0.5, 6_000) * np.where(found.creator_arm[creator] == 1, 1.3, 1.0))
    item = np.repeat(np.arange(6_000), times)
    arm = found.creator_arm[creator[item]]
    by_arm = [np.flatnonzero(found.user_arm == one) for one in (0, 1)]
    user = np.where(arm == 0, rng.choice(by_arm[0], len(item)), rng.choice(by_arm[1], len(item)))
    upload = rng.integers(0, 7, 6_000)
    log = ExposureLog(user, item, upload[item], creator, upload)
    assert crossings(log, found, Window(0, 6)) == 0
    frame = analyse(creator_metrics(log, found, Window(0, 6), [25]), found.creator_arm, found.arms).set_index("metric")
    assert frame.low["exposures"] < 0.3 < frame.high["exposures"] and frame.p["exposures"] < 1e-4
    truth = [np.mean(rng.poisson(20 * lift * rng.lognormal(0, 0.5, 400_000)) >= 25) for lift in (1.0, 1.3)]
    assert frame.low["ExpoReach-25"] < truth[1] / truth[0] - 1 < frame.high["ExpoReach-25"]
    assert frame.p["DAC"] > 0.01 < frame.p["uploads"]


def test_a_shared_item_hides_part_of_the_effect() -> None:
    """What users of one arm do for an item shows it to the other's too: half of the lift leaks, half is seen."""
    rng = np.random.default_rng(1)
    found = assign("user_diverted", HALVES, 1, np.arange(500), np.arange(4_000))
    by_arm = [np.flatnonzero(found.user_arm == one) for one in (0, 1)]
    lift, parts = 0.4, []
    for arm, factor in enumerate((1 + lift / 2, 1 + lift)):
        times = rng.poisson(30 * factor, 2_000)
        parts.append((np.repeat(np.arange(2_000), times), rng.choice(by_arm[arm], times.sum())))
    item, user = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    log = ExposureLog(user, item, np.zeros(len(item), int), rng.integers(0, 500, 2_000), np.zeros(2_000, int))
    frame = analyse(creator_metrics(log, found, Window(0, 0), [50]), found.creator_arm, found.arms).set_index("metric")
    assert frame.difference["exposures"] == pytest.approx(1.4 / 1.2 - 1, abs=0.02)
    assert frame.high["exposures"] < lift


@given(st.permutations(range(8)), st.booleans())
def test_ids_become_rows(order: list[int], text: bool) -> None:
    ids = np.array(order) * 10
    known = ids.astype(str) if text else ids
    assert rows_of(known, known[[3, 0, 3]], "user").tolist() == [3, 0, 3]
    found = assign("co_diverted", HALVES, 0, ["a", "b"], known)
    log = exposure_log(
        found, (known[[1, 5]], ["y", "x"], np.array([4, 5])), (["x", "y"], np.array([1, -1]), np.zeros(2))
    )
    assert log.user.tolist() == [1, 5] and log.item.tolist() == [1, 0]
    with pytest.raises(InputError, match="item id 'z' at position 1 is unknown"):
        exposure_log(found, (known[:2], ["x", "z"], np.zeros(2)), (["x", "y"], np.zeros(2), np.zeros(2)))
    with pytest.raises(InputError, match="item id 'x' stands twice"):
        exposure_log(found, (known[:1], ["x"], np.zeros(1)), (["x", "x"], np.zeros(2), np.zeros(2)))


def test_what_is_unfit_is_refused() -> None:
    log, found = random_log(0, Design.CO_DIVERTED)
    with pytest.raises(InputError, match="days 3 to 2"):
        Window(3, 2)
    for reach, within in (([0], 7), ([5], 0)):
        with pytest.raises(InputError, match="expected numbers from 1"):
            creator_metrics(log, found, Window(0, 3), reach, within)
    assert item_exposures(log, Window(50, 60), 5).sum() == 0
