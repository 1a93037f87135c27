"""An evaluation over several days: pooled figures, days without anything to score, going on where it stopped."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dualrec.alloc.config import Config, load_config
from dualrec.alloc.errors import InputError
from dualrec.alloc.evaluate_days import evaluate_days, pool
from dualrec.alloc.generic_writer import write_tables
from dualrec.alloc.progress import NullProgress
from dualrec.alloc.tables import DAY_MS
from dualrec.alloc.world import WorldOptions, make_world

EMPTY_DAY = 10


class Notes(NullProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A small world on disk in which nothing was uploaded on one day."""
    folder = tmp_path_factory.mktemp("data")
    tables = make_world(WorldOptions(users=400, creators=60, items_per_day=12, days=13, content_dim=8, topics=5), 3)
    write_tables(tables, folder)
    items = pq.read_table(folder / "items.parquet")
    moved = tables.day_of(tables.item_time) == EMPTY_DAY
    column = items.schema.get_field_index("upload_time")
    time = items["upload_time"].cast("int64").to_numpy() - np.where(moved, DAY_MS, 0)
    kind = items.schema.field(column).type
    items = items.set_column(column, "upload_time", pa.array(time).cast(kind))
    pq.write_table(items, folder / "items.parquet", write_page_checksum=True)
    small = ["towers.epochs=1", "activity.trees=10", "allocation.demand=10", "evaluate.min_truth=2"]
    out = tmp_path_factory.mktemp("out")
    return load_config("nightly", [*small, "data.reader=generic", f"data.path={folder}", f"out={out}"])


def test_days_are_pooled_an_empty_one_is_left_out_and_a_second_call_reads_the_first(config: Config) -> None:
    table = evaluate_days(config, (9, EMPTY_DAY, 11), NullProgress())
    assert f"day {EMPTY_DAY} left out" in table
    (path,) = (Path(config.out) / "evaluation").glob("*.json")
    figures = json.loads(path.read_text())
    assert sorted(figures["days"]) == ["11", "9"]
    each = [figures["days"][day]["outcome"]["ours"] for day in ("9", "11")]
    ours = figures["pooled"]["ours"]
    assert ours["came_true"] == sum(day["came_true"] for day in each)
    weight = [day["matches"] for day in each]
    assert ours["hit_rate"] == pytest.approx(np.average([day["hit_rate"] for day in each], weights=weight))
    notes = Notes()
    assert evaluate_days(config, (9, 11), notes).splitlines()[1:8] == table.splitlines()[1:8]
    assert [line for line in notes.lines if "reused" in line] == ["day 9: reused", "day 11: reused"]


def test_a_wrong_setting_is_no_empty_day(config: Config) -> None:
    wrong = config.model_copy(update={"score": config.score.model_copy(update={"beta": {"bookmark": 1.0}})})
    with pytest.raises(InputError, match="bookmark"):
        evaluate_days(wrong, (9, 11), NullProgress())


def test_an_empty_day_alone_is_an_error(config: Config) -> None:
    with pytest.raises(InputError, match=f"day {EMPTY_DAY} is empty"):
        evaluate_days(config, (EMPTY_DAY,), NullProgress())


def test_pooled_rates_are_weighted_and_days_without_a_scored_item_count_nothing() -> None:
    day = {"hit_rate": 0.5, "recall": None, "precision": None, "came_true": 1, "items_scored": 0, "matches": 10}
    other = {"hit_rate": 0.2, "recall": 0.4, "precision": 0.1, "came_true": 3, "items_scored": 2, "matches": 20}
    pooled = pool([{"ours": day}, {"ours": other}])["ours"]
    assert pooled["hit_rate"] == pytest.approx(0.3)
    assert pooled["recall"] == pytest.approx(0.4)
    assert pooled["came_true"] == 4
