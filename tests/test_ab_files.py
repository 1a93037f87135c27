"""`dualrec ab assign` and `dualrec ab analyse` on files: what they write and print, and ugly input in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dualrec.alloc import cli
from dualrec.alloc.ab_analysis import COLUMNS, analyse
from dualrec.alloc.ab_assign import assign
from dualrec.alloc.ab_files import read_assignment, read_ids, read_log, write_assignment
from dualrec.alloc.ab_log import ExposureLog, Window
from dualrec.alloc.ab_metrics import creator_metrics
from dualrec.alloc.errors import InputError

Run = Callable[..., tuple[int, str, str]]
HALVES = {"control": 0.5, "treatment": 0.5}


@pytest.fixture
def dualrec(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line here; returns exit code, standard output and standard error."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ids and a log of ten days in which creators' ids are text, users' are integers, and one item has no creator."""
    rng = np.random.default_rng(3)
    names = np.array([f"c{number}" for number in range(60)])
    creator = names[rng.integers(0, 60, 300)].tolist()
    creator[7] = None
    upload = rng.integers(0, 10, 300)
    item = rng.integers(0, 300, 20_000)
    day = np.minimum(upload[item] + rng.integers(0, 4, 20_000), 9)
    write(tmp_path / "items.parquet", item_id=np.arange(300), creator_id=creator, upload_day=upload)
    write(tmp_path / "users.parquet", user_id=np.arange(1_000))
    write(tmp_path / "exposures.parquet", user_id=rng.integers(0, 1_000, 20_000), item_id=item, day=day)
    return tmp_path


def write(path: Path, metadata: dict | None = None, **columns: Any) -> None:
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)


def assign_words(folder: Path, *more: str | Path) -> list[str | Path]:
    files = [
        "--creators",
        folder / "items.parquet",
        "--users",
        folder / "users.parquet",
        "--out",
        folder / "ab.parquet",
    ]
    return ["ab", "assign", *files, *more]


def analyse_words(folder: Path, *more: str | Path) -> list[str | Path]:
    names = {"--exposures": "exposures", "--items": "items", "--assignment": "ab"}
    files = [word for option, name in names.items() for word in (option, folder / f"{name}.parquet")]
    return ["ab", "analyse", *files, "--reach", "20,60", *more]


def test_a_test_from_ids_to_a_table(dualrec: Run, folder: Path) -> None:
    code, said, err = dualrec(*assign_words(folder, "--seed", "4", "--stratum", "rows", "--users-by", "creators"))
    assert (code, err) == (0, "") and "treatment" in said and str(folder / "ab.parquet") in said
    assert set(pq.read_table(folder / "ab.parquet")["arm"].to_pylist()) == {"control", "treatment"}
    out = folder / "table.parquet"
    code, said, err = dualrec(*analyse_words(folder, "--from", "4", "--to", "8", "--within", "3", "--out", out))
    assert (code, err) == (0, "")
    # The same from columns.
    ids, sums = read_ids(folder / "items.parquet", "creator_id", ["rows"])
    users = np.arange(1_000)
    found = assign("co_diverted", HALVES, 4, ids, users, stratum=sums["rows"], users_by="creators")
    items, shown = (pq.read_table(folder / f"{name}.parquet").to_pandas() for name in ("items", "exposures"))
    row = {name: number for number, name in enumerate(ids.tolist())}
    creator = np.array([row.get(name, -1) for name in items.creator_id])
    columns = (shown.user_id.to_numpy(), shown.item_id.to_numpy(), shown.day.to_numpy())
    log = ExposureLog(*columns, creator, items.upload_day.to_numpy())
    frame = analyse(creator_metrics(log, found, Window(4, 8), [20, 60], 3), found.creator_arm, found.arms)
    written = pq.read_table(out).to_pandas()
    assert tuple(written.columns) == COLUMNS
    pd.testing.assert_frame_equal(written.iloc[: len(frame)], frame, check_dtype=False)
    assert written.metric.tolist()[-2:] == ["DAU", "exposures (users)"]
    counts = np.bincount(found.creator_arm)
    assert f"creators: control {counts[0]}, treatment {counts[1]} (p " in said
    assert "crossed the arms" in said and "ExpoReach-60" in said


def test_csv_and_the_bootstrap(dualrec: Run, folder: Path) -> None:
    assert dualrec(*assign_words(folder))[0] == 0
    words = analyse_words(folder, "--from", "5", "--adjust", "5", "--method", "bootstrap", "--resamples", "50")
    for name in ("one.csv", "two.csv"):
        assert dualrec(*words, "--out", folder / name)[0] == 0
    assert (folder / "one.csv").read_bytes() == (folder / "two.csv").read_bytes()
    assert pd.read_csv(folder / "one.csv").columns.tolist() == list(COLUMNS)


