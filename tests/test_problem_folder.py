"""A problem on disk: it comes back as it was, memory-mapped; a damaged, cut or foreign folder is refused by name."""

import json
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers import parquet_batches, problem_parquet
from dualrec.solvers.errors import ProblemError
from dualrec.solvers.problem import Problem
from dualrec.solvers.problem_folder import MANIFEST, new_folder
from dualrec.solvers.solve import solve

seeds = st.integers(0, 2**32 - 1)


def assert_same(problem: Problem, expected: Problem) -> None:
    for field in fields(Problem):
        found, wanted = getattr(problem, field.name), getattr(expected, field.name)
        if isinstance(wanted, np.ndarray):
            assert found.dtype == wanted.dtype or found.dtype.kind == wanted.dtype.kind == "U", field.name
            assert np.array_equal(found, wanted), field.name
        else:
            assert found == wanted, field.name


def limited(seed: int = 0, dtype: Any = np.float32) -> Problem:
    return Problem.from_edges(*columns(seed, dtype), **LIMITS)


def columns(seed: int, dtype: Any = np.float32, count: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    key = rng.choice(20 * 12, count, replace=False)
    names = np.array([f"item {i}" for i in range(20)])
    return names[key // 12], (key % 12) * 1000 - 3000, rng.lognormal(size=key.size).astype(dtype)


LIMITS: dict[str, Any] = {
    "demand": 3,
    "capacity": 4,
    "floor": 1,
    "creator": {f"item {i}": i // 4 for i in range(20)},
    "creator_cap": 1,
    "exclude": (["item 1"] * 5, [-3000, -2000, -1000, 0, 1000]),
    "author": {"item 2": 2000, "item 3": 3000},
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_saved_problem_comes_back(tmp_path: Path, dtype: Any) -> None:
    problem = limited(dtype=dtype)
    assert problem.excluded
    assert problem.groups
    problem.save(tmp_path / "kept")
    opened = Problem.open(tmp_path / "kept")
    assert_same(opened, problem)
    with pytest.raises(ValueError, match="read-only"):
        opened.score[:1] = 0
    assert solve(opened, "greedy").value == solve(problem, "greedy").value


def test_an_empty_problem_comes_back(tmp_path: Path) -> None:
    Problem.from_edges([], [], []).save(tmp_path / "kept")
    assert Problem.open(tmp_path / "kept").edges == 0


def test_arrays_are_memory_mapped(tmp_path: Path) -> None:
    limited().save(tmp_path / "kept")
    array: Any = Problem.open(tmp_path / "kept").user
    while not isinstance(array, np.memmap) and getattr(array, "base", None) is not None:
        array = array.base
    assert isinstance(array, np.memmap)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    problem = limited()
    (tmp_path / "kept").mkdir()
    problem.save(tmp_path / "kept")
    with pytest.raises(ProblemError, match="kept exists already, expected a new folder"):
        problem.save(tmp_path / "kept")
    assert_same(Problem.open(tmp_path / "kept"), problem)


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        limited().save(tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_processes_go(tmp_path: Path) -> None:
    begin = f".kept.unfinished-{socket.gethostname()}-"
    (tmp_path / f"{begin}99999999-0f").mkdir()
    kept = [tmp_path / f"{begin}{os.getppid()}-0f", tmp_path / ".kept.unfinished-elsewhere-99999999-0f"]
    for folder in kept:
        folder.mkdir()
    with new_folder(tmp_path / "kept") as aside:
        (aside / "file").write_text("x")
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "kept"])


def test_of_two_that_write_one_folder_the_first_stays(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="kept was made by another meanwhile"), new_folder(tmp_path / "kept") as late:
        with new_folder(tmp_path / "kept") as aside:
            (aside / "file").write_text("first")
        (late / "file").write_text("late")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").read_text() == "first"


def change(path: Path, edit: Callable[[bytes], bytes]) -> None:
    path.write_bytes(edit(path.read_bytes()))


def edit_manifest(folder: Path, **values: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | values))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "holds no saved problem: manifest.json is missing"),
        (lambda f: (f / "user.npy").unlink(), "user.npy is missing"),
        (lambda f: change(f / "score.npy", lambda b: b[:-3]), "score.npy is damaged: its SHA-256"),
        (lambda f: change(f / "score.npy", lambda b: b[:-1] + b"\x7f"), "score.npy is damaged: its SHA-256"),
        (lambda f: change(f / MANIFEST, lambda b: b[:-9]), "manifest.json cannot be read"),
        (lambda f: change(f / MANIFEST, lambda b: b"[]"), "is no manifest of a saved problem"),
        (lambda f: edit_manifest(f, schema=2), "has schema 2, expected at most 1: update dualrec"),
        (lambda f: edit_manifest(f, excluded=3), "manifest.json is damaged"),
        (lambda f: edit_manifest(f, files={"indptr": {}}), "lists the arrays indptr, expected at least indptr, user"),
        (lambda f: edit_manifest(f, files=None), "lists the arrays none"),
    ],
)
def test_damage_is_refused_by_name(tmp_path: Path, damage: Callable[[Path], Any], message: str) -> None:
    limited().save(tmp_path / "kept")
    damage(tmp_path / "kept")
    with pytest.raises(ProblemError, match=message) as caught:
        Problem.open(tmp_path / "kept")
    assert "\n" not in str(caught.value)


