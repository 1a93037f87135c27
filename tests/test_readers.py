"""Readers: the generic schema comes back as it was written and refuses what is wrong; the real sets' small files."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dualrec.alloc.errors import InputError
from dualrec.alloc.generic_writer import write_tables
from dualrec.alloc.parquet import write_parquet
from dualrec.alloc.readers import READERS, read_tables
from dualrec.alloc.tables import Tables
from dualrec.alloc.world import WorldOptions, make_world

OPTIONS = WorldOptions(users=200, creators=20, items_per_day=8.0, days=5, content_dim=4, topics=4)
MS = 1_700_000_000_000
DAY = 86_400_000
Change = Callable[[pa.Table], pa.Table]


@pytest.fixture(scope="module")
def world() -> Tables:
    return make_world(OPTIONS, seed=5)


@pytest.fixture
def folder(world: Tables, tmp_path: Path) -> Path:
    write_tables(world, tmp_path / "data")
    return tmp_path / "data"


def change(path: Path, how: Change) -> None:
    pq.write_table(how(pq.read_table(path)), path)


def put(name: str, values: object) -> Change:
    """Replace or add a column."""

    def how(table: pa.Table) -> pa.Table:
        column = pa.array(values) if not isinstance(values, pa.Array) else values
        if name in table.column_names:
            return table.set_column(table.column_names.index(name), name, column)
        return table.append_column(name, column)

    return how


def put_at(name: str, row: int, value: object) -> Change:
    """Replace one value."""

    def how(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        values[row] = value
        return put(name, pa.array(values, table.schema.field(name).type))(table)

    return how


def drop(name: str) -> Change:
    return lambda table: table.drop_columns([name])


def repeat(row: int) -> Change:
    return lambda table: pa.concat_tables([table, table.slice(row, 1)])


def version(value: str | None) -> Change:
    key = b"dualrec.schema_version"

    def how(table: pa.Table) -> pa.Table:
        rest = {name: text for name, text in table.schema.metadata.items() if name != key}
        return table.replace_schema_metadata(rest | ({key: value} if value is not None else {}))

    return how


def test_the_world_comes_back(world: Tables, folder: Path) -> None:
    tables = read_tables("generic", folder)
    assert (tables.name, tables.day_start, tables.notes[:1]) == (world.name, world.day_start, world.notes)
    assert (tables.users, tables.items, tables.heads) == (world.users, world.items, world.heads)
    assert np.array_equal(tables.item_time, world.item_time)
    assert np.array_equal(tables.item_content, world.item_content)
    assert names(tables.categories, tables.item_category) == names(world.categories, world.item_category)
    creators = [side.creators.ids[side.item_creator].tolist() for side in (tables, world)]
    assert creators[0] == creators[1]
    for name in ("user", "item", "time"):
        assert np.array_equal(getattr(tables.interactions, name), getattr(world.interactions, name))
    for kind in world.heads:
        assert np.array_equal(tables.interactions.kinds[kind], world.interactions.kinds[kind])
    assert np.array_equal(tables.interactions.context["device"], world.interactions.context["device"])
    assert np.array_equal(tables.user_features["region"], world.user_features["region"])


def names(labels: tuple[str, ...], codes: np.ndarray) -> list[str]:
    return [labels[code] if code >= 0 else "" for code in codes]


def test_the_order_of_rows_does_not_matter(folder: Path) -> None:
    before = read_tables("generic", folder)
    for file in ("users", "items", "interactions"):
        change(folder / f"{file}.parquet", lambda table: table.take(np.random.default_rng(1).permutation(len(table))))
    after = read_tables("generic", folder)
    assert before.users == after.users
    assert np.array_equal(before.item_content, after.item_content)
    assert np.array_equal(before.user_features["age_band"], after.user_features["age_band"])
    assert np.array_equal(before.interactions.item, after.interactions.item)
    assert np.array_equal(before.interactions.kinds["like"], after.interactions.kinds["like"])


def test_string_ids_nulls_and_a_capacity_column(folder: Path) -> None:
    for file, name in (("users", "user_id"), ("items", "item_id"), ("interactions", "user_id")):
        change(folder / f"{file}.parquet", lambda table, name=name: put(name, table[name].cast("string"))(table))
    change(folder / "interactions.parquet", lambda table: put("item_id", table["item_id"].cast("string"))(table))
    change(folder / "items.parquet", put_at("creator_id", 3, None))
    change(folder / "items.parquet", put_at("category", 2, None))
    change(folder / "users.parquet", put("capacity_evening", list(range(200))))
    tables = read_tables("generic", folder)
    assert tables.users.ids.dtype.kind == "U"
    assert tables.item_creator[3] == -1 == tables.item_category[2]
    row = tables.users.rows(["1", "57"])
    assert tables.user_capacity["capacity_evening"][row].tolist() == [0, 56]


def test_what_is_lacking_is_said(folder: Path) -> None:
    for name in ("creator_id", "category", "content"):
        change(folder / "items.parquet", drop(name))
    change(folder / "interactions.parquet", drop("follow"))
    change(folder / "users.parquet", put("shoe_size", list(range(200))))
    tables = read_tables("generic", folder)
    assert tables.creators is tables.item_content is tables.item_category is None
    said = " ".join(tables.notes)
    for part in ("no creators", "no content", "no categories", "follow", "not used: shoe_size"):
        assert part in said
    assert "follow" not in tables.heads


WRONG = [
    ("users", drop("user_id"), "users.parquet: column 'user_id' is missing, expected the columns user_id"),
    ("items", drop("upload_time"), "items.parquet: column 'upload_time' is missing"),
    ("interactions", drop("time"), "interactions.parquet: column 'time' is missing"),
    ("users", put("user_id", np.arange(200.0)), "column 'user_id': type double, expected integers or strings"),
    ("users", put_at("user_id", 7, None), "users.parquet, column 'user_id', row 7 (user_id None): null"),
    ("users", repeat(3), "users.parquet, column 'user_id', row 200 (user_id 4): the id of row 3 again"),
    ("items", repeat(2), "(item_id 1000002): the id of row 2 again, expected each id once; remove one"),
    ("items", put_at("upload_time", 1, None), "column 'upload_time', row 1 (item_id 1000001): null"),
    ("items", put_at("content", 5, [0.5, float("nan"), 0, 0]), "row 5 (item_id 1000005): nan at place 1"),
    ("items", put_at("content", 5, [0.5, float("inf"), 0, 0]), "row 5 (item_id 1000005): inf at place 1"),
    ("items", put_at("content", 5, None), "row 5 (item_id 1000005): null, expected a list of floats"),
    ("interactions", put_at("user_id", 4, 9999), "unknown user 9999, expected an id of users.parquet; add it there"),
    ("interactions", put_at("item_id", 4, 77), "item_id 77): unknown item 77, expected an id of items.parquet"),
    ("interactions", repeat(4), "row 4 again: the same user, item, time and feedback, expected each event once"),
    ("interactions", put_at("like", 4, None), "column 'like', row 4 (user_id "),
    ("interactions", lambda t: put("like", t["like"].cast("int8"))(t), "column 'like': type int8, expected booleans"),
    ("interactions", lambda t: put("time", pa.array([5] * len(t)))(t), "column 'time', row 0 (user_id "),
    ("interactions", lambda t: put("user_id", t["user_id"].cast("string"))(t), "type string, expected the type that"),
    ("interactions", lambda t: t.slice(0, 0), "interactions.parquet: the file has no rows, expected at least one"),
    ("interactions", lambda t: t.select(["user_id", "item_id", "time"]), "no feedback column, expected one or more"),
    ("users", put("capacity", [5] * 199 + [-1]), "column 'capacity', row 199 (user_id 200): capacity -1, expected an"),
    ("users", put("capacity", [0.5] * 200), "column 'capacity': type double, expected integers"),
    ("users", version(None), "metadata key 'dualrec.schema_version' is missing, expected 1; write the file with"),
    ("items", version("2"), "items.parquet: metadata key 'dualrec.schema_version' is 2, expected at most 1; update"),
    ("items", version("one"), "is 'one', expected 1; correct the metadata"),
]


@pytest.mark.parametrize(("file", "how", "message"), WRONG)
def test_wrong_input_is_one_line_with_place_and_cure(file: str, how: Change, message: str, folder: Path) -> None:
    change(folder / f"{file}.parquet", how)
    with pytest.raises(InputError) as caught:
        read_tables("generic", folder)
    assert message in str(caught.value)
    assert str(folder / file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value)


def test_vectors_of_two_lengths(folder: Path) -> None:
    change(folder / "items.parquet", lambda table: put("content", [*table["content"].to_pylist()[:-1], [1.0]])(table))
    with pytest.raises(
        InputError, match=r"column 'content', row \d+ \(item_id \d+\): 1 numbers, expected 4 as in row 0"
    ):
        read_tables("generic", folder)


@pytest.mark.parametrize("key", ["dualrec.day_start_ms", "dualrec.notes"])
def test_metadata_are_checked(key: str, folder: Path) -> None:
    change(
        folder / "interactions.parquet",
        lambda table: table.replace_schema_metadata({**table.schema.metadata, key.encode(): b"9e99"}),
    )
    with pytest.raises(InputError, match=key):
        read_tables("generic", folder)


def test_truncated_and_missing_files(folder: Path) -> None:
    path = folder / "interactions.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"interactions\.parquet: damaged, truncated or not Parquet"):
        read_tables("generic", folder)
    path.unlink()
    with pytest.raises(InputError, match=r"interactions\.parquet: no such file"):
        read_tables("generic", folder)
    with pytest.raises(InputError, match="no such file or folder; give the data set's folder with --data"):
        read_tables("generic", folder / "nowhere")


def test_unknown_reader() -> None:
    with pytest.raises(InputError, match=r"data\.reader is 'globbo', expected one of .*; did you mean 'globo'"):
        read_tables("globbo", Path())


def globo_file(path: Path, **changes: object) -> None:
    context = ("environment", "deviceGroup", "os", "country", "region", "referrer_type")
    columns = {
        "user_id": [5, 5, 9],
        "click_article_id": [1200, 3100, 1200],
        "click_timestamp": [1_506_826_800_000, 1_506_826_800_000 + DAY, 1_506_826_800_000 + DAY - 1],
    } | {f"click_{name}": [1, 4, 1] for name in context}
    write_parquet(path, columns | changes)


def test_globo(tmp_path: Path) -> None:
    globo_file(tmp_path / "clicks.parquet")
    tables = read_tables("globo", tmp_path)
    assert (tables.first_day, tables.last_day, tables.heads) == (0, 1, ("click",))
    assert tables.interactions.user.tolist() == [0, 1, 0]
    assert tables.interactions.context["os"].tolist() == [0, 0, 1]
    assert tables.new_items(1).tolist() == [1]
    assert [tables.categories[code] for code in tables.item_category] == ["id-bin 1", "id-bin 3"]
    assert any("no creators" in note for note in tables.notes)
    assert any("no content" in note for note in tables.notes)
    globo_file(tmp_path / "more.parquet", click_article_id=[1, None, 3])
    with pytest.raises(InputError, match=r"column 'click_article_id', row 4 .*user_id 5"):
        read_tables("globo", tmp_path)


def test_deskdrop(tmp_path: Path) -> None:
    events = {
        "personId": [-5, -5, -5, 8],
        "contentId": [1, 1, 1, 2],
        "timestamp": [1_457_963_676, 1_457_963_676, 1_457_963_676, 1_458_147_079],
        "eventType": ["VIEW", "VIEW", "LIKE", "COMMENT CREATED"],
    }
    write_parquet(tmp_path / "events.parquet", events)
    tables = read_tables("deskdrop", tmp_path / "events.parquet")
    kinds = tables.interactions.kinds
    assert np.sum(list(kinds.values()), axis=0).tolist() == [1, 1, 1]
    assert [int(kinds[kind].sum()) for kind in ("view", "like", "comment", "bookmark", "follow")] == [1, 1, 1, 0, 0]
    assert tables.day_of(tables.item_time).tolist() == [0, 2]
    assert tables.day_start % DAY == 0
    assert any(note.startswith("1 events") for note in tables.notes)
    write_parquet(tmp_path / "events.parquet", events | {"eventType": ["VIEW", "SEEN", "LIKE", "LIKE"]})
    with pytest.raises(InputError, match=r"row 1 \(personId -5, contentId 1\): 'SEEN', expected one of VIEW"):
        read_tables("deskdrop", tmp_path)


def test_kuairand(tmp_path: Path) -> None:
    start = 1_649_260_800_000 + DAY  # 2022-04-08 00:00 in Beijing
    flags = ("is_click", "long_view", "is_comment", "is_follow", "is_forward", "is_profile_enter")
    log = {
        "user_id": [3, 3, 4],
        "video_id": [70, 70, 71],
        "time_ms": [start + DAY, start + DAY, start + 5],
        "label": [1, 1, 0],
    } | {name: [1, 1, 0] for name in flags}
    numbers = {f"onehot_feat{number}": [0.0, 1.0] for number in range(18)}
    words = ("user_active_degree", "follow_user_num_range", "fans_user_num_range")
    users = {"user_id": [3, 99]} | {name: ["low", "high"] for name in words} | numbers
    users |= {name: ["a", "b"] for name in ("friend_user_num_range", "register_days_range")}
    users |= {"is_live_streamer": [0, 1], "is_video_author": [0, 1]}
    videos = {
        "video_id": [70, 5],
        "author_id": [1, 2],
        "upload_dt": ["2022-04-08", "2022-04-09"],
        "tag": ["20,43", None],
    }
    write_parquet(tmp_path / "like_hate_27k_excerpt.parquet", log)
    write_parquet(tmp_path / "user_features_pure.parquet", users)
    write_parquet(tmp_path / "video_features_basic_pure.parquet", videos)
    tables = read_tables("kuairand", tmp_path)
    kinds = tables.interactions.kinds
    assert kinds["like"].tolist() == [False, True]
    assert kinds["skip"].tolist() == [True, False]
    assert kinds["effective_view"].tolist() == [False, True]
    assert tables.item_time.tolist() == [start, start + 5]
    assert tables.item_creator.tolist() == [0, -1]
    assert [tables.categories[code] for code in tables.item_category[:1]] == ["tag 20"]
    assert tables.item_category[1] == -1
    assert tables.user_features["user_active_degree"].tolist() == [1, -1]


def test_stackexchange(tmp_path: Path) -> None:
    times = pa.array([MS, MS + DAY], pa.timestamp("ms"))
    items = {"item_id": [2, 1], "creator_id": [5, 6], "created_at": times, "tags": ["<qubit><gate>", "<gate>"]}
    events = {
        "user_id": [5, 7, 7],
        "item_id": [1, 2, 2],
        "event": ["favourite", "answer", "bounty_start"],
        "time": pa.array([MS, MS + 1, MS + 2], pa.timestamp("ms")),
    }
    write_parquet(tmp_path / "items.parquet", items)
    write_parquet(tmp_path / "interactions.parquet", events)
    tables = read_tables("stackexchange", tmp_path)
    assert tables.categories == ("gate", "qubit")
    assert tables.item_category.tolist() == [0, 1]
    assert np.allclose(tables.item_content, [[1, 0], [0.5**0.5, 0.5**0.5]])
    assert tables.creators.ids[tables.item_creator].tolist() == [6, 5]
    assert tables.interactions.kinds["bookmark"].tolist() == [False, False, True]
    assert tables.interactions.time[-1] == MS + DAY
    assert any(note.startswith("1 favourites") for note in tables.notes)


FACTS = {
    "globo": ("globo", 2_430_428, 293_829, 11),
    "deskdrop": ("deskdrop", 39_112, 1_547, 139),
    "kuairand": ("kuairand", 41_704, 664, 14),
    "stackexchange": ("qc_stackexchange", 5_194, 509, 173),
}


@pytest.mark.real_data
@pytest.mark.parametrize("reader", FACTS)
def test_real_sets(reader: str, tmp_path: Path) -> None:
    """Rows after cleaning, users and the last day of the real sets, and that they survive the generic schema."""
    if "DUALREC_DATA" not in os.environ:
        pytest.skip("the real data sets may not be shipped; DUALREC_DATA names their folder where there is one")
    folder, rows, users, last_day = FACTS[reader]
    tables = read_tables(reader, Path(os.environ["DUALREC_DATA"]) / folder)
    assert (len(tables.interactions), len(tables.users), tables.last_day) == (rows, users, last_day)
    write_tables(tables, tmp_path)
    again = read_tables("generic", tmp_path)
    assert np.array_equal(again.interactions.item, tables.interactions.item)
    assert all(len(again.new_items(day)) == len(tables.new_items(day)) for day in range(last_day))


@pytest.mark.real_data
def test_globo_protocol() -> None:
    """New items of days 8 to 10 and users known by then, as the protocol for these data states them."""
    if "DUALREC_DATA" not in os.environ:
        pytest.skip("the real data sets may not be shipped; DUALREC_DATA names their folder where there is one")
    tables = read_tables("globo", Path(os.environ["DUALREC_DATA"]) / "globo")
    for day, new, known in ((8, 3226, 255_710), (9, 3118, 272_813), (10, 2834, 285_319)):
        assert len(tables.new_items(day)) == new
        assert len(np.unique(tables.until(day).user)) == known


def test_every_reader_has_a_test() -> None:
    assert {*FACTS, "generic"} == set(READERS)
