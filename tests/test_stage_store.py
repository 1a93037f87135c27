"""Stages: what is reused, what runs again, and what a stage may see."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from dualrec.alloc.artifacts import load_array, load_json, save_array, save_arrays, save_json, write_text
from dualrec.alloc.config import Config, load_config
from dualrec.alloc.errors import InputError
from dualrec.alloc.progress import BarProgress, LineProgress, NullProgress, make_progress
from dualrec.alloc.stage import Stage, StageContext
from dualrec.alloc.stage_list import PUBLISHED, STAGES
from dualrec.alloc.stage_store import run_stages, threads_of


class Recorder(NullProgress):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def first(context: StageContext) -> None:
    save_arrays(context.out, values=np.arange(context.config.seed))


def second(context: StageContext) -> None:
    save_json(context.out / "sum.json", load_array(context.input("first") / "values.npy").sum())


def third(context: StageContext) -> None:
    (context.out / "deep").mkdir()
    write_text(context.out / "deep" / "note.txt", (context.input("second") / "sum.json").read_text())


STEPS = (
    Stage("first", first, settings=("seed",)),
    Stage("second", second, ("first",), ("allocation",)),
    Stage("third", third, ("second",)),
)


@pytest.fixture
def night(tmp_path: Path) -> Callable[..., tuple[list[str], list[str]]]:
    """Run the three stages; returns the names of those that were not reused, and the notes."""

    def run(*overrides: str, data: str = "") -> tuple[list[str], list[str]]:
        progress = Recorder()
        done = run_stages(STEPS, load_config("nightly", overrides), tmp_path, progress, data)
        return [name for name, stage in done.items() if not stage.reused], progress.notes

    return run


def test_a_finished_stage_is_reused(night: Callable) -> None:
    assert night() == (["first", "second", "third"], [])
    assert night() == ([], ["first: reused", "second: reused", "third: reused"])


def test_only_what_a_setting_changes_runs_again(night: Callable) -> None:
    night()
    assert night("score.theta_exponent=1", "threads=1")[0] == []
    assert night("seed=9")[0] == ["first", "second", "third"]
    # The sum is the same whatever the capacity is: the third stage reads the same bytes, so it need not run again.
    assert night("seed=9", "allocation.capacity=3")[0] == ["second"]


def test_other_data_runs_again_what_reads_it(tmp_path: Path) -> None:
    steps = (Stage("first", first, settings=("seed",), reads_data=True), STEPS[1])

    def run(data: str) -> list[bool]:
        return [stage.reused for stage in run_stages(steps, Config(), tmp_path, NullProgress(), data).values()]

    # The first stage reads the data again; it writes the same bytes, so the second one's input has not changed.
    assert [run("a"), run("a"), run("b")] == [[False, False], [True, True], [False, True]]


def test_another_program_runs_everything_again(night: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    night()
    monkeypatch.setattr("dualrec.alloc.stage_store.code_version", lambda: "another")
    assert night()[0] == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("values.npy", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"), "values.npy is damaged"),
        ("values.npy", lambda path: path.write_bytes(path.read_bytes()[:-1]), "values.npy is damaged"),
        ("values.npy", lambda path: path.unlink(), "values.npy is missing"),
        ("other.npy", lambda path: path.touch(), "other.npy does not belong there"),
        ("manifest.json", lambda path: path.unlink(), "manifest.json does not exist"),
        ("manifest.json", lambda path: path.write_text("{"), "manifest.json is not a JSON file"),
        ("manifest.json", lambda path: path.write_text("[]"), "manifest.json is damaged"),
        ("manifest.json", lambda path: path.write_text('{"schema": 1}'), "manifest.json is damaged"),
    ],
)
def test_a_damaged_stage_is_told_and_run_again(
    night: Callable, tmp_path: Path, name: str, damage: Callable[[Path], object], said: str
) -> None:
    night()
    before = (tmp_path / "third" / "deep" / "note.txt").read_bytes()
    damage(tmp_path / "first" / name)
    ran, notes = night()
    assert ran == ["first"], "the stages after it still fit: it ends with the same bytes"
    assert said in notes[0]
    assert notes[0].endswith("; run again")
    assert (tmp_path / "third" / "deep" / "note.txt").read_bytes() == before


def test_every_mutated_byte_is_noticed(night: Callable, tmp_path: Path) -> None:
    night()
    path = tmp_path / "first" / "values.npy"
    good = path.read_bytes()
    for position in range(0, len(good), 5):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        assert night()[0] == ["first"]
        assert path.read_bytes() == good


def test_a_later_manifest_schema_is_not_trusted(night: Callable, tmp_path: Path) -> None:
    night()
    path = tmp_path / "first" / "manifest.json"
    path.write_text(json.dumps({**load_json(path), "schema": 2}))
    ran, notes = night()
    assert ran == ["first"]
    assert "schema 2, expected 1" in notes[0]


def test_a_failing_stage_leaves_the_finished_ones(tmp_path: Path) -> None:
    def fail(context: StageContext) -> None:
        write_text(context.out / "half.txt", "half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_stages([STEPS[0], Stage("second", fail, ("first",))], Config(), tmp_path, NullProgress())
    assert not (tmp_path / "second").exists()
    done = run_stages(STEPS[:2], Config(), tmp_path, NullProgress())
    assert [stage.reused for stage in done.values()] == [True, False]
    assert sorted(path.name for path in (tmp_path / "second").iterdir()) == ["manifest.json", "sum.json"]


def test_a_stage_sees_only_what_it_names(tmp_path: Path) -> None:
    def nosy(context: StageContext) -> None:
        assert context.config.seed == 7
        assert context.threads >= 1
        with pytest.raises(AttributeError, match="allocation"):
            _ = context.config.allocation
        with pytest.raises(KeyError, match="'second' is not among those named: first"):
            context.input("second")
        assert set(context.seconds) == {"first", "second"}
        assert "allocation:" in context.config_yaml

    run_stages([*STEPS[:2], Stage("nosy", nosy, ("first",), ("seed",))], Config(), tmp_path, NullProgress())


def test_an_input_that_is_no_earlier_stage_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'second' needs 'first', which is not an earlier stage"):
        run_stages(STEPS[1:], Config(), tmp_path, NullProgress())


def test_a_stages_function_may_be_named_by_its_place(tmp_path: Path) -> None:
    assert Stage("x", "dualrec.alloc.artifacts:save_json").function() is save_json


def test_the_nights_stages_fit_together() -> None:
    known: set[str] = set()
    for stage in STAGES:
        assert set(stage.inputs) <= known
        assert set(stage.settings) <= set(Config.model_fields) - {"threads", "out"}
        known.add(stage.name)
    assert [stage.name for stage in STAGES if stage.reads_data] == ["tables"]
    assert set(PUBLISHED.values()) <= known


def test_threads_are_those_asked_for_or_all() -> None:
    assert threads_of(Config(threads=3)) == 3
    assert threads_of(Config()) >= 1


def test_one_plain_line_for_each_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_stages(STEPS, Config(), tmp_path, LineProgress())
    run_stages(STEPS, Config(), tmp_path, LineProgress())
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["first", "second", "third"] * 2
    assert lines[0].endswith(" s")
    assert lines[3:] == ["first: reused", "second: reused", "third: reused"]


def test_bars_show_tasks_notes_and_seconds(tmp_path: Path) -> None:
    def slow(context: StageContext) -> None:
        task = context.progress.task("counting", 3)
        for _ in range(3):
            task.advance()
        context.progress.note("[half] way")

    shown = io.StringIO()
    run_stages([Stage("slow", slow)], Config(), tmp_path, BarProgress(shown))
    assert "[half] way\n" in shown.getvalue()
    assert "slow: 0." in shown.getvalue()
    assert isinstance(make_progress(shown), LineProgress)


@given(array=nps.arrays(st.sampled_from(["<f4", "<f8", "<i4", "<i8", "?", "<U3"]), nps.array_shapes(max_side=5)))
def test_arrays_come_back_as_they_were(array: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("arrays") / "a.npy"
    save_array(path, array)
    loaded = load_array(path)
    assert loaded.dtype == array.dtype
    assert loaded.tobytes() == array.tobytes()
    assert not loaded.flags.writeable


def test_nothing_is_pickled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        save_array(tmp_path / "a.npy", np.array([{}, None]))
    assert list(tmp_path.iterdir()) == []
    np.save(tmp_path / "a.npy", np.array([{}, None]), allow_pickle=True)
    with pytest.raises(InputError, match=r"a\.npy is not an array file"):
        load_array(tmp_path / "a.npy")


def test_json_holds_numpy_numbers_and_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    save_json(path, {"b": np.float32(0.5), "a": np.arange(2), "n": [float("nan"), np.inf], 3: (True, None)})
    assert load_json(path) == {"3": [True, None], "a": [0, 1], "b": 0.5, "n": [None, None]}
    for missing in (tmp_path / "y.json", tmp_path / "y.npy"):
        with pytest.raises(InputError, match="does not exist"):
            (load_json if missing.suffix == ".json" else load_array)(missing)
