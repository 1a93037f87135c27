"""An evaluation on category scores: against scores counted by hand, over several days, and going on after a stop."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dualrec.alloc import cli
from dualrec.alloc.artifacts import load_array, load_json
from dualrec.alloc.category_scores import CATEGORY_PRIOR, TOTAL_PRIOR, CategoryScores, category_affinity
from dualrec.alloc.config import Config, load_config
from dualrec.alloc.errors import InputError
from dualrec.alloc.evaluate_category import evaluate_category
from dualrec.alloc.evaluate_days import evaluate_days
from dualrec.alloc.generic_writer import write_tables
from dualrec.alloc.night_view import NightView, load_view
from dualrec.alloc.progress import NullProgress
from dualrec.alloc.world import WorldOptions, make_world
from dualrec.models.log import Log

DEMAND, CAPACITY = 15, 2
SMALL = ("activity.trees=10", f"allocation.demand={DEMAND}", f"allocation.capacity={CAPACITY}", "evaluate.min_truth=2")

Settings = Callable[..., Config]


class Notes(NullProgress):
    """Keeps what is said; an interrupt comes at the line ``stop``."""

    def __init__(self, stop: str = "") -> None:
        self.lines: list[str] = []
        self.stop = stop

    def note(self, text: str) -> None:
        self.lines.append(text)
        if self.stop and text.strip().startswith(self.stop):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world on disk: 12 items a day, of five topics or none, made by some of the users."""
    folder = tmp_path_factory.mktemp("data")
    options = WorldOptions(users=400, creators=60, items_per_day=12, days=13, content_dim=8, topics=5)
    write_tables(make_world(options, 3), folder)
    return folder


@pytest.fixture
def settings(data: Path, tmp_path: Path) -> Settings:
    def make(*more: str, out: Path = tmp_path / "out", folder: Path = data) -> Config:
        return load_config("nightly", ["data.reader=generic", f"data.path={folder}", f"out={out}", *SMALL, *more])

    return make


def work(config: Config) -> Path:
    return Path(config.out) / "evaluation" / "work"


def figures(config: Config) -> dict[str, Any]:
    name = f"world-{config.data.regime}-category.json"
    return dict(load_json(Path(config.out) / "evaluation" / name))


def score_by_hand(past: Log, p_active: np.ndarray, item: int, user: int) -> float:
    """Share of the user's positives in the item's category, smoothed, times P(active)."""
    own, category = past.token[item], 0
    total = 0
    for row in range(len(past)):
        token = past.token[past.item[row]]
        if past.user[row] == user and token >= 0 and past.positive()[row]:
            total += 1
            category += int(token == own)
    return float((category + CATEGORY_PRIOR) / (total + TOTAL_PRIOR) * p_active[user])


def forbidden_by_hand(view: NightView) -> set[tuple[int, int]]:
    """(item row, user row) of pairs seen before, as far as the regime knows, and of authors."""
    tables = view.tables
    pairs = set(zip(view.past.item.tolist(), view.past.user.tolist(), strict=True))
    assert tables.creators is not None and tables.item_creator is not None
    row_of = {name: row for row, name in enumerate(tables.users.ids.tolist())}
    for item, creator in enumerate(tables.item_creator.tolist()):
        if creator >= 0 and tables.creators.ids[creator] in row_of:
            pairs.add((item, row_of[tables.creators.ids[creator]]))
    return pairs


def tiny_log(seed: int) -> Log:
    """60 interactions, 6 users, 8 items of three categories or none, some skipped; user 5 has none."""
    rng = np.random.default_rng(seed)
    skip = rng.random(60) < 0.2
    return Log(
        user=rng.integers(0, 5, 60).astype(np.int32),
        item=rng.integers(0, 8, 60).astype(np.int32),
        day=np.sort(rng.uniform(0, 4, 60)),
        kinds={"click": np.ones(60, bool), "skip": skip},
        users=6,
        items=8,
        upload=np.zeros(8),
        token=np.array([0, 1, 2, -1, 0, 1, 3, 3], np.int32),
        tokens=4,
        content=np.zeros((8, 0), np.float32),
    )


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_counted_by_hand_and_excluded_pairs_have_none(seed: int) -> None:
    log, users = tiny_log(seed), np.array([0, 1, 2, 3, 4, 5])
    p_active = np.linspace(0.1, 0.9, 6, dtype=np.float32)
    excluded = np.array([1 * 6 + 0, 3 * 6 + 2, 3 * 6 + 5])
    scores = CategoryScores(category_affinity(log, users), log.token, p_active, excluded)
    asked = np.array([3, 0, 1, 6, 0, 2])
    expected = [[score_by_hand(log, p_active, item, user) for user in range(6)] for item in asked]
    for row, user in ((2, 0), (0, 2), (0, 5)):
        expected[row][user] = 0.0
    rows = scores.rows(asked)
    assert rows.dtype == np.float32
    assert rows == pytest.approx(np.array(expected), rel=1e-6)
    assert (rows > 0).sum() == rows.size - len(excluded)


def test_a_category_that_nobody_met_has_everybodys_smallest_affinity() -> None:
    log = tiny_log(0)
    affinity = category_affinity(log.take(np.flatnonzero(log.token[log.item] != 3)), np.arange(6))
    assert (affinity.row(3) == affinity.base).all()
    assert (affinity.base > 0).all()
    assert affinity.base[5] == pytest.approx(CATEGORY_PRIOR / TOTAL_PRIOR)


