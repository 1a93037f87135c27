"""The activity model: features against a slow twin, no future in them, calibration, threads, files."""

import json
import math
import pickle
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dualrec.models.activity import ActivityModel, TrainingRows, train_activity, training_rows
from dualrec.models.activity_features import activity_features, mark_sessions
from dualrec.models.log import Log
from dualrec.models.metrics import auc, calibration_table, decayed_count, expected_calibration_error
from dualrec.models.options import ActivityOptions


def random_log(seed: int, count: int = 300, users: int = 12, days: int = 12) -> Log:
    """Visits in bursts; user 0 never comes; the items' upload times lie anywhere."""
    generator = np.random.default_rng(seed)
    bursts = generator.uniform(0, days, count // 6)
    day = np.sort(np.minimum(generator.choice(bursts, count) + generator.exponential(0.01, count), days - 1e-6))
    like = generator.random(count) < 0.3
    return Log(
        user=generator.integers(1, users, count).astype(np.int32),
        item=generator.integers(0, 25, count).astype(np.int32),
        day=day,
        kinds={"click": ~like, "like": like},
        context={"device": generator.integers(-1, 4, count).astype(np.int32)},
        users=users,
        items=25,
        upload=generator.uniform(0, days, 25),
        token=generator.integers(-1, 4, 25).astype(np.int32),
        tokens=4,
        content=np.zeros((25, 0), np.float32),
        rest_days=(3, 9),
        first_weekday=2,
    )


def slow_features(log: Log, day: int, history_days: int, user: int) -> dict[str, float]:
    """One user's features at the end of ``day``, one interaction at a time."""
    mine = [row for row in range(len(log)) if log.user[row] == user and log.day[row] < day + 1]
    before = {row: log.day[row] - log.day[last] for last, row in pairwise(mine)}
    rows = [row for row in mine if log.day[row] >= day + 1 - history_days]
    starts = [row for row in rows if row == mine[0] or before[row] > 0.5 / 24]
    ages = {row: day + 1 - log.day[row] for row in rows}
    out: dict[str, float] = {}
    for life in (0.5, 1.5, 4.0, 10.0):
        out[f"count_half_life_{life}"] = math.log1p(sum(0.5 ** (ages[row] / life) for row in rows))
    for life in (1.0, 3.0):
        out[f"sessions_half_life_{life}"] = math.log1p(sum(0.5 ** (ages[row] / life) for row in starts))
    whole = {row: math.floor(log.day[row]) for row in rows}
    for back in range(7):
        out[f"count_{back}_days_ago"] = sum(whole[row] == day - back for row in rows)
    days = range(max(math.floor(log.day[0]), day + 1 - history_days), day + 1)
    for kind, flags in log.kinds.items():
        out[f"{kind}s_a_day"] = sum(bool(flags[row]) for row in rows) / len(days)
    gaps = [before[row] for row in starts if row != mine[0]]
    out["recency"] = min(ages.values(), default=math.nan)
    out["tenure"] = max(ages.values(), default=math.nan)
    out["sessions_a_day"] = len(starts) / len(days)
    out["mean_gap"] = float(np.mean(gaps)) if gaps else math.nan
    out["recency_in_gaps"] = out["recency"] / out["mean_gap"]
    out["interactions_a_session"] = len(rows) / len(starts) if starts else math.nan

    def rests(one: int) -> bool:
        return (one + log.first_weekday) % 7 in (5, 6) or one in log.rest_days

    visited, target = set(whole.values()), day + 1

    def share(sort: Callable[[int], bool]) -> float:
        possible = sum(sort(one) for one in days)
        return sum(sort(one) for one in visited) / possible if possible else math.nan

    out["share_days"] = len(visited) / len(days)
    out["share_days_same_sort"] = share(lambda one: rests(one) == rests(target))
    out["share_days_other_sort"] = share(lambda one: rests(one) != rests(target))
    out["share_days_same_weekday"] = share(lambda one: (one - target) % 7 == 0)
    out["share_evenings"] = len({whole[row] for row in rows if log.day[row] % 1 >= 0.75}) / len(days)
    out["target_rests"] = rests(target)
    out["target_weekday"] = (target + log.first_weekday) % 7
    old = [row for row in rows if log.upload[log.item[row]] < day]
    item_ages = [min(max(log.day[row] - log.upload[log.item[row]], 0), 5) for row in old]
    out["distinct_items_a_day"] = len({log.item[row] for row in old}) / len(days)
    out["distinct_tokens_a_day"] = len({log.token[log.item[row]] for row in old}) / len(days)
    out["mean_item_age"] = float(np.mean(item_ages)) if old else math.nan
    for part in range(4):
        hits = sum(part * 6 <= log.day[row] % 1 * 24 < part * 6 + 6 for row in rows)
        out[f"share_hours_{6 * part}_{6 * part + 6}"] = hits / len(rows) if rows else math.nan
    for name, codes in log.context.items():
        out[f"last_{name}"] = codes[rows[-1]] if rows else -1
    return out


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("day", "history_days"), [(0, 30), (7, 3), (10, 30), (20, 30), (25, 2)])
def test_features_agree_with_one_user_at_a_time(seed: int, day: int, history_days: int) -> None:
    log = random_log(seed)
    features, names = activity_features(mark_sessions(log), day, history_days)
    assert features.dtype == np.float32 and features.shape == (12, len(names))
    for user in range(12):
        slow = slow_features(log, day, history_days, user)
        assert set(slow) == set(names)
        np.testing.assert_allclose(features[user], [slow[name] for name in names], rtol=1e-5, atol=1e-6)