@pytest.mark.parametrize("design", ["user_diverted", "creator_only"])
def test_other_designs_say_what_they_cannot_tell(dualrec: Run, folder: Path, design: str) -> None:
    assert dualrec(*assign_words(folder, "--design", design))[0] == 0
    code, said, _ = dualrec(*analyse_words(folder))
    assert code == 0 and "crossed the arms" not in said
    assert ("DAC, treatment: under user_diverted" in said) == (design == "user_diverted")
    assert ("DAU, treatment: under creator_only" in said) == (design == "creator_only")


def test_who_comes_later_gets_an_arm(dualrec: Run, folder: Path) -> None:
    assert dualrec(*assign_words(folder, "--stratum", "rows", "--shares", "control=0.2,a=0.2,b=0.1"))[0] == 0
    before = read_assignment(folder / "ab.parquet")
    write(folder / "users.parquet", user_id=np.arange(500, 1_500))
    items = pq.read_table(folder / "items.parquet").to_pandas()
    items.loc[3, "creator_id"] = "late"
    items.to_parquet(folder / "items.parquet")
    code, _, err = dualrec(*analyse_words(folder))
    assert code == 2 and "creator id 'late'" in err and "--earlier" in err
    code, said, _ = dualrec(*assign_words(folder, "--earlier", folder / "ab.parquet"))
    assert code == 0 and "outside" in said
    after = read_assignment(folder / "ab.parquet")
    assert len(after.users) == 1_500 and "late" in after.creators
    assert np.array_equal(after.arms_of_users(before.users), before.user_arm)
    assert np.array_equal(after.arms_of_creators(before.creators), before.creator_arm)
    assert dualrec(*analyse_words(folder))[0] == 0


@pytest.mark.parametrize("text", [False, True])
def test_an_assignment_comes_back_as_it_was(tmp_path: Path, text: bool) -> None:
    users = np.arange(50).astype(str) if text else np.arange(50)
    for creators in (["x", "y", "z"] * 1, []):
        found = assign("co_diverted", {"z": 0.3, "a": 0.3}, 9, creators, users, together=False)
        write_assignment(tmp_path / "ab.parquet", found)
        again = read_assignment(tmp_path / "ab.parquet")
        assert (again.design, again.shares, again.user_shares) == (found.design, found.shares, found.user_shares)
        assert (again.seed, again.together, again.arms) == (9, False, ("z", "a"))
        for one, other in ((again.creators, found.creators), (again.users, found.users)):
            assert one.tolist() == other.tolist()
        assert np.array_equal(again.creator_arm, found.creator_arm) and np.array_equal(again.user_arm, found.user_arm)


def test_times_become_days(tmp_path: Path) -> None:
    found = assign("co_diverted", HALVES, 0, [1], [5])
    day, start = 86_400_000, 1_500_000_000_000 + 3_600_000
    write(tmp_path / "i.parquet", item_id=[8, 9], creator_id=[1, 1], upload_time=[start - 1, start + 3 * day])
    shown = {"user_id": [5, 5], "item_id": [8, 9], "time": [start, start + 4 * day - 1]}
    write(tmp_path / "e.parquet", {"dualrec.day_start_ms": str(start)}, **shown)
    log = read_log(tmp_path / "e.parquet", tmp_path / "i.parquet", found)
    assert (log.day.tolist(), log.upload.tolist(), log.item.tolist()) == ([0, 3], [-1, 3], [0, 1])
    write(tmp_path / "e.parquet", **shown)
    assert read_log(tmp_path / "e.parquet", tmp_path / "i.parquet", found).day.tolist() == [0, 4]
    write(tmp_path / "e.parquet", {"dualrec.day_start_ms": "noon"}, **shown)
    with pytest.raises(InputError, match="is 'noon', expected ms"):
        read_log(tmp_path / "e.parquet", tmp_path / "i.parquet", found)


def test_the_worlds_files_are_understood(dualrec: Run, small_data: Path, tmp_path: Path) -> None:
    files = ["--creators", small_data / "items.parquet", "--users", small_data / "users.parquet"]
    assert dualrec("ab", "assign", *files, "--out", tmp_path / "ab.parquet")[0] == 0
    logs = ["--exposures", small_data / "interactions.parquet", "--items", small_data / "items.parquet"]
    code, said, _ = dualrec("ab", "analyse", *logs, "--assignment", tmp_path / "ab.parquet", "--reach", "5")
    assert code == 0 and "ExpoReach-5" in said


