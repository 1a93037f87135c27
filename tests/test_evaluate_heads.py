"""`dualrec evaluate-heads`, from a small folder made like KuaiRand's to the table and its JSON."""

import json
from pathlib import Path

import numpy as np
import pytest

from dualrec.alloc.cli import run
from dualrec.alloc.config import load_config
from dualrec.alloc.errors import InputError
from dualrec.alloc.evaluate_heads import evaluate_heads, split_rows
from dualrec.alloc.model_log import model_log
from dualrec.alloc.parquet import write_parquet
from dualrec.alloc.progress import NullProgress
from dualrec.alloc.readers import read_tables
from dualrec.alloc.readers.kuairand import DAY_START_MS
from dualrec.alloc.readers.kuairand_columns import feature_sources
from dualrec.alloc.tables import DAY_MS

SMALL = [
    "ranker.trees=20",
    "ranker.bags=1",
    "ranker.epochs=6",
    "ranker.batch=128",
    "ranker.experts=2",
    "ranker.width=4",
]
SMALL += [
    "ranker.test_days=2",
    "ranker.min_positives=10",
    "ranker.resamples=20",
    "ranker.learning_rate=0.2",
    "ranker.column_share=0.6",
]


def made_folder(folder: Path, rows: int = 1500, **changes: np.ndarray) -> Path:
    """Eight days of rows of 40 users with 200 videos; each user likes to look at either short or long ones."""
    generator = np.random.default_rng(3)
    user, video = generator.integers(0, 40, rows), generator.integers(0, 200, rows)
    duration = np.where(np.arange(200) % 2, 60_000, 8_000)
    seen = generator.random(rows) < np.where((user % 2) == (video % 2), 0.8, 0.2)
    log = {
        "user_id": user + 100,
        "video_id": video * 3,
        "time_ms": DAY_START_MS + generator.integers(0, 8 * DAY_MS, rows),
        "label": (generator.random(rows) < 0.8).astype(int),
        "is_click": seen.astype(int),
        "long_view": (seen & (generator.random(rows) < 0.9)).astype(int),
        "is_comment": (generator.random(rows) < 0.1 + 0.1 * (user % 3)).astype(int),
        "is_follow": (np.arange(rows) % 400 == 0).astype(int),
        "is_forward": np.zeros(rows, int),
        "is_profile_enter": (generator.random(rows) < 0.15).astype(int),
        "play_time_ms": np.where(seen, 20_000, 1_000),
        "duration_ms": duration[video],
        "comment_stay_time": generator.integers(0, 2_000, rows),
    } | changes
    words = ("user_active_degree", "follow_user_num_range", "fans_user_num_range", "friend_user_num_range")
    numbers = [f"onehot_feat{number}" for number in range(18)] + ["is_live_streamer", "is_video_author"]
    numbers += ["follow_user_num", "fans_user_num", "friend_user_num", "register_days"]
    users: dict[str, object] = {"user_id": np.arange(90, 135)} | {name: np.arange(45) % 5 for name in numbers}
    users |= {name: ["a", "b", "c"] * 15 for name in (*words, "register_days_range")}
    videos = {
        "video_id": [0, 3],
        "author_id": [1, 2],
        "upload_dt": ["2022-04-08", "2022-04-09"],
        "tag": ["20,43", None],
    }
    folder.mkdir(exist_ok=True)
    write_parquet(folder / "like_hate_27k_excerpt.parquet", log)
    write_parquet(folder / "user_features_pure.parquet", users)
    write_parquet(folder / "video_features_basic_pure.parquet", videos)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_folder(tmp_path_factory.mktemp("kuairand"))


