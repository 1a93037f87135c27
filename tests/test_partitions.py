"""Stages by parts: the same bytes for any engine and any number of workers."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dualrec.alloc.bench_scoring import random_scorer
from dualrec.alloc.config import Config, load_config
from dualrec.alloc.errors import InputError
from dualrec.alloc.night import NightResult, run_key
from dualrec.alloc.partitioned_rows import PartitionedRows
from dualrec.alloc.partitions import ThreadEngine, given, make_engine, ranges
from dualrec.alloc.scorer import ROWS, block_items, row_source
from dualrec.models.activity_features import activity_features, mark_sessions
from dualrec.solvers.certificate import certify
from dualrec.solvers.problem import Problem

Night = Callable[..., NightResult]
STAGES = ("tables", "activity", "retrieval", "ranking", "candidates")
TIMED = {"candidates.json"}  # its rounds have their seconds


def written(out: Path, stages: tuple[str, ...] = STAGES) -> dict[str, str]:
    """Checksum of every file of the stages, but those that hold seconds."""
    return {
        f"{stage}/{name}": record["sha256"]
        for stage in stages
        for name, record in json.loads((out / "work" / stage / "manifest.json").read_text())["files"].items()
        if name not in TIMED
    }


def without_seconds(out: Path) -> dict[str, object]:
    about = json.loads((out / "work" / "candidates" / "candidates.json").read_text())
    for record in about["rounds"]:
        del record["seconds"], record["search_seconds"]
    return about


@pytest.fixture
def engine() -> Iterator[ThreadEngine]:
    made = ThreadEngine(3)
    yield made
    made.close()


# The engine


def power(base: int, part: int) -> int:
    return base**part


def refuse(part: int) -> int:
    if part == 3:
        raise InputError("part 3 is not there")
    return part


def test_answers_come_in_order_of_the_parts(engine: ThreadEngine) -> None:
    assert list(engine.run(power, range(40), engine.share(given, 3))) == [3**part for part in range(40)]
    assert list(engine.run(refuse, [])) == []


def test_what_is_shared_is_made_once(engine: ThreadEngine) -> None:
    made: list[int] = []

    def make(base: int) -> int:
        made.append(base)
        return base

    shared = engine.share(make, 2)
    assert sum(engine.run(power, range(5), shared)) == sum(engine.run(power, range(5), shared)) == 31
    assert made == [2]
    engine.rest()
    assert list(engine.run(power, [3], shared)) == [8]
    assert made == [2, 2]


def test_an_error_of_a_part_comes_through(engine: ThreadEngine) -> None:
    with pytest.raises(InputError, match="part 3 is not there"):
        list(engine.run(refuse, range(9)))
    assert list(engine.run(refuse, [4])) == [4]


def test_few_parts_are_begun_ahead(engine: ThreadEngine) -> None:
    begun: list[int] = []
    answers = engine.run(begun.append, range(50))
    next(answers)
    assert len(begun) <= 2 * engine.workers + 1
    answers.close()


def test_ranges_are_cut_by_the_data_alone() -> None:
    assert ranges(7, 3) == [(0, 3), (3, 6), (6, 7)]
    assert ranges(0, 3) == []


@pytest.mark.parametrize(("users", "items"), [(0, ROWS), (17_488, ROWS), (262_144, 64), (300_000, 32), (30_000_000, 1)])
def test_blocks_of_items_are_powers_of_two(users: int, items: int) -> None:
    assert block_items(users) == items
    assert 1024 % items == 0


# Parts of stages


def test_a_source_by_workers_gives_the_bytes_of_one_process(engine: ThreadEngine) -> None:
    scorer, rng = random_scorer(2 * ROWS + 9, 700, 8, 1), np.random.default_rng(4)
    alone, spread = row_source(scorer, 1), PartitionedRows(scorer, engine)
    prices, available = 1e-4 * rng.random(700), rng.random(700) < 0.8
    for rows in (np.arange(alone.items), np.flatnonzero(rng.random(alone.items) < 0.6), np.empty(0, np.int64)):
        for one, other in zip(
            alone.best(rows, prices, 20, available), spread.best(rows, prices, 20, available), strict=True
        ):
            assert one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        for (items, scores), (others, found) in zip(alone.row_blocks(rows), spread.row_blocks(rows), strict=True):
            assert np.array_equal(items, others) and scores.tobytes() == found.tobytes()
    indptr = np.concatenate([[0], np.cumsum(rng.integers(0, 4, alone.items))])
    user = rng.integers(0, 700, indptr[-1]).astype(np.int32)
    assert alone.scores_of(indptr, user).tobytes() == spread.scores_of(indptr, user).tobytes()


def test_features_of_some_users_are_those_of_all(logs: ModuleType) -> None:
    visits = mark_sessions(logs.random_log(5, 4, 3))
    users = visits.log.users
    day = int(visits.log.day[-1]) - 1
    whole, names = activity_features(visits, day, 4)
    parts = [activity_features(visits, day, 4, part) for part in ranges(users, max(1, users // 3))]
    assert np.concatenate([features for features, _ in parts]).tobytes() == whole.tobytes()
    assert all(known == names for _, known in parts)


# Nights


@pytest.fixture(scope="module")
def alone(night: Night, tmp_path_factory: pytest.TempPathFactory) -> NightResult:
    return night(tmp_path_factory.mktemp("alone") / "out")


def out_of(result: NightResult) -> Path:
    return result.run_dir.parent.parent


def test_a_night_by_workers_has_the_bytes_of_one_process(night: Night, alone: NightResult, tmp_path: Path) -> None:
    spread = {n: night(tmp_path / str(n), "engine=threads", f"workers={n}") for n in (2, 3)}
    for number, result in spread.items():
        assert written(tmp_path / str(number)) == written(out_of(alone))
        assert without_seconds(tmp_path / str(number)) == without_seconds(out_of(alone))
        assert result.metrics["engine"] == "workers"
        assert any("auction over workers" in note for note in result.metrics["notes"])
    both = [written(tmp_path / str(number), ("allocation", "evaluation", "serving")) for number in spread]
    assert both[0] == both[1]
    assert spread[2].run_dir.name == spread[3].run_dir.name != alone.run_dir.name
    assert alone.metrics["engine"] == "local" and not any("engine" in note for note in alone.metrics["notes"])


@pytest.mark.parametrize(
    "settings", [("retrieval.search=user_side",), ("data.regime=warm", "retrieval.search=retrievals")]
)
def test_other_searches_by_workers(night: Night, tmp_path: Path, settings: tuple[str, ...]) -> None:
    night(tmp_path / "alone", *settings)
    night(tmp_path / "spread", *settings, "engine=threads", "workers=3")
    assert written(tmp_path / "spread") == written(tmp_path / "alone")


def test_the_distributed_auction_allocates(night: Night, alone: NightResult, tmp_path: Path) -> None:
    """Where the search was cut short, so that its own answer is not the best: as good as one process's, certified anew."""
    short = ("retrieval.price_rounds=0", "allocation.gap=1e-3")
    spread = night(tmp_path / "spread", *short, "engine=threads").metrics["allocation"]
    one = night(tmp_path / "one", *short).metrics["allocation"]
    assert (spread["solver"], one["solver"]) == ("distributed", "auction")
    assert spread["value"] == pytest.approx(one["value"], rel=2e-3)
    folder = tmp_path / "spread" / "work"
    names = ("indptr", "user", "score", "capacity")
    indptr, user, score, capacity = (np.load(folder / "candidates" / f"{name}.npy") for name in names)
    problem = Problem.from_csr(indptr, user, score, 30, capacity)
    item, matched = (np.load(folder / "allocation" / f"{name}.npy") for name in ("item", "user"))
    edge = {pair: number for number, pair in enumerate(zip(problem.item_of(np.arange(user.size)), user, strict=True))}
    chosen = np.array([edge[pair] for pair in zip(item, matched, strict=True)])
    found = certify(problem, chosen, np.load(folder / "allocation" / "user_prices.npy"))
    assert found.value == pytest.approx(spread["value"]) and found.gap <= max(1e-3, spread["gap"]) + 1e-9


# Settings


def test_keys_know_whether_there_are_workers_not_how_many() -> None:
    keys = {
        settings: run_key(load_config("nightly", settings), "data")
        for settings in [(), ("workers=5",), ("engine=threads",), ("engine=ray",), ("engine=ray", "workers=9")]
    }
    assert keys[()] == keys["workers=5",]
    assert keys["engine=threads",] == keys["engine=ray",] == keys["engine=ray", "workers=9"] != keys[()]


def test_without_ray_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualrec.alloc.partitions.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the package ray: pip install 'dualrec\[ray\]'"):
        make_engine("ray", 2)


def test_the_default_is_this_process() -> None:
    assert make_engine(Config().engine, Config().workers).name == "local"