def test_a_cut_file_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    limited().save(tmp_path / "kept")
    change(tmp_path / "kept" / "score.npy", lambda b: b[:-3])
    with pytest.raises(ProblemError, match=r"score\.npy is cut short or damaged"):
        Problem.open(tmp_path / "kept", verify=False)


def test_no_single_changed_byte_goes_unseen(tmp_path: Path) -> None:
    """Some bytes of each file: refused with one line."""
    limited().save(tmp_path / "kept")
    rng = np.random.default_rng(0)
    for path in sorted((tmp_path / "kept").iterdir()):
        whole = path.read_bytes()
        for place in rng.integers(0, len(whole), 200 if path.name == MANIFEST else 10):
            other = bytes([whole[place] ^ int(rng.integers(1, 256))])
            path.write_bytes(whole[:place] + other + whole[place + 1 :])
            try:
                opened = Problem.open(tmp_path / "kept")
            except ProblemError as error:
                assert "\n" not in str(error)
            else:
                assert path.name == MANIFEST  # white space
                assert_same(opened, limited())
        path.write_bytes(whole)


def write_parquet(path: Path, item: Any, user: Any, score: Any) -> None:
    table = pa.table({"item": item, "user": user, "score": score})
    pq.write_table(table, path, row_group_size=1 << 17, write_page_checksum=True)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, count=st.integers(1, 240), files=st.integers(1, 3), batch=st.integers(1, 90))
