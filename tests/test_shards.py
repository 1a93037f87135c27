"""Shards of a problem on disk, and `solve_shards` from them to an allocation on disk: whole, checked, or not at all."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.allocation import Status
from dualrec.solvers.certificate import certify
from dualrec.solvers.distributed.messages import FolderMessages
from dualrec.solvers.distributed.shard_writer import ShardWriter, new_shards, write_shards
from dualrec.solvers.distributed.sharded import solve_shards
from dualrec.solvers.distributed.shards import Shards, open_shards
from dualrec.solvers.distributed.solver import Distributed
from dualrec.solvers.errors import ProblemError, SolverError
from dualrec.solvers.instances import Ragged, Skewed, TightFlat
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve

seeds = st.integers(0, 2**32 - 1)
SHAPES: dict[str, Callable[[int], Problem]] = {
    "ragged": Ragged(items=40, users=30, most=6).make,
    "skewed": Skewed(items=60, users=150, candidates=40, demand=12, capacity=4).make,
    "tight": TightFlat(items=60, users=450, candidates=400).make,
}
shapes = st.sampled_from(sorted(SHAPES))
THREADS = Distributed(workers=3, engine="threads")


def halved(problem: Problem) -> Problem:
    score = np.minimum(problem.score, 6e4).astype(np.float16)
    return Problem.from_csr(problem.indptr, problem.user, score, problem.demand, problem.capacity)


def same(one: Problem, other: Problem) -> None:
    for name in ("indptr", "user", "score", "demand", "capacity", "item_ids", "user_ids"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None and theirs is None) or (mine.dtype == theirs.dtype and np.array_equal(mine, theirs)), name


@settings(max_examples=25, deadline=None)
@given(shape=shapes, seed=seeds, shards=st.integers(1, 50), workers=st.integers(1, 9), half=st.booleans())
def test_shards_hold_the_problem(
    shape: str, seed: int, shards: int, workers: int, half: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    problem = SHAPES[shape](seed)
    problem = halved(problem) if half else problem
    opened = open_shards(write_shards(problem, tmp_path_factory.mktemp("shards") / "new", shards))
    same(opened.part(0, problem.items), problem)
    bounds = opened.bounds(workers).tolist()
    assert bounds[0] == 0 and bounds[-1] == problem.items and bounds == sorted(bounds)
    parts = [opened.part(*ends) for ends in itertools.pairwise(bounds)]
    assert np.array_equal(np.concatenate([part.user for part in parts]), problem.user)


def test_ids_are_kept(tmp_path: Path) -> None:
    problem = Problem.from_edges(["b", "a", "b"], [70, 70, 50], [1.0, 5.0, 2.0], 2, 2)
    same(open_shards(write_shards(problem, tmp_path / "s")).part(0, 2), problem)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x55
    path.write_bytes(bytes(data))


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no such folder": (lambda s: s.rename(s.with_name("gone")), "is no folder of shards"),
    "edges missing": (lambda s: (s / "edges-00001.parquet").unlink(), "edges-00001.parquet cannot be read"),
    "edges damaged": (lambda s: damage(s / "edges-00001.parquet"), "edges-00001.parquet"),
    "edges cut short": (lambda s: (s / "edges-00001.parquet").write_bytes(b"PAR1"), "edges-00001.parquet cannot"),
    "edges of another": (
        lambda s: (s / "edges-00001.parquet").write_bytes((s / "edges-00000.parquet").read_bytes()),
        "has 800 edges, expected 400",
    ),
    "capacity missing": (lambda s: (s / "capacity.npy").unlink(), "is no folder of shards"),
    "a later version": (
        lambda s: (s / "shards.json").write_text((s / "shards.json").read_text().replace(": 1,", ": 9,", 1)),
        "is of version 9, expected 1",
    ),
    "other items": (
        lambda s: (s / "demand.npy").write_bytes((s / "capacity.npy").read_bytes()),
        "items in shards, 400 with a demand",
    ),
    "no demand": (lambda s: manifest(s, sides=["indptr", "capacity"]), "shards.json names no demand, expected"),
    "a side that does not exist": (lambda s: manifest(s, sides=["indptr", "demand", "capacity", "x"]), "x.npy"),
    "demand of two dimensions": (
        lambda s: np.save(s / "demand.npy", np.ones((9, 1), np.int32)),
        r"demand.npy is int32\[9, 1\], no demand of shards",
    ),
    "capacity of halves": (lambda s: np.save(s / "capacity.npy", np.ones(400)), r"capacity.npy is float64\[400\]"),
    "too few ids": (
        lambda s: (
            np.save(s / "user_ids.npy", np.arange(3)),
            manifest(s, sides=["indptr", "demand", "capacity", "user_ids"]),
        ),
        "user_ids.npy has 3 entries, expected 400",
    ),
    "scores of another type": (
        lambda s: manifest(s, score="float16"),
        "has the columns user int32, score float, expected user int32, score halffloat",
    ),
    "no score type": (lambda s: manifest(s, score="object"), "is no folder of shards"),
    "an empty side": (lambda s: (s / "indptr.npy").write_bytes(b""), "is no folder of shards"),
    "rows that fall": (
        lambda s: np.save(s / "indptr.npy", np.array([0, 400, 200, *range(600, 2000, 200)])),
        "indptr.npy does not rise from 0",
    ),
}


def manifest(folder: Path, **changes: Any) -> None:
    path = folder / "shards.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("how", WRONG)
def test_wrong_shards_are_refused(how: str, tmp_path: Path) -> None:
    problem = Skewed(items=9, users=400, candidates=200, demand=5, capacity=4).make(0)
    spoil, message = WRONG[how]
    folder = write_shards(problem, tmp_path / "shards", 3)
    with new_shards(tmp_path / "uneven") as writer:
        for first, last in ((0, 4), (4, 6), (6, 9)):
            edges = slice(int(problem.indptr[first]), int(problem.indptr[last]))
            writer.add(np.diff(problem.indptr[first : last + 1]), problem.user[edges], problem.score[edges])
        writer.close(problem.demand, problem.capacity, None, None)
    folder = tmp_path / "uneven"
    same(whole(folder), problem)
    spoil(folder)
    with pytest.raises(ProblemError, match=message):
        whole(folder)


def whole(folder: Path) -> Problem:
    shards: Shards = open_shards(folder)
    return shards.part(0, shards.items)


def test_an_edge_that_is_wrong_is_named(tmp_path: Path) -> None:
    with new_shards(tmp_path / "s") as writer:
        writer.add(np.array([2]), np.array([0, 1], np.int32), np.array([1.0, np.nan], np.float32))
        writer.close(np.array([1], np.int32), np.array([1, 1], np.int32), None, np.array(["x", "y"]))
    with pytest.raises(ProblemError, match="'y'"):
        whole(tmp_path / "s")


def test_items_and_edges_without_ids_have_the_numbers_of_the_whole(tmp_path: Path) -> None:
    with new_shards(tmp_path / "s") as writer:
        for scores in ([1.0, 2.0], [3.0, -1.0]):
            writer.add(np.array([1, 1]), np.array([0, 1], np.int32), np.array(scores, np.float32))
        writer.close(np.ones(4, np.int32), np.array([1, 1], np.int32), None, None)
    shards = open_shards(tmp_path / "s")
    with pytest.raises(ProblemError, match="score of item 3, user 1"):
        shards.part(2, 4)


USERS, SCORES = np.array([0, 1], np.int32), np.array([1.0, 2.0], np.float32)
WRONG_ADDED: dict[str, tuple[Callable[[ShardWriter], Any], str]] = {
    "scores as float64": (
        lambda w: w.add(np.array([2]), USERS, SCORES.astype(float)),
        r"shard 1: score is float64\[2\], expected float32\[n\]",
    ),
    "another type than before": (
        lambda w: w.add(np.array([2]), USERS, SCORES.astype(np.float16)),
        r"shard 1: score is float16\[2\], expected float32\[n\]",
    ),
    "lengths of another": (
        lambda w: w.add(np.array([1]), USERS, SCORES),
        "shard 1: lengths add up to 1 with 2 users and 2 scores",
    ),
    "a length below 0": (lambda w: w.add(np.array([3, -1]), USERS, SCORES), "no length below 0"),
    "users as float": (lambda w: w.add(np.array([2]), USERS.astype(float), SCORES), r"user is float64\[2\]"),
    "users out of range": (
        lambda w: w.add(np.array([2]), np.array([0, 2**31]), SCORES),
        "shard 1: user 2147483648 is no row",
    ),
    "demand below 0": (lambda w: w.close([1, -1], [1, 1], None, None), "demand of item 1 is -1"),
    "demand of fewer": (lambda w: w.close([1], [1, 1], None, None), r"demand has shape \(1,\), expected \(2,\)"),
    "items after the end": (
        lambda w: (w.close([1, 1], [1, 1], None, None), w.add(np.array([2]), USERS, SCORES)),
        "the writer of shards is closed",
    ),
    "an id twice": (lambda w: w.close([1, 1], [1, 1], ["a", "a"], None), "'a'"),
}


@pytest.mark.parametrize("how", WRONG_ADDED)
def test_what_does_not_fit_is_not_written(how: str, tmp_path: Path) -> None:
    step, message = WRONG_ADDED[how]
    with pytest.raises(ProblemError, match=message), new_shards(tmp_path / "s") as writer:
        writer.add(np.array([1, 1]), USERS, SCORES)
        step(writer)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_was_not_closed_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="not closed"), new_shards(tmp_path / "s"):
        pass
    assert list(tmp_path.iterdir()) == []


# --- solve_shards


def test_an_allocation_of_shards_is_written_whole(tmp_path: Path) -> None:
    problem = Skewed(items=40, users=90, candidates=20, demand=8, capacity=3).make(1)
    names = {"item_ids": np.char.add("i", np.arange(40).astype(str)), "user_ids": 1000 + np.arange(90)}
    problem = Problem.from_csr(problem.indptr, problem.user, problem.score, problem.demand, problem.capacity, **names)
    told: list[dict[str, Any]] = []
    options = Distributed(workers=3, engine="threads")
    answer = solve_shards(write_shards(problem, tmp_path / "s", 8), tmp_path / "out", options, on_step=told.append)
    assert answer.status is Status.WITHIN_GAP and answer.gap <= 1e-3
    assert told == list(answer.history) and told[-1]["gap"] == answer.gap
    pairs = pd.read_parquet(tmp_path / "out" / "pairs")
    expected = pd.DataFrame(solve(problem, options).pairs())
    for column in ("item", "user", "score"):
        mine, theirs = (table.sort_values(["item", "user"])[column].tolist() for table in (pairs, expected))
        assert mine == theirs
    assert answer.matches == len(pairs) and answer.value == pytest.approx(pairs["score"].sum(), rel=1e-6)
    prices = np.load(tmp_path / "out" / "prices.npy")
    assert certify(problem, solve(problem, options).chosen, prices).bound == pytest.approx(answer.bound, rel=1e-12)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["pairs", "prices.npy", "result.json"]
    assert len(list((tmp_path / "out" / "pairs").iterdir())) == 3


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    folder = write_shards(SHAPES["ragged"](0), tmp_path / "s")
    with pytest.raises(ProblemError, match="exists already"):
        solve_shards(folder, folder, Distributed(engine="threads"))
    with pytest.raises(ProblemError, match="gap is 2"):
        solve_shards(folder, tmp_path / "o", Distributed(engine="threads"), gap=2)
    assert not (tmp_path / "o").exists()


def test_time_is_kept(tmp_path: Path) -> None:
    problem = SHAPES["tight"](1)
    answer = solve_shards(
        write_shards(problem, tmp_path / "s"), tmp_path / "o", Distributed(engine="threads"), gap=0, time_limit=0
    )
    assert answer.status is Status.TIME_LIMIT and answer.matches > 0 and answer.value <= answer.bound


def test_floors_and_limits_are_refused(tmp_path: Path) -> None:
    problem = Problem.from_edges([0, 0, 1], [0, 1, 0], [1.0, 2, 3], 2, 2, floor=1)
    with pytest.raises(ProblemError, match="floors"):
        write_shards(problem, tmp_path / "s")
    with pytest.raises(ProblemError, match="floors"):
        solve(problem, Distributed(engine="threads"))


def test_paths_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "room").mkdir()
    problem = SHAPES["ragged"](2)
    answer = solve_shards(write_shards(problem, "s"), "o", Distributed(workers=2, engine="threads", folder="room"))
    assert answer.matches == len(pd.read_parquet("o/pairs"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o", "room", "s"]
    assert open_shards("s").folder.is_absolute()
    assert solve(problem, Distributed(engine="threads", folder="room")).matches == answer.matches
    assert list((tmp_path / "room").iterdir()) == []


def test_no_such_folder_for_messages(tmp_path: Path) -> None:
    options = Distributed(workers=2, engine="threads", folder=str(tmp_path / "gone"))
    with pytest.raises(SolverError, match=r"there is no room for shards and messages in .*gone"):
        solve(SHAPES["ragged"](2), options)


WRONG_ASKED: dict[str, tuple[dict[str, Any], str]] = {
    "no options": ({"options": "threads"}, r"options is str, expected Distributed\(\.\.\.\)"),
    "gap": ({"gap": "small"}, "gap is 'small', expected a number from 0 to 1"),
    "gap is no number": ({"gap": float("nan")}, "gap is nan"),
    "time limit": ({"time_limit": -1}, "time_limit is -1, expected seconds >= 0 or None"),
}


@pytest.mark.parametrize("how", WRONG_ASKED)
def test_wrong_questions_are_refused(how: str, tmp_path: Path) -> None:
    asked, message = WRONG_ASKED[how]
    folder = write_shards(SHAPES["ragged"](0), tmp_path / "s")
    with pytest.raises(ProblemError, match=message):
        solve_shards(folder, tmp_path / "o", **{"options": THREADS, **asked})
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_folder_where_names_can_be_taken_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = FolderMessages(tmp_path)
    messages.probe()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(os, "link", os.replace)
    with pytest.raises(SolverError, match="lets a name be taken twice"):
        messages.probe()
    monkeypatch.undo()
    with pytest.raises(SolverError, match=r"a message of 129 bytes cannot be written to .*gone"):
        FolderMessages(tmp_path / "gone").probe()


PRESSES = """
import os, signal, sys
from dualrec.solvers.distributed.sharded import solve_shards
from dualrec.solvers.distributed.solver import Distributed