ASSIGN = [
    (["--shares", "control"], "--shares is 'control'"),
    (["--shares", "a=0.5,a=0.5"], "once each"),
    (["--shares", "a=0.5,b=x"], "--shares is"),
    (["--shares", "a=0.9,b=0.9"], "sum to at most 1"),
    (["--design", "sideways"], "--design"),
    (["--stratum", "uploads"], "column 'uploads' is missing"),
    (["--stratum", "creator_id"], "expected numbers"),
    (["--users-by", "weight"], "column 'weight' is missing"),
    (["--creators", "gone.parquet"], "gone.parquet: no such file"),
    (["--users", "items.parquet"], "column 'user_id' is missing"),
    (["--out", "ab.json"], "expected a name that ends with .parquet"),
    (["--out", "nowhere/ab.parquet"], "there is no folder nowhere"),
    (["--earlier", "users.parquet"], "column 'creator_id' is missing"),
    (["--earlier", "ab.parquet", "--seed", "3"], "--earlier settles"),
]
ANALYSE = [
    (["--from", "50"], "days 50 to 9"),
    (["--from", "50", "--to", "60"], "no exposure on days 50 to 60"),
    (["--adjust", "3"], "no exposure on days -3 to -1"),
    (["--reach", "10,x"], "--reach is '10,x'"),
    (["--reach", "0"], "expected whole numbers from 1"),
    (["--within", "0"], "--within"),
    (["--method", "magic"], "--method"),
    (["--assignment", "users.parquet"], "column 'creator_id' is missing"),
    (["--exposures", "users.parquet"], "column 'item_id' is missing"),
    (["--exposures", "odd.parquet"], "user id 4000 at position 1"),
    (["--exposures", "timed.parquet"], "a day in one file and a time in the other"),
    (["--items", "twice.parquet"], "item id 5 stands twice"),
    (["--items", "few.parquet"], "is unknown, expected one of the 2 items"),
    (["--out", "t.txt"], "ends with .parquet or .csv"),
]


@pytest.mark.parametrize(
    ("words", "change", "said"), [(assign_words, *one) for one in ASSIGN] + [(analyse_words, *one) for one in ANALYSE]
)
def test_bad_input_is_one_line_and_nothing_is_written(
    dualrec: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, *, words: Callable, change: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    write(folder / "odd.parquet", user_id=[3, 4000], item_id=[1, 2], day=[0, 1])
    write(folder / "timed.parquet", user_id=[3], item_id=[1], time=[1_500_000_000_000])
    write(folder / "twice.parquet", item_id=[5, 5], creator_id=["c1", "c1"], upload_day=[0, 0])
    write(folder / "few.parquet", item_id=[5, 6], creator_id=["c1", "c1"], upload_day=[0, 0])
    creators = read_ids(folder / "items.parquet", "creator_id")[0]
    write_assignment(folder / "ab.parquet", assign("co_diverted", HALVES, 0, creators, np.arange(1_000)))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, out, err = dualrec(*words(folder, *change))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert said in err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_damaged_assignments_are_refused(folder: Path) -> None:
    path = folder / "ab.parquet"
    write_assignment(path, assign("co_diverted", HALVES, 0, ["a", "b"], [1, 2, 3]))
    table = pq.read_table(path)
    for about in ({}, {"dualrec.ab": "{"}, {"dualrec.ab": '{"design": "co_diverted"}'}):
        pq.write_table(table.replace_schema_metadata(about), path)
        with pytest.raises(InputError, match="missing or damaged"):
            read_assignment(path)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)
    with pytest.raises(InputError, match="column 'creator_id': an id twice"):
        read_assignment(path)
    arm = table.column_names.index("arm")
    pq.write_table(table.set_column(arm, "arm", pa.array(["elsewhere"] * 5)), path)
    with pytest.raises(InputError, match="'elsewhere', expected one of control, treatment, outside"):
        read_assignment(path)


@pytest.mark.parametrize("column", ["rows", "size"])
def test_columns_of_creators_are_summed(tmp_path: Path, column: str) -> None:
    write(tmp_path / "c.parquet", creator_id=["b", "a", None, "b"], size=[1.5, 2.0, 9.0, 3.0])
    ids, sums = read_ids(tmp_path / "c.parquet", "creator_id", [column])
    assert (ids.tolist(), sums[column].tolist()) == (["a", "b"], [1, 2] if column == "rows" else [2.0, 4.5])
    write(tmp_path / "c.parquet", creator_id=["b", "a"], size=[1.5, float("nan")])
    with pytest.raises(InputError, match="row 1: nan, expected a finite number"):
        read_ids(tmp_path / "c.parquet", "creator_id", ["size"])
    write(tmp_path / "c.parquet", creator_id=pa.array([None, None], pa.string()))
    with pytest.raises(InputError, match="nulls only"):
        read_ids(tmp_path / "c.parquet", "creator_id")


def test_an_output_that_cannot_be_replaced_leaves_nothing_behind(dualrec: Run, folder: Path) -> None:
    taken = folder / "taken.parquet"
    taken.mkdir()
    before = sorted(folder.iterdir())
    code, out, err = dualrec(*assign_words(folder, "--out", taken))
    assert (code, out) == (2, "") and "taken.parquet" in err and sorted(folder.iterdir()) == before