def test_parquet_equals_columns(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, files: int, batch: int
) -> None:
    """Any order of rows, any cut into files, batches and blocks, with limits."""
    folder = tmp_path_factory.mktemp("edges")
    item, user, score = columns(seed, count=count)
    cuts = np.array_split(np.arange(count), files)
    for number, rows in enumerate(cuts):
        write_parquet(folder / f"{number}.parquet", item[rows], user[rows], score[rows])
    limits = LIMITS | {"item_ids": sorted(set(item.tolist())), "floor": {"item 1": 1} if "item 1" in item else 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_batches, "BATCH_ROWS", batch)
        patch.setattr(problem_parquet, "EDGES_AT_A_TIME", 1 + batch // 3)
        for name, given_limits in (("plain", {}), ("limited", limits)):
            problem = Problem.from_parquet(folder, folder / name, **given_limits)
            assert_same(problem, Problem.from_edges(item, user, score, **given_limits))
            assert_same(Problem.open(folder / name), problem)


def test_parquet_columns_names_and_types(tmp_path: Path) -> None:
    item, user, score = columns(0)
    encoded = pa.array(item.tolist()).dictionary_encode()
    half = score.astype(np.float16)
    pq.write_table(pa.table({"v": encoded, "u": user, "s": half}), tmp_path / "a.parquet")
    names = {"item": "v", "user": "u", "score": "s"}
    problem = Problem.from_parquet(tmp_path / "a.parquet", tmp_path / "kept", **names)
    assert_same(problem, Problem.from_edges(item, user, half))
    single = Problem.from_parquet([str(tmp_path / "a.parquet")], tmp_path / "two", **names, score_dtype="float32")
    assert_same(single, Problem.from_edges(item, user, half.astype(np.float32)))


def test_parquet_scores_may_be_halved(tmp_path: Path) -> None:
    item, user, score = columns(0)
    write_parquet(tmp_path / "a.parquet", item, user, score.astype(np.float64))
    problem = Problem.from_parquet(tmp_path / "a.parquet", tmp_path / "kept", score_dtype=np.float16)
    assert_same(problem, Problem.from_edges(item, user, score.astype(np.float32).astype(np.float16)))


ROWS: dict[str, Any] = {"item": ["a", "a", "b"], "user": [1, 2, 1], "score": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize(
    ("rows", "given_settings", "message"),
    [
        ({"score": [1.0, np.nan, 2]}, {}, r"item 'a', user 2 in .*\.parquet \(edge 1\) is nan"),
        ({"score": [1.0, -1, 2]}, {}, "is -1.0"),
        ({"score": [1.0, None, 2]}, {}, "row 1 has no score"),
        ({"item": ["a", None, "b"]}, {}, "row 1 has no item"),
        ({"item": ["a", "a", "a"], "user": [1, 2, 1]}, {}, "item 'a' and user 1 are paired twice"),
        ({"user": [1.0, 2.0, 3.0]}, {}, "parquet: user ids are float64"),
        ({"score": ["1", "2", "3"]}, {}, "parquet: score is object"),
        ({"item": [], "user": pa.array([], pa.int64()), "score": []}, {}, "the files have no rows"),
        ({}, {"score": "value"}, "column 'value' is missing, the file has item, user, score"),
        ({}, {"item_ids": ["a"]}, "parquet: item 'b' is not among the 1 item_ids"),
        ({}, {"capacity": {1: 1}}, "capacity has no entry for user 2"),
        ({}, {"score_dtype": "int8"}, "score_dtype is int8, expected float32 or float16"),
        ({"score": [1.0, 1e5, 2]}, {"score_dtype": "float16"}, "user 2 in .* is inf"),
        ({}, {"floor": 300}, "floor of item 'a' is 300"),
    ],
)
def test_wrong_parquet_is_refused_in_one_line(
    tmp_path: Path, rows: dict[str, Any], given_settings: dict[str, Any], message: str
) -> None:
    write_parquet(tmp_path / "a.parquet", **(ROWS | rows))
    with pytest.raises(ProblemError, match=message) as caught:
        Problem.from_parquet(tmp_path / "a.parquet", tmp_path / "kept", **given_settings)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match=r"gone\.parquet: no such file"):
        Problem.from_parquet(tmp_path / "gone.parquet", tmp_path / "kept")
    with pytest.raises(ProblemError, match="no such file, expected Parquet files or a folder"):
        Problem.from_parquet(tmp_path, tmp_path / "kept")
    write_parquet(tmp_path / "a.parquet", **ROWS)
    write_parquet(tmp_path / "b.parquet", **(ROWS | {"item": [1, 2, 3]}))
    with pytest.raises(ProblemError, match=r"b.parquet: item ids are both 'a' and 1"):
        Problem.from_parquet(tmp_path, tmp_path / "kept")
    change(tmp_path / "b.parquet", lambda b: b[:-20])
    with pytest.raises(ProblemError, match=r"b.parquet: damaged, cut short or not Parquet"):
        Problem.from_parquet(tmp_path, tmp_path / "kept")


def test_a_damaged_page_is_refused(tmp_path: Path) -> None:
    item, user, score = columns(0)
    write_parquet(tmp_path / "a.parquet", item, user, score)
    whole = (tmp_path / "a.parquet").read_bytes()
    place = whole.find(np.sort(score)[:1].tobytes())
    assert place > 0
    change(tmp_path / "a.parquet", lambda b: b[:place] + bytes([b[place] ^ 1]) + b[place + 1 :])
    with pytest.raises(ProblemError, match="damaged"):
        Problem.from_parquet(tmp_path / "a.parquet", tmp_path / "kept")


PEAKS = """
import sys, threading
from pathlib import Path
from dualrec.solvers import parquet_batches
from dualrec.solvers.problem import Problem

def watch() -> None:
    while not ended.wait(0.005):
        text = Path("/proc/self/status").read_text()
        most[0] = max(most[0], int(next(line.split()[1] for line in text.splitlines() if line.startswith("RssAnon"))))

parquet_batches.BATCH_ROWS = 1 << 17
for name in ("few", "many"):
    most, ended = [0], threading.Event()
    threading.Thread(target=watch, daemon=True).start()
    problem = Problem.from_parquet(f"{sys.argv[1]}/{name}.parquet", f"{sys.argv[1]}/{name}")
    ended.set()
    print(problem.edges, most[0] * 1024)
"""


@pytest.mark.slow
def test_edges_are_never_in_memory_together(tmp_path: Path, python_run: Callable) -> None:
    """Eight million more edges, 64 MB of them, in random order, take hardly more memory."""
    rng = np.random.default_rng(0)
    for name, items in (("few", 8_000), ("many", 24_000)):
        row = rng.permutation(items * 500)
        item, user = row // 500, (row // 500 * 31 + row % 500 * 199) % 100_003
        write_parquet(tmp_path / f"{name}.parquet", item, user, rng.random(row.size, dtype=np.float32))
    at_once = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_MMAP_THRESHOLD_": "65536"}  # give freed memory back
    done = python_run("-c", PEAKS, tmp_path, **at_once)
    assert done.returncode == 0, done.stderr
    (few, few_peak), (many, many_peak) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert (few, many) == (4_000_000, 12_000_000)
    assert many_peak - few_peak < 24e6