def test_features_of_an_empty_log_and_of_no_users() -> None:
    log = random_log(1).take(slice(0, 0))
    features, names = activity_features(mark_sessions(log), 5, 30)
    assert features.shape == (12, len(names))
    assert (features[:, names.index("recency")] != features[:, names.index("recency")]).all()
    nobody = Log(**{**vars(log), "users": 0})
    assert activity_features(mark_sessions(nobody), 5, 30)[0].shape == (0, len(names))


def test_what_comes_after_a_day_changes_neither_features_nor_rows() -> None:
    log = random_log(5)
    later = np.flatnonzero(log.day >= 8)
    generator = np.random.default_rng(0)
    user, item, kind = log.user.copy(), log.item.copy(), log.kinds["like"].copy()
    user[later], item[later] = generator.permutation(user[later]), generator.permutation(item[later])
    kind[later] = ~kind[later]
    day = log.day.copy()
    day[later] = np.sort(generator.uniform(8, 12, len(later)))
    changed = Log(**{**vars(log), "user": user, "item": item, "day": day, "kinds": {**log.kinds, "like": kind}})
    for end in range(8):
        one, two = (activity_features(mark_sessions(each), end, 30)[0] for each in (log, changed))
        assert one.tobytes() == two.tobytes()
    options = ActivityOptions(train_days=3)
    rows, others = (training_rows(mark_sessions(each), 7, options, 1) for each in (log, changed))
    assert rows.features.tobytes() == others.features.tobytes()
    assert (rows.visited == others.visited).all()


def test_training_rows_are_the_known_users_of_each_day() -> None:
    log, days = random_log(6), []
    visits = mark_sessions(log)
    rows = training_rows(visits, 10, ActivityOptions(train_days=3), 1, lambda: days.append(1))
    known = [np.flatnonzero(log.between(0, past).known()) for past in (7, 8, 9)]
    assert len(days) == 3
    assert len(rows.visited) == sum(map(len, known))
    came = [
        np.isin(users, log.user[np.floor(log.day) == past + 1]) for users, past in zip(known, (7, 8, 9), strict=True)
    ]
    assert (rows.visited == np.concatenate(came)).all()
    assert (rows.held_out == (np.concatenate(known) % 5 == 0)).all()
    # Day 0 is a Wednesday: days 8 and 11 rest not, day 9 rests (a holiday), day 10 is a Saturday.
    resting = log.is_rest(np.array([8, 9, 10, 11]))
    times = [0.8**back * (5 if resting[2 - back] == resting[3] else 1) for back in (2, 1, 0)]
    assert (rows.weight == np.repeat(times, [len(users) for users in known])).all()