def press(round):
    if round.number == int(sys.argv[3]):
        for _ in range(int(sys.argv[4])):
            os.kill(os.getpid(), signal.SIGINT)

seen = []
options = Distributed(workers=2, engine="threads", first_eps=0.3, shrink=0.5)
answer = solve_shards(sys.argv[1], sys.argv[2], options, gap=0.0, on_step=seen.append,
                      on_round=lambda one: press(one) if len(seen) >= int(sys.argv[5]) else None)
print(answer.status.value, answer.matches)
"""


@pytest.mark.parametrize(
    ("times", "after", "left"),
    [(1, 0, "interrupted"), (1, 1, "interrupted"), (2, 1, "interrupted"), (2, 0, None)],
    ids=["once", "once in the second step", "twice in the second step", "twice before there is an answer"],
)
def test_ctrl_c_leaves_the_best_so_far_or_nothing(times: int, after: int, left: str | None, tmp_path: Path) -> None:
    write_shards(SHAPES["tight"](1), tmp_path / "s")
    arguments = [str(tmp_path / "s"), str(tmp_path / "o"), "1", str(times), str(after)]
    done = subprocess.run(
        [sys.executable, "-c", PRESSES, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    if left is None:
        assert done.returncode == -signal.SIGINT and "KeyboardInterrupt" in done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["s"]
    else:
        status, matches = done.stdout.split()
        assert status == left and int(matches) == len(pd.read_parquet(tmp_path / "o" / "pairs")) > 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["o", "s"]
