"""Bad input as a user meets it: one line that names file, column, row and cure, exit code 2, nothing published."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dualrec.alloc import cli
from dualrec.alloc.night import NightResult
from dualrec.alloc.publish import verify_run
from dualrec.alloc.tables import Tables

Nightly = Callable[..., tuple[int, list[str]]]
Edit = Callable[..., Path]
Change = Callable[[pa.Table], pa.Table]
NIGHTLY = "from dualrec.alloc.cli import main; main()"


@pytest.fixture
def nightly(capsys: pytest.CaptureFixture[str], tmp_path: Path, small_night: tuple[str, ...]) -> Nightly:
    """`dualrec nightly` on the files of a folder; returns the exit code and the lines on standard error."""

    def run(data: Path | None, *arguments: str | Path, out: Path = tmp_path / "out") -> tuple[int, list[str]]:
        given = [] if data is None else ["--data", data, "data.reader=generic"]
        capsys.readouterr()
        code = cli.run([str(part) for part in ("nightly", "--out", out, *given, *small_night, *arguments)])
        return code, capsys.readouterr().err.splitlines()

    return run


def refused(answer: tuple[int, list[str]], out: Path, *parts: object) -> None:
    """Exit code 2, one line that holds every part, nothing published."""
    code, lines = answer
    assert (code, len(lines)) == (2, 1), lines
    assert lines[0].startswith("dualrec: ")
    assert [part for part in parts if str(part) not in lines[0]] == [], lines[0]
    assert not (out / "latest").exists()
    assert not (out / "runs").exists()


def put(name: str, values: Any) -> Change:
    """Replace or add a column."""

    def change(table: pa.Table) -> pa.Table:
        if name not in table.column_names:
            return table.append_column(name, pa.array(values))
        column = values if isinstance(values, pa.ChunkedArray) else pa.array(values, table.schema.field(name).type)
        return table.set_column(table.column_names.index(name), name, column)

    return change


def put_at(name: str, row: int, value: object) -> Change:
    """Replace one value."""

    def change(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        values[row] = value
        return put(name, values)(table)

    return change


def cast(name: str, kind: pa.DataType) -> Change:
    return lambda table: put(name, table[name].cast(kind))(table)


def drop(name: str) -> Change:
    return lambda table: table.drop_columns([name])


def repeat(row: int) -> Change:
    return lambda table: pa.concat_tables([table, table.slice(row, 1)])


FILES = {
    "missing column": ("interactions", drop("item_id"), ["column 'item_id' is missing", "add or rename the column"]),
    "missing time": ("items", drop("upload_time"), ["column 'upload_time' is missing", "add or rename the column"]),
    "text for a time": (
        "items",
        cast("upload_time", pa.string()),
        ["column 'upload_time': type string, expected timestamps", "convert the column"],
    ),
    "float ids": ("users", cast("user_id", pa.float64()), ["column 'user_id': type double", "convert the ids"]),
    "numbers for flags": ("interactions", cast("like", pa.int32()), ["column 'like': type int32", "bool"]),
    "text ids in one file": ("interactions", cast("item_id", pa.string()), ["column 'item_id': type string", "alike"]),
    "NaN in content": (
        "items",
        put_at("content", 6, [0.5, float("nan")] + [0.0] * 6),
        ["column 'content', row 6 (item_id 1000006): nan at place 1, expected finite", "correct the vector"],
    ),
    "infinite content": (
        "items",
        put_at("content", 6, [0.5] * 7 + [float("inf")]),
        ["column 'content', row 6 (item_id 1000006): inf at place 7, expected finite", "correct the vector"],
    ),
    "a user twice": ("users", repeat(5), ["column 'user_id', row 800 (user_id 6)", "row 5", "remove one"]),
    "an item twice": ("items", repeat(5), ["column 'item_id'", "(item_id 1000005)", "row 5", "remove one"]),
    "an event twice": ("interactions", repeat(7), ["column 'time', row", "row 7 again", "remove one of the rows"]),
    "an unknown item": (
        "interactions",
        put_at("item_id", 11, 77),
        ["column 'item_id', row 11 (user_id ", "unknown item 77", "add it there or remove the row"],
    ),
    "an unknown user": (
        "interactions",
        put_at("user_id", 11, -5),
        ["column 'user_id', row 11 (user_id -5", "unknown user -5", "add it there or remove the row"],
    ),
    "a null": ("interactions", put_at("user_id", 3, None), ["column 'user_id', row 3", "null", "remove the row"]),
    "no rows": ("interactions", lambda table: table.slice(0, 0), ["the file has no rows, expected at least one"]),
    "seconds for milliseconds": (
        "interactions",
        lambda table: put("time", pa.chunked_array([np.full(len(table), 1_500_000_000)]))(table),
        ["column 'time', row 0", "expected a time from 1980", "give milliseconds"],
    ),
    "a negative capacity": (
        "users",
        put("capacity", [10] * 42 + [-1] + [10] * 757),
        ["column 'capacity', row 42 (user_id 43): capacity -1", "expected an integer from 0", "correct the value"],
    ),
    "no schema version": (
        "users",
        lambda table: table.replace_schema_metadata(None),
        ["metadata key 'dualrec.schema_version' is missing, expected 1", "write_tables"],
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_wrong(case: str, nightly: Nightly, edited_data: Edit, tmp_path: Path) -> None:
    file, change, parts = FILES[case]
    data = edited_data(**{file: change})
    refused(nightly(data), tmp_path / "out", data / f"{file}.parquet", *parts)


@pytest.mark.parametrize("length", [0, 3, 1000, -1])
@pytest.mark.parametrize("file", ["users", "items", "interactions"])
def test_truncated_files(file: str, length: int, nightly: Nightly, edited_data: Edit, tmp_path: Path) -> None:
    data = edited_data()
    path = data / f"{file}.parquet"
    path.write_bytes(path.read_bytes()[:length])
    refused(nightly(data), tmp_path / "out", path, "damaged, truncated or not Parquet", "copy or write the file again")


def test_a_flipped_bit(nightly: Nightly, edited_data: Edit, tmp_path: Path) -> None:
    data = edited_data()
    path = data / "interactions.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content)
    refused(nightly(data), tmp_path / "out", path, "damaged", "copy or write the file again")


def test_a_missing_file(nightly: Nightly, edited_data: Edit, tmp_path: Path) -> None:
    data = edited_data()
    (data / "items.parquet").unlink()
    refused(nightly(data), tmp_path / "out", data / "items.parquet", "no such file", "--data")


# The day


def without_day(tables: Tables, column: str, day: int) -> Change:
    """The rows whose time is not on this day."""
    return lambda table: table.filter(pa.array(tables.day_of(table[column].cast(pa.int64()).to_numpy()) != day))


def test_a_day_without_new_items(nightly: Nightly, edited_data: Edit, tables: Tables, tmp_path: Path) -> None:
    gone = tables.items.ids[tables.new_items(9)]
    data = edited_data(
        items=without_day(tables, "upload_time", 9),
        interactions=lambda table: table.filter(pa.array(~np.isin(table["item_id"].to_numpy(), gone))),
    )
    answer = nightly(data, "--day", "9")
    refused(answer, tmp_path / "out", data, "day 9 is empty", "no item was uploaded on it", "choose --day 8")


def test_a_day_without_interactions(nightly: Nightly, edited_data: Edit, tables: Tables, tmp_path: Path) -> None:
    data = edited_data(interactions=without_day(tables, "time", 9))
    answer = nightly(data, "--day", "9")
    refused(answer, tmp_path / "out", data, "day 9 is empty", "no interaction took place on it", "choose --day 8")


@pytest.mark.parametrize("day", ["0", "14", "99"])
def test_a_day_outside_the_data(nightly: Nightly, small_data: Path, tmp_path: Path, day: str) -> None:
    said = f"day {day} cannot be matched", "has days 0 to 13", "choose --day 1 to 13"
    refused(nightly(small_data, "--day", day), tmp_path / "out", small_data, *said)


# Settings


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["allocation.capcity=3"], ["'allocation.capcity=3'", "the nearest known is allocation.capacity"]),
        (["allocation.capacity=-1"], ["'allocation.capacity=-1'", "greater than or equal to 0"]),
        (["allocation.demand=-1"], ["'allocation.demand=-1'", "greater than or equal to 0"]),
        (["allocation.gap=.nan"], ["'allocation.gap=.nan'", "expected a finite number"]),
        (["score.beta.like=.inf"], ["'score.beta.like=.inf'", "expected a finite number"]),
        (["score.beta.lke=1"], ["'score.beta.lke=1'", "the nearest is 'like'"]),
        (["activity.mode=threshold"], ["'activity.mode=threshold'", "give one of them"]),
        (["data.reader=globbo"], ["'data.reader=globbo'", "the nearest is 'globo'"]),
        (["data.holidays=[2017-10-32]"], ["'2017-10-32' is not a date", "YYYY-MM-DD"]),
    ],
)
def test_settings_that_are_wrong(
    nightly: Nightly, small_data: Path, tmp_path: Path, *, arguments: list[str], parts: list[str]
) -> None:
    refused(nightly(small_data, *arguments), tmp_path / "out", *parts)


def test_a_config_file_that_is_wrong(nightly: Nightly, small_data: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("allocation:\n  capicity: 5\n")
    answer = nightly(small_data, "--config", config)
    refused(answer, tmp_path / "out", config, "allocation.capicity", "the nearest known is allocation.capacity")
    config.write_text("allocation: [1\n")
    refused(nightly(small_data, "--config", config), tmp_path / "out", config, "line 2", "not valid YAML")


LATE = [
    ("allocation.capacity_column=capcity", ["capacity_column is 'capcity'", "use allocation.capacity"]),
    ("score.beta.click=1", ["score.beta names 'click', which the data lacks; it has view"]),
]


@pytest.mark.parametrize(("setting", "parts"), LATE)
def test_settings_that_do_not_fit_the_data(
    nightly: Nightly, small_data: Path, tmp_path: Path, *, setting: str, parts: list[str]
) -> None:
    code, lines = nightly(small_data, setting)
    refused((code, lines[-1:]), tmp_path / "out", *parts)


# Folders


@pytest.mark.parametrize("below", [Path(__file__), Path("/proc")])
def test_a_folder_that_cannot_be_written(nightly: Nightly, small_data: Path, below: Path) -> None:
    out = below / "dualrec" / "out"
    refused(nightly(small_data, out=out), out, f"cannot write in {out}", "give another folder with --out")


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind the superuser; the test above has the refusal")
def test_a_folder_without_permission(nightly: Nightly, small_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "locked"
    out.mkdir()
    out.chmod(0o500)
    refused(nightly(small_data, out=out), out, f"cannot write in {out}", "give another folder with --out")


def test_data_that_is_not_there(nightly: Nightly, small_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(nightly(tmp_path / "nowhere"), out, f"{tmp_path / 'nowhere'} does not exist", "--data")
    refused(nightly(None, "data.reader=generic"), out, "needs a folder", "--data DIR")
    refused(nightly(small_data / "users.parquet"), out, "expected the folder that holds users.parquet", "--data")
    refused(nightly(small_data, "data.reader=world"), out, "name a reader, data.reader=generic")
    refused(nightly(small_data, "data.reader=globo"), out, "interactions.parquet: column 'click_article_id' is missing")


def test_a_bad_night_leaves_yesterdays_run(
    nightly: Nightly, night: Callable[..., NightResult], small_data: Path, edited_data: Edit, tmp_path: Path
) -> None:
    """`latest` stays as it was, and the good data continue afterwards."""
    out = tmp_path / "out"
    before = night(out, "data.day=11", data=small_data)
    code, lines = nightly(edited_data(interactions=put_at("item_id", 11, 77)))
    assert (code, len([line for line in lines if line.startswith("dualrec: ")])) == (2, 1)
    assert [path.name for path in (out / "runs").iterdir()] == [before.run_dir.name]
    assert (out / "latest").resolve() == before.run_dir.resolve()
    verify_run(out / "latest")


# Two at once, Ctrl-C


@pytest.fixture
def started(small_night: tuple[str, ...], small_data: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A real night in another process that has finished its stage `activity`."""
    out = tmp_path / "out"
    command = [sys.executable, "-c", NIGHTLY, "nightly", "--out", out, "--data", small_data, "data.reader=generic"]
    process = subprocess.Popen(
        [*map(str, command), *small_night], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        deadline = time.monotonic() + 120
        while not (out / "work" / "activity").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        yield process
        process.kill()


def test_two_runs_at_once_then_an_interrupt_then_a_rerun(
    nightly: Nightly, started: subprocess.Popen[str], small_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer = nightly(small_data)
    refused(answer, out, f"{out} is in use by process {started.pid}", "give another --out")
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=120)
    *stages, last = err.splitlines()
    assert started.returncode == 130
    assert last == "dualrec: interrupted; run the same command again to continue"
    assert all(line.endswith(" s") for line in stages)
    assert not (out / "runs").exists()
    code, lines = nightly(small_data)
    assert code == 0
    assert lines[:2] == ["tables: reused", "activity: reused"]
    verify_run(out / "latest")


# A full disk


def test_files_that_may_not_grow(nightly: Nightly, tmp_path: Path) -> None:
    """With a limit on the size of a file that rises slowly, each run gets further, and the last one ends."""
    out, hard = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    size, places = 1000, set()
    while True:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            code, lines = nightly(None)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        if code == 0:
            break
        refused(
            (code, lines[-1:]), out, "File too large", str(out / "work"), "free some space and run the same command"
        )
        places.add(lines[-1].rpartition(f"{out / 'work'}/")[2].partition("/")[0])
        size = size * 3 // 2
    assert {"tables.partial", "report.partial"} <= places
    verify_run(out / "latest")


ON_A_SMALL_DISK = """
import subprocess, sys
from dualrec.alloc import cli
disk, size, codes = sys.argv[1], 200, []
while 0 not in codes and size < 10_000:
    subprocess.run(["mount", "-o", f"remount,size={size}k", disk], check=True)
    codes.append(cli.run(["nightly", "--out", f"{disk}/out", *sys.argv[2:]]))
    print(f"exit code {codes[-1]}", file=sys.stderr)
    size = size * 5 // 4
"""


def test_a_disk_that_is_full(small_night: tuple[str, ...], tmp_path: Path) -> None:
    """The same on a small disk of its own, which grows from run to run."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=200k none {disk}"
    if not shutil.which("unshare") or subprocess.run(["unshare", "-Urm", "sh", "-c", mount], check=False).returncode:
        pytest.skip(
            "mounting a small disk needs user namespaces, which are not allowed here; a file-size limit is tested too"
        )
    command = f'{mount} && program="$1" && shift && exec "$0" -c "$program" {disk} "$@"'
    arguments = ["unshare", "-Urm", "sh", "-c", command, sys.executable, ON_A_SMALL_DISK, *small_night]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    *failures, _ = done.stderr.split("exit code 2\n")
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("exit code 0\n")
    assert len(failures) > 3
    for text in failures:
        line = text.splitlines()[-1]
        assert line.startswith(f"dualrec: No space left on device: {disk}/out/"), text
        assert text.count("dualrec: ") == 1
    places = {text.splitlines()[-1].split("/out/")[1].partition("/")[0] for text in failures}
    assert "work" in places