@pytest.mark.parametrize("target_days", [2, 4])
def test_rows_of_several_target_days_end_with_the_night(target_days: int) -> None:
    log, options = random_log(6, count=120), ActivityOptions(train_days=3, target_days=target_days)
    rows = training_rows(mark_sessions(log), 9, options, 1)
    past = [9 - target_days - back for back in (2, 1, 0)]
    known = [np.flatnonzero(log.between(0, day).known()) for day in past]
    came = [
        [
            any(u == user and day + 1 <= d < day + 1 + target_days for u, d in zip(log.user, log.day, strict=True))
            for user in users
        ]
        for users, day in zip(known, past, strict=True)
    ]
    assert rows.visited.tolist() == [one for day in came for one in day]
    assert (rows.weight == np.repeat([0.8**back for back in (2, 1, 0)], [len(users) for users in known])).all()
    seen = training_rows(mark_sessions(log.between(0, 9)), 9, options, 1)
    assert seen.features.tobytes() == rows.features.tobytes() and (seen.visited == rows.visited).all()
    with pytest.raises(ValueError, match="no interaction before day 0"):
        training_rows(mark_sessions(log), target_days - 1, options, 1)


def test_at_most_max_rows_are_taken_the_same_for_the_same_seed() -> None:
    visits = mark_sessions(random_log(7, count=4000, users=900))
    options = ActivityOptions(train_days=4, max_rows=1000)
    rows = training_rows(visits, 9, options, 1)
    assert 990 <= len(rows.visited) <= 1000
    assert rows.features.tobytes() == training_rows(visits, 9, options, 1).features.tobytes()
    assert rows.features.tobytes() != training_rows(visits, 9, options, 2).features.tobytes()


def test_a_model_needs_a_day_before() -> None:
    log = random_log(8)
    for short in (log, log.take(slice(0, 0))):
        with pytest.raises(ValueError, match="no interaction before day 0"):
            training_rows(mark_sessions(short), 0, ActivityOptions(), 1)


@pytest.mark.parametrize("came", [True, False])
def test_a_model_needs_both_outcomes(came: bool) -> None:
    rows = rows_of(50)
    same = TrainingRows(rows.features, np.full(50, came), rows.weight, rows.held_out, rows.names)
    with pytest.raises(ValueError, match="everybody" if came else "nobody"):
        train_activity(same, ActivityOptions(), 1)


def test_a_single_held_out_user_is_too_few() -> None:
    rows = rows_of(1)
    with pytest.raises(ValueError, match="of the 0 training rows"):
        train_activity(rows, ActivityOptions(), 1)


def rows_of(count: int) -> TrainingRows:
    generator = np.random.default_rng(count)
    features = generator.normal(size=(count, 3)).astype(np.float32)
    held_out = np.arange(count) % 5 == 0
    return TrainingRows(features, generator.random(count) < 0.4, np.ones(count), held_out, ["a", "b", "c"])


@pytest.fixture(scope="module")
def habits() -> Log:
    """3000 users, each with a chance to come on work days and another on rest days; 5 weeks."""
    generator = np.random.default_rng(11)
    users, days = 3000, 35
    rest = np.arange(days) % 7 >= 5
    chance = np.where(rest, *generator.beta(0.5, 1.2, (2, users, 1)))
    user, day = np.nonzero(generator.random((users, days)) < chance)
    visits = np.repeat(np.arange(len(user)), generator.integers(1, 4, len(user)))
    time = day[visits] + np.minimum(
        generator.random(len(user))[visits] + generator.exponential(0.005, len(visits)), 0.999
    )
    order = np.argsort(time, kind="stable")
    return Log(
        user=user[visits][order].astype(np.int32),
        item=np.zeros(len(order), np.int32),
        day=time[order],
        kinds={"click": np.ones(len(order), bool)},
        users=users,
        items=1,
        upload=np.zeros(1),
        token=np.zeros(1, np.int32),
        tokens=1,
        content=np.zeros((1, 0), np.float32),
    )