def test_from_the_command_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate-heads", "--config", "kuairand", "--data", str(data), "--out", str(tmp_path), *SMALL]
    assert run(command) == 0
    text = capsys.readouterr().out
    path = tmp_path / "evaluation" / "heads-kuairand.json"
    first = path.read_bytes()
    found = json.loads(first)
    assert f"figures: {path}" in text and "like is left out: rows were chosen by it" in text
    assert "follow is left out" in text and "share is left out" in text
    assert found["train_rows"] + found["test_rows"] == 1500
    records = {(record["head"], record["ranker"]): record for record in found["heads"]}
    heads, rankers = ("click", "effective_view", "comment", "profile_visit"), ("heads", "cross", "experts", "both")
    assert set(records) == {(head, ranker) for head in heads for ranker in rankers}
    for record in records.values():
        assert record["auc_low"] <= record["auc"] <= record["auc_high"]
        assert abs(record["predicted"] - record["observed"]) < 0.15
        assert record["positives"] >= 10 and 0 < record["brier"] < 0.3
    for ranker in ("cross", "both"):
        assert records["click", ranker]["auc"] > max(0.7, records["click", "heads"]["auc"] + 0.1)
    path.unlink()
    assert run(command) == 0
    assert path.read_bytes() == first


def test_rankers_that_are_not_asked_for_are_not_fitted(data: Path, tmp_path: Path) -> None:
    settings = [*SMALL, f'data.path="{data}"', f'out="{tmp_path}"', "ranker.kinds=[cross]", "ranker.known=day"]
    text = evaluate_heads(load_config("kuairand", settings), NullProgress())
    assert "cross" in text and "experts" not in text and "both" not in text


def test_the_last_days_are_the_test(data: Path) -> None:
    tables = read_tables("kuairand", data)
    split = split_rows(tables, data, load_config("kuairand", SMALL))
    assert np.floor(split.log.day[split.first :]).min() == tables.last_day - 1
    assert np.floor(split.log.day[: split.first]).max() == tables.last_day - 2


def test_measurements_stand_beside_their_interactions(tmp_path: Path) -> None:
    """Repeated rows are left out of the tables; two that differ in feedback alone are both kept."""
    folder = made_folder(tmp_path / "data", 300)
    generator = np.random.default_rng(5)
    user, video = generator.integers(0, 3, 300), generator.integers(0, 3, 300)
    time = DAY_START_MS + generator.integers(0, 40, 300) * 3_600_000
    folder = made_folder(
        tmp_path / "data",
        300,
        user_id=user + 100,
        video_id=video * 3,
        time_ms=time,
        play_time_ms=(time - DAY_START_MS) // 3_600_000 * 1000 + user * 100_000,
        duration_ms=video * 1000,
    )
    tables = read_tables("kuairand", folder)
    log = model_log(tables, ())
    sources = feature_sources(folder, tables, log)
    expected = np.round(log.day * 24) + 100 * log.user
    np.testing.assert_allclose(np.expm1(sources.measured["watch time"]), expected, rtol=1e-6)
    np.testing.assert_array_equal(sources.item_numbers["duration"], tables.items.ids // 3)


def test_bad_input_is_one_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--out", str(tmp_path), *SMALL]
    for arguments, said in (
        (["--config", "nightly"], "data.reader is world, which has no files"),
        ([], "data.path is not given; name the folder of the kuairand files with --data"),
        (["--data", str(data), "ranker.test_days=8"], "no day before day"),
        (["--data", str(data), "ranker.min_positives=100000"], "no head can be judged on the last 2 days"),
        (["--data", str(data), "ranker.kinds=[cros]"], "ranker.kinds"),
    ):
        assert run(["evaluate-heads", *place, *arguments]) == 2
        line = capsys.readouterr().err
        assert said in line and line.count("\n") == 1
    assert not list(tmp_path.rglob("heads-*"))


def test_a_head_that_cannot_be_learnt_is_named(tmp_path: Path) -> None:
    comment = np.zeros(1500, int)
    folder = made_folder(tmp_path / "data")
    late = np.argsort(read_times(folder), kind="stable")[-200:]
    comment[late] = np.arange(200) % 2
    made_folder(tmp_path / "data", is_comment=comment)
    settings = [*SMALL, f'data.path="{folder}"', f'out="{tmp_path}"']
    with pytest.raises(InputError, match="the days before the test: head 'comment' never happened in the"):
        evaluate_heads(load_config("kuairand", settings), NullProgress())


def read_times(folder: Path) -> np.ndarray:
    import pyarrow.parquet as pq

    return np.asarray(pq.read_table(folder / "like_hate_27k_excerpt.parquet")["time_ms"].to_numpy())
