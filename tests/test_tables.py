"""Vocabularies, tables and their store: order, ranges, days, and that what is loaded is what was saved."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualrec.alloc.errors import InputError, nearest_hint
from dualrec.alloc.interactions import Interactions, is_sorted
from dualrec.alloc.table_store import load_tables
from dualrec.alloc.tables import DAY_MS, Tables
from dualrec.alloc.vocabulary import Vocabulary

START = 1_700_000_000_000


def small_tables() -> Tables:
    """Three users and four items over three days; item 3 is uploaded on day 1, before item 2."""
    log = Interactions(
        user=np.array([0, 1, 1, 2], np.int32),
        item=np.array([0, 0, 3, 2], np.int32),
        time=START + np.array([5, DAY_MS - 1, DAY_MS, 2 * DAY_MS + 7]),
        kinds={"skip": np.array([1, 0, 0, 0], bool), "like": np.array([0, 0, 1, 1], bool)},
        context={"device/type": np.array([0, -1, 1, 0], np.int32)},
    )
    return Tables(
        name="small",
        users=Vocabulary(["a", "b", "ç"], "user"),
        items=Vocabulary([10, 20, 30, 40], "item"),
        item_time=START + np.array([0, 1, DAY_MS + 9, DAY_MS + 3]),
        interactions=log,
        day_start=START,
        item_creator=np.array([0, 1, 1, -1], np.int32),
        creators=Vocabulary([7, 8], "creator"),
        item_category=np.array([0, -1, 0, 0], np.int32),
        categories=("news",),
        item_content=np.eye(4, 3, dtype=np.float32),
        user_features={"age": np.array([0, 1, -1], np.int32)},
        user_capacity={"capacity": np.array([0, 5, 10], np.int32)},
        notes=("It is small.",),
    )


@given(st.lists(st.integers(-(2**63), 2**63 - 1)) | st.lists(st.text(st.characters(exclude_characters="\0"))))
def test_rows_and_ids_are_inverse(ids: list) -> None:
    vocabulary = Vocabulary(ids)
    assert len(vocabulary) == len(set(ids))
    assert vocabulary.ids[vocabulary.rows(ids)].tolist() == ids
    assert is_sorted(vocabulary.ids) if ids else not len(vocabulary)


def test_unknown_ids_become_missing_or_an_error() -> None:
    vocabulary = Vocabulary([30, 10, 10], "item")
    assert vocabulary.rows([10, 20, 30, 99], missing=-1).tolist() == [0, -1, 1, -1]
    assert vocabulary.rows([], missing=-1).dtype == np.int32
    assert Vocabulary([]).rows([1], missing=-7).tolist() == [-7]
    with pytest.raises(InputError, match="item id 20 at position 1 is unknown, expected one of the 2 items"):
        vocabulary.rows([10, 20])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.array([1.5]), "dtype float64, expected integers or strings"),
        ([None, "a"], "dtype object, expected integers or strings"),
        (np.array([[1]]), "one dimension"),
        (np.array([2**64 - 1], np.uint64), "does not fit into int64"),
    ],
)
def test_ids_of_other_kinds_are_refused(ids: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Vocabulary(ids)


def test_strings_are_not_looked_up_among_integers() -> None:
    with pytest.raises(InputError, match=r"user ids are strings here \(first: .*'7'.*expected integers"):
        Vocabulary([7], "user").rows(["7"])


def test_days_are_local_and_whole() -> None:
    tables = small_tables()
    assert (tables.first_day, tables.last_day) == (0, 2)
    assert tables.day_of(START + np.array([-1, 0, DAY_MS - 1, DAY_MS])).tolist() == [-1, 0, 0, 1]
    assert len(tables.until(0)) == 2
    assert len(tables.until(1)) == 3
    assert len(tables.until(99)) == 4
    assert len(tables.until(-5)) == 0
    assert tables.between(1, 1).user.tolist() == [1]
    assert np.shares_memory(tables.until(1).kinds["like"], tables.interactions.kinds["like"])


def test_new_items_come_in_upload_order() -> None:
    tables = small_tables()
    assert tables.new_items(0).tolist() == [0, 1]
    assert tables.new_items(1).tolist() == [3, 2]
    assert tables.new_items(2).tolist() == []
    assert tables.new_items(1).dtype == np.int32


def test_heads_have_one_order() -> None:
    assert small_tables().heads == ("like", "skip")


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.booleans()), max_size=30))
def test_order_and_repeats(rows: list[tuple[int, int, int, bool]]) -> None:
    time, user, item, like = (np.array(column) for column in zip(*rows, strict=True)) if rows else [np.zeros(0)] * 4
    log = Interactions(user=user, item=item, time=time, kinds={"like": like})
    ordered = log.in_order()
    assert is_sorted(ordered.time, ordered.user, ordered.item)
    found = list(zip(*(column.tolist() for column in (ordered.time, ordered.user, ordered.item)), strict=True))
    assert found == sorted(row[:3] for row in rows)
    distinct = log.without_repeats()
    columns = (distinct.time, distinct.user, distinct.item, distinct.kinds["like"])
    kept = list(zip(*(column.tolist() for column in columns), strict=True))
    assert kept == list(dict.fromkeys(rows))
    first, second = log.first_repeat()
    if len(kept) == len(rows):
        assert (first, second) == (-1, -1)
    else:
        assert first < second
        assert rows[first] == rows[second]


def test_first_times() -> None:
    assert small_tables().until(0).first_times(1).tolist() == [START + 5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item_time": np.zeros(3, np.int64)}, r"item_time is int64 of shape \(3,\), expected int64 of shape \(4,\)"),
        ({"item_time": np.zeros(4, np.int32)}, "item_time is int32"),
        ({"item_creator": np.array([0, 0, 0, 2], np.int32)}, "item_creator runs from 0 to 2, expected -1 to 1"),
        ({"creators": None}, "item_creator runs from -1 to 1, expected -1 to -1"),
        ({"categories": ()}, "item_category runs"),
        ({"item_content": np.zeros((3, 2), np.float32)}, r"expected float32 \(4, d\)"),
        ({"item_content": np.zeros((4, 2))}, "item_content is float64"),
        ({"user_features": {"age": np.zeros(4, np.int32)}}, "user feature 'age'"),
        ({"user_capacity": {"capacity": np.array([1, -1, 1], np.int32)}}, "user capacity 'capacity' runs from -1 to 1"),
        ({"day_start": START + 6}, "day_start is 1700000000006, expected at most 1700000000005"),
    ],
)
def test_tables_are_checked_when_made(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(small_tables(), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user": np.array([0, 1, 1, 3], np.int32)}, "user runs from 0 to 3, expected 0 to 2"),
        ({"item": np.array([0, -1, 3, 2], np.int32)}, "item runs from -1 to 3"),
        ({"time": START + np.array([5, 4, 6, 7])}, "not sorted"),
        ({"kinds": {}}, "feedback kinds are"),
        ({"kinds": {"likes": np.zeros(4, bool)}}, "feedback kinds are"),
        ({"kinds": {"like": np.zeros(4, np.int32)}}, "kind 'like' is int32"),
        ({"context": {"os": np.zeros(3, np.int32)}}, "context 'os'"),
        ({"user": np.zeros(0, np.int32)}, "no interactions, expected at least one"),
    ],
)
def test_interactions_are_checked_when_made(changes: dict, message: str) -> None:
    tables = small_tables()
    with pytest.raises(InputError, match=message):
        replace(tables, interactions=replace(tables.interactions, **changes))


def without_extras() -> Tables:
    everything = small_tables()
    return Tables(
        name="bare",
        users=everything.users,
        items=everything.items,
        item_time=everything.item_time,
        interactions=everything.interactions,
        day_start=START,
    )


def without_known_creator() -> Tables:
    nobody = np.full(4, -1, np.int32)
    return replace(small_tables(), creators=Vocabulary([], "creator"), item_creator=nobody)


@pytest.mark.parametrize("make", [small_tables, without_extras, without_known_creator])
def test_what_is_loaded_is_what_was_saved(make: Callable[[], Tables], tmp_path: Path) -> None:
    tables = make()
    tables.save(tmp_path / "stored")
    assert_same_tables(load_tables(tmp_path / "stored"), tables)


def assert_same_tables(one: Tables, other: Tables) -> None:
    for name in ("name", "users", "items", "creators", "day_start", "categories", "notes"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("item_time", "item_creator", "item_category", "item_content"):
        assert_same_array(getattr(one, name), getattr(other, name))
    for name in ("user", "item", "time"):
        assert_same_array(getattr(one.interactions, name), getattr(other.interactions, name))
    for name in ("kinds", "context"):
        assert_same_columns(getattr(one.interactions, name), getattr(other.interactions, name))
    assert_same_columns(one.user_features, other.user_features)
    assert_same_columns(one.user_capacity, other.user_capacity)


def assert_same_columns(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert list(one) == list(other)
    for name, values in one.items():
        assert_same_array(values, other[name])


def assert_same_array(one: np.ndarray | None, other: np.ndarray | None) -> None:
    if one is None or other is None:
        assert one is other
    else:
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


def test_the_store_is_mapped_and_has_no_pickle(tmp_path: Path) -> None:
    small_tables().save(tmp_path)
    assert isinstance(load_tables(tmp_path).interactions.user, np.memmap)
    assert {path.suffix for path in tmp_path.iterdir()} == {".npy", ".json"}
    np.save(tmp_path / "user.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"user\.npy: not a readable array"):
        load_tables(tmp_path)


def test_the_same_tables_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        small_tables().save(tmp_path / folder)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)


@pytest.mark.parametrize("file", ["tables.json", "time.npy", "users.npy", "capacity_0.npy"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_damaged_store_is_named(file: str, damage: str, tmp_path: Path) -> None:
    small_tables().save(tmp_path)
    path = tmp_path / file
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:-5])
    with pytest.raises(InputError, match=file.replace(".", r"\.")):
        load_tables(tmp_path)


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    small_tables().save(tmp_path)
    path = tmp_path / "tables.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 9'))
    with pytest.raises(InputError, match="version 9, expected 1"):
        load_tables(tmp_path)


def test_messages_are_one_line() -> None:
    assert str(InputError("a\n  b")) == "a b"
    assert nearest_hint("retreival", ["retrieval", "score"]) == "; did you mean 'retrieval'?"
    assert nearest_hint("x", ["retrieval"]) == ""