DAY = 32  # a Friday: Saturday is to be predicted
OPTIONS = ActivityOptions(trees=40, depth=4)


@pytest.fixture(scope="module")
def model(habits: Log) -> ActivityModel:
    return train_activity(training_rows(mark_sessions(habits), DAY, OPTIONS, 1), OPTIONS, threads=1)


def test_predictions_are_calibrated_and_beat_a_decayed_count(habits: Log, model: ActivityModel) -> None:
    past = habits.between(0, DAY)
    features, names = activity_features(mark_sessions(past), DAY, OPTIONS.history_days)
    known, came = past.known(), habits.active(DAY + 1)
    p = model.predict(features)
    assert names == model.names
    assert p.dtype == np.float32 and ((p > 0) & (p < 1)).all()
    plain = decayed_count(past.user, DAY + 1 - past.day, past.users)
    assert auc(came[known], p[known]) > auc(came[known], plain[known]) + 0.05
    assert expected_calibration_error(calibration_table(came[known], p[known])) < 0.04
    assert p[known].mean() == pytest.approx(came[known].mean(), abs=0.03)


def test_rows_are_predicted_one_by_one(habits: Log, model: ActivityModel) -> None:
    features, _ = activity_features(mark_sessions(habits.between(0, DAY)), DAY, OPTIONS.history_days)
    some = np.array([5, 2999, 17])
    assert (model.predict(features[some]) == model.predict(features)[some]).all()
    assert model.predict(features[:0]).shape == (0,)


def test_the_model_does_not_depend_on_threads(habits: Log, model: ActivityModel, tmp_path: Path) -> None:
    other = train_activity(training_rows(mark_sessions(habits), DAY, OPTIONS, 1), OPTIONS, threads=2)
    files = []
    for number, each in enumerate((model, other)):
        folder = tmp_path / str(number)
        folder.mkdir()
        each.save(folder)
        files.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert len(files[0]) == 2
    assert files[0] == files[1]
    features, _ = activity_features(mark_sessions(habits), DAY, OPTIONS.history_days)
    assert model.predict(features).tobytes() == other.predict(features).tobytes()


def test_a_saved_model_predicts_the_same_bits(habits: Log, model: ActivityModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded = ActivityModel.load(tmp_path)
    features, _ = activity_features(mark_sessions(habits), DAY, OPTIONS.history_days)
    assert loaded.names == model.names
    assert loaded.predict(features).tobytes() == model.predict(features).tobytes()


class Runs:
    """What a pickle of a hostile file would do when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_damaged_and_foreign_files_are_refused_and_run_nothing(model: ActivityModel, tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    model.save(tmp_path / "good")
    ran = tmp_path / "ran"
    good = {path.name: path.read_bytes() for path in (tmp_path / "good").iterdir()}
    trees, scaling = sorted(good)
    foreign = json.dumps({"slope": 1, "offset": 0}).encode()
    bad = [
        (trees, good[trees].replace(b'"right_children":[2,', b'"right_children":[9000000,', 1)),
        (trees, b""),
        (trees, good[trees][: len(good[trees]) // 2]),
        (trees, b"{}"),
        (trees, pickle.dumps(Runs(ran))),
        (scaling, b""),
        (scaling, good[scaling][:-20]),
        (scaling, b"[]"),
        (scaling, b'{"slope": 1, "offset": null, "features": []}'),
        (scaling, pickle.dumps(Runs(ran))),
        (scaling, foreign),
    ]
    for number, (name, content) in enumerate(bad):
        folder = tmp_path / str(number)
        assert content != good[name]
        shutil.copytree(tmp_path / "good", folder)
        (folder / name).write_bytes(content)
        with pytest.raises(ValueError):
            ActivityModel.load(folder)
    with pytest.raises(OSError):
        ActivityModel.load(tmp_path / "nowhere")
    assert not ran.exists()
