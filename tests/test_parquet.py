"""Parquet at the door: damaged files, wrong columns and wrong values, each with file, column, row and cure."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dualrec.alloc.columns import Columns
from dualrec.alloc.errors import InputError
from dualrec.alloc.parquet import parquet_files, read_parquet, write_parquet

NOON = 1_700_000_000_000


def columns(**arrays: object) -> Columns:
    """Columns of a table that was not read from a file, each row named by the column ``id`` if there is one."""
    return Columns(Path("t.parquet"), pa.table(arrays), ("id",) if "id" in arrays else ())


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_parquet(path, {"a": np.arange(5), "b": ["x"] * 5}, {"k": "v"})
    table = read_parquet(path, ["b"], others=True)
    assert table.column_names == ["b", "a"]
    assert table["a"].to_pylist() == list(range(5))
    assert Columns.read(path, ["a"]).metadata == {"k": "v"}
    assert read_parquet(path, ["a"]).column_names == ["a"]


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    write_parquet(path, {"a": np.arange(5)})
    before = path.read_bytes()

    def full_disk(table: pa.Table, file: object, **options: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_parquet(path, {"a": np.arange(9)})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["t.parquet"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "t.parquet"
    rng = np.random.default_rng(0)
    write_parquet(path, {"a": rng.integers(0, 1 << 40, 3000), "b": rng.random(3000)})
    return path


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_file_is_named(share: float, whole: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=r"cut\.parquet: damaged, truncated or not Parquet .*; copy or write"):
        read_parquet(cut, ["a", "b"])


@given(place=st.integers(4, 20_000), bit=st.integers(0, 7))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_in_the_pages_is_noticed(place: int, bit: int, whole: Path, tmp_path: Path) -> None:
    """A flip is reported, or it changed nothing that is read (a size hint, say)."""
    data = bytearray(whole.read_bytes())
    data[place] ^= 1 << bit
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(data)
    try:
        table = read_parquet(bad, ["a", "b"])
    except InputError as error:
        assert "bad.parquet: damaged" in str(error)
    else:
        assert table.equals(read_parquet(whole, ["a", "b"]))


def test_missing_file_folder_and_column(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.parquet: no such file, expected a Parquet file; check the path"):
        read_parquet(tmp_path / "no.parquet", ["a"])
    with pytest.raises(InputError, match="no Parquet file here"):
        parquet_files(tmp_path)
    write_parquet(tmp_path / "t.parquet", {"a": np.arange(2)})
    with pytest.raises(InputError, match=r"t\.parquet: column 'b' is missing, expected the columns a, b; .* has a;"):
        read_parquet(tmp_path / "t.parquet", ["a", "b"])
    assert parquet_files(tmp_path) == [tmp_path / "t.parquet"] == parquet_files(tmp_path / "t.parquet")


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "t.parquet", {"a": np.zeros(0, np.int64)})
    with pytest.raises(InputError, match="no rows, expected at least one"):
        read_parquet(tmp_path / "t.parquet", ["a"])


def test_columns_as_arrays() -> None:
    rows = columns(
        id=pa.array(["b", "a"]),
        small=pa.array([1, 2], pa.int8()),
        t=pa.array([NOON * 1000, NOON * 1000 + 1999], pa.timestamp("us", "America/Sao_Paulo")),
        date=pa.array([19_675, 19_676], pa.date32()),
        s=pa.array([NOON // 1000] * 2),
        flag=[True, False],
        bit=[1, 0],
        group=pa.array(["y", None]).dictionary_encode(),
        number=pa.array([3.0, None]),
        vector=pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float64())),
    )
    assert rows.ids("id").tolist() == ["b", "a"]
    assert rows.ids("small").dtype == np.int64
    assert rows.times("t").tolist() == [NOON, NOON + 1]
    assert rows.times("date").tolist() == [19_675 * 86_400_000, 19_676 * 86_400_000]
    assert rows.times("s", unit_ms=1000).tolist() == [NOON, NOON]
    assert rows.flags("flag").tolist() == [True, False] == rows.flags("bit", allow_integers=True).tolist()
    assert rows.codes("group")[0].tolist() == [0, -1]
    assert rows.codes("group")[1] == ("y",)
    assert rows.codes("number")[1] == ("3",)
    assert rows.codes("id") == (pytest.approx(np.array([1, 0])), ("a", "b"))
    assert rows.vectors("vector").tolist() == [[1, 2], [3, 4]]
    assert rows.vectors("vector").dtype == np.float32


@pytest.mark.parametrize(
    ("verb", "values", "message"),
    [
        ("ids", pa.array([1.0, 2.0]), "column 'x': type double, expected integers or strings; convert the ids"),
        ("ids", pa.array([1, None]), r"row 1 \(id 'q'\): null, expected an id; remove the row"),
        ("ids", pa.array([1, 2**63], pa.uint64()), r"row 1 \(id 'q'\): 9223372036854775808, expected ids that fit"),
        ("integers", pa.array(["1", "2"]), "type string, expected integers"),
        ("times", pa.array([NOON, -1]), r"row 1 \(id 'q'\): time -1, expected a time from 1980 to 2099"),
        ("times", pa.array([NOON // 1000] * 2), r"row 0 .* expected a time .*; give milliseconds since 1970 UTC"),
        ("times", pa.array([NOON * 1000] * 2), "row 0 .* expected a time"),
        ("times", pa.array([None, NOON], pa.timestamp("ms")), r"row 0 \(id 'p'\): null, expected a time"),
        ("times", pa.array(["2020", "2021"]), "type string, expected timestamps or integers"),
        ("flags", pa.array([1, 0]), "type int64, expected booleans"),
        ("flags", pa.array([True, None]), "row 1 .* null, expected true or false"),
        ("codes", pa.array([1.5, 2.0]), "row 0 .* 1.5, expected whole numbers, strings or null"),
        ("codes", pa.array([1.0, float("nan")]), "row 1 .* nan, expected whole numbers"),
        ("codes", pa.array([[1], [2]]), "type list.*, expected integers, strings or booleans"),
        ("vectors", pa.array([[1.0], [1.0, 2.0]]), "row 1 .* 2 numbers, expected 1 as in row 0; give all items"),
        ("vectors", pa.array([[], []], pa.list_(pa.float32())), "row 0 .* 0 numbers, expected at least 1"),
        ("vectors", pa.array([[1.0], None]), "row 1 .* null, expected a list of floats"),
        ("vectors", pa.array([[1.0, 2.0], [3.0, float("nan")]]), "row 1 .* nan at place 1, expected finite"),
        ("vectors", pa.array([[1.0, float("-inf")], [3.0, 4.0]]), "row 0 .* -inf at place 1, expected finite"),
        ("vectors", pa.array([[1.0, 1e300], [3.0, 4.0]]), "row 0 .* at place 1, expected finite float32"),
        ("vectors", pa.array([[1.0, None], [3.0, 4.0]]), "row 0 .* nan at place 1"),
        ("vectors", pa.array([1.0, 2.0]), "type double, expected lists of floats"),
    ],
)
def test_wrong_values_are_named(verb: str, values: pa.Array, message: str) -> None:
    rows = columns(id=["p", "q"], x=values)
    with pytest.raises(InputError, match=r"^t\.parquet, column 'x'.*" + message.removeprefix("column 'x'")) as caught:
        getattr(rows, verb)("x")
    assert "\n" not in str(caught.value)


def test_labels_must_be_known() -> None:
    rows = columns(id=[5, 6, 7], event=["VIEW", "VEIW", None])
    with pytest.raises(InputError, match=r"row 1 \(id 6\): 'VEIW', expected one of VIEW, LIKE; correct the value"):
        rows.labels("event", ["VIEW", "LIKE"])
    with pytest.raises(InputError, match=r"row 2 \(id 7\): None, expected one of VIEW"):
        rows.labels("event", ["VIEW", "VEIW"])


def test_files_of_one_folder_are_read_in_name_order(tmp_path: Path) -> None:
    write_parquet(tmp_path / "b.parquet", {"x": np.array([3], np.int64)})
    write_parquet(tmp_path / "a.parquet", {"x": np.array([1, 2], np.int32)})
    assert Columns.read_all(tmp_path, ["x"], ["x"]).integers("x").tolist() == [1, 2, 3]
    write_parquet(tmp_path / "c.parquet", {"x": ["four"]})
    with pytest.raises(InputError, match="different column types"):
        Columns.read_all(tmp_path, ["x"], ["x"])