@pytest.mark.parametrize("regime", ["strict_cold", "warm"])
def test_the_matches_are_worth_what_the_figures_say_and_none_is_excluded(settings: Settings, regime: str) -> None:
    config = settings(f"data.regime={regime}")
    evaluate_category(config, (9,), NullProgress())
    (result,) = figures(config)["days"].values()
    view, folder = load_view(work(config) / "tables"), work(config)
    users, items = load_array(folder / "affinity" / "users.npy"), load_array(folder / "affinity" / "items.npy")
    p_active = load_array(folder / "activity" / "p_active.npy")
    forbidden, past = forbidden_by_hand(view), view.past
    assert (items == view.new_items).all()
    assert any(item in set(items.tolist()) for item, _ in forbidden)
    for name, part in (("ours", "allocation"), ("first_come", "first_come")):
        item, user = (load_array(folder / "category" / f"{name}_{side}.npy") for side in ("item", "user"))
        pairs = list(zip(items[item].tolist(), users[user].tolist(), strict=True))
        assert len(set(pairs)) == len(pairs) == result["outcome"][name]["matches"]
        assert not forbidden & set(pairs)
        assert np.bincount(item).max() <= DEMAND
        assert np.bincount(user).max() <= CAPACITY
        counted = sum(score_by_hand(past, p_active, *pair) for pair in pairs)
        assert result[part]["value"] == pytest.approx(counted, rel=1e-5)
    assert result["allocation"]["bound_covers"] == "all pairs"
    assert result["allocation"]["gap"] <= config.allocation.gap


def test_the_table_has_a_line_for_each_day_and_one_for_all(settings: Settings) -> None:
    config = settings()
    head, *lines, path = evaluate_category(config, (9, 11), NullProgress()).splitlines()
    made = figures(config)
    assert [line.split()[0] for line in lines] == ["9", "11", "all"]
    assert Path(path.removeprefix("figures: ")).exists()
    assert head.split()[:3] == ["day", "value,", "x"]
    for line, result in zip(lines, [made["days"]["9"], made["days"]["11"], made["pooled"]], strict=True):
        ours, first = (result["outcome"][name] for name in ("ours", "first_come"))
        ratio = result["allocation"]["value"] / result["first_come"]["value"]
        assert ratio >= 1
        gap = f"{100 * result['allocation']['gap']:.3f}"
        true = f"{ours['came_true'] / first['came_true']:.3f}"
        assert line.split()[1:6] == [f"{ratio:.3f}", gap, str(ours["came_true"]), str(first["came_true"]), true]
    each, pooled = made["days"].values(), made["pooled"]
    assert pooled["allocation"]["value"] == pytest.approx(sum(day["allocation"]["value"] for day in each))
    assert pooled["outcome"]["ours"]["matches"] == sum(day["outcome"]["ours"]["matches"] for day in each)
    assert sorted(made["days"]["9"]["seconds"]) == ["activity", "affinity", "category", "tables"]


@pytest.mark.parametrize("stop", ["day 11", "round 0"])
def test_a_stopped_evaluation_goes_on_and_ends_alike(settings: Settings, tmp_path: Path, stop: str) -> None:
    whole = evaluate_category(settings(out=tmp_path / "whole"), (9, 11), NullProgress())
    config = settings()
    with pytest.raises(KeyboardInterrupt):
        evaluate_category(config, (9, 11), Notes(stop))
    assert not list((Path(config.out) / "evaluation").glob("*.json"))
    notes = Notes()
    table = evaluate_category(config, (9, 11), notes)
    reused = ["day 9: reused"] if stop == "day 11" else ["tables: reused", "affinity: reused", "activity: reused"]
    assert [line for line in notes.lines if "reused" in line] == reused
    assert without_seconds(table) == without_seconds(whole)
    again = Notes()
    assert evaluate_category(config, (9, 11), again) == table
    assert [line for line in again.lines if "reused" in line] == ["day 9: reused", "day 11: reused"]


def without_seconds(table: str) -> list[list[str]]:
    return [line.split()[:-2] for line in table.splitlines() if not line.startswith("figures")]


def test_the_days_of_the_models_scores_are_others(settings: Settings) -> None:
    config, notes = settings("towers.epochs=1"), Notes()
    evaluate_category(config, (9,), NullProgress())
    evaluate_days(config, (9,), notes)
    assert [line for line in notes.lines if "reused" in line] == ["tables: reused", "activity: reused"]
    assert sorted(path.name.count("category") for path in (Path(config.out) / "evaluation").glob("*.json")) == [0, 1]


def test_data_without_categories_is_refused_in_one_line_before_anything_is_trained(
    settings: Settings, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for path in data.glob("*.parquet"):
        table = pq.read_table(path)
        kept = table.drop_columns(["category"]) if path.name == "items.parquet" else table
        pq.write_table(kept, folder / path.name, write_page_checksum=True)
    config = settings(folder=folder)
    with pytest.raises(InputError, match="no categories, which --scores category needs"):
        evaluate_category(config, (9, 11), NullProgress())
    assert not (work(config) / "activity").exists()
    named = ["evaluate", "--days", "9", "--data", str(folder), "--out", str(tmp_path / "other"), "--scores", "category"]
    assert cli.run([*named, "data.reader=generic"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("dualrec: world has no categories")


def test_the_command_line_prints_the_table_and_refuses_other_scores(
    settings: Settings, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings()
    named = ["evaluate", "--days", "9", "--data", str(data), "--out", config.out, "data.reader=generic", *SMALL]
    assert cli.run([*named, "--scores", "category"]) == 0
    assert capsys.readouterr().out.startswith("day  value, x")
    assert json.loads(next((Path(config.out) / "evaluation").glob("*-category.json")).read_text())["pooled"]
    assert cli.run([*named, "--scores", "towers"]) == 2
    assert "--scores" in capsys.readouterr().err
