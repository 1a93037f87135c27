"""The command line: help that is quick, errors of one line, exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from dualrec.alloc import cli
from dualrec.alloc.errors import InputError
from dualrec.alloc.show import format_number, run_summary
from dualrec.solvers.errors import ProblemError

HEAVY = ("torch", "xgboost", "faiss", "numba", "ortools", "pandas", "matplotlib", "pyarrow", "scipy", "numpy")
LOADED = "import sys; from dualrec.alloc import cli; code = cli.run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
COMMANDS = ("nightly", "evaluate", "show", "world")


@pytest.fixture
def dualrec(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line here; returns exit code, standard output and standard error."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["--version"], *([name, "--help"] for name in COMMANDS), ["ab", "assign", "--help"]]
)
def test_help_loads_nothing_heavy(python_run: Callable, arguments: list[str]) -> None:
    done = python_run("-c", LOADED, *arguments)
    assert done.returncode == 0
    assert done.stdout
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "typer" in loaded
    assert not loaded & set(HEAVY)


def test_help_names_every_command_and_option(dualrec: Callable) -> None:
    code, out, _ = dualrec("--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)
    code, out, _ = dualrec("nightly", "--help")
    assert code == 0
    options = ("--config", "--data", "--day", "--out", "--engine", "--workers", "--device", "--debug", "KEY=VALUE")
    assert all(name in out for name in options)


def test_version(dualrec: Callable) -> None:
    assert dualrec("--version") == (0, "dualrec 0.1.0\n", "")


BELOW_A_FILE = Path(__file__) / "out"  # cannot be made, whoever runs the tests


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nigtly"], "nightly"),
        (["nightly", "--dya", "3"], "--d"),
        (["nightly", "--day", "tomorrow"], "--day"),
        (["nightly", "--day", "-1"], "data.day is -1"),
        (["nightly", "--config", "nowhere.yaml"], "config nowhere.yaml does not exist"),
        (["nightly", "allocation.capcity=3"], "the nearest known is allocation.capacity"),
        (["nightly", "allocation.capacity=-3"], "allocation.capacity is -3"),
        (["nightly", "allocation.gap=.nan"], "expected a finite number"),
        (["nightly", "--engine", "rya"], "the nearest is 'ray'"),
        (["nightly", "--workers", "0"], "workers is 0; expected a number greater than or equal to 1"),
        (["nightly", "gap"], "expected section.key=value"),
        (["nightly", "--out", str(BELOW_A_FILE)], f"cannot write in {BELOW_A_FILE}"),
        (["evaluate"], "--days"),
        (["evaluate", "--days", "8,nine"], "--days is '8,nine'"),
        (["show", "--out", "nowhere"], "nowhere holds no published run yet"),
        (["world", "--out", str(BELOW_A_FILE)], str(BELOW_A_FILE)),
        (["ab"], "Missing command"),
        (["ab", "assign", "--out", "arms.parquet"], "--creators"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    dualrec: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = dualrec(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("dualrec: ")
    assert err.count("\n") == 1
    assert said in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "folder"], "data.reader is 'world'"),
        (["data.reader=globo"], "data.path is not set"),
        (["--data", "nowhere", "data.reader=globo"], "data folder nowhere does not exist"),
        (["--data", "folder", "data.reader=generic"], "data folder folder holds no file"),
    ],
)
def test_data_that_is_not_there(
    dualrec: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    code, _, err = dualrec("nightly", *arguments)
    assert code == 2
    assert said in err
    assert not (tmp_path / "out" / "runs").exists()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("users.parquet: column user_id is missing"), 2, "users.parquet: column user_id is missing"),
        (ProblemError("item 3: NaN"), 2, "item 3: NaN"),
        (
            OSError(28, os.strerror(28), "o"),
            2,
            "No space left on device: o; free some space and run the same command again",
        ),
        (OSError("odd"), 2, "odd"),
        (RuntimeError("two\nlines"), 1, "unexpected RuntimeError: two lines; use --debug for the traceback"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to continue"),
    ],
)
def test_each_error_has_its_exit_code(
    dualrec: Callable, monkeypatch: pytest.MonkeyPatch, *, error: BaseException, code: int, said: str
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("dualrec.alloc.night.run_night", fail)
    assert dualrec("nightly") == (code, "", f"dualrec: {said}\n")
    _, _, err = dualrec("nightly", "--debug")
    assert err.endswith(f"dualrec: {said}\n")
    assert ("Traceback" in err) == (code != 130)


def test_options_are_settings(dualrec: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`--data`, `--day` and `--out` are the settings of those names, whatever letters the folders have."""
    seen = []

    def stop(config: object, progress: object) -> None:
        seen.append(config)
        raise InputError("enough")

    monkeypatch.setattr("dualrec.alloc.night.run_night", stop)
    odd = tmp_path / 'it\'s: [odd] "yes" #1 é'
    dualrec("nightly", "--data", odd, "--day", "8", "--out", "12", "data.reader=globo", "data.day=3")
    assert seen[0].data.path == str(odd)
    assert (seen[0].data.day, seen[0].out, seen[0].data.reader) == (8, "12", "globo")


def test_openmp_threads_wait_without_holding_the_cores(python_run: Callable) -> None:
    shown = python_run(
        "-c", "import os; from dualrec.alloc import cli; cli.run([]); print(os.environ['OMP_WAIT_POLICY'])"
    )
    assert shown.stdout.endswith("PASSIVE\n")


def test_two_runs_at_once_on_one_folder(dualrec: Callable, tmp_path: Path) -> None:
    hold = "import sys, time; from pathlib import Path; from dualrec.alloc.lock import run_lock\n"
    hold += "with run_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout
            assert holder.stdout.readline() == "held\n"
            code, _, err = dualrec("nightly", "--out", tmp_path)
        finally:
            holder.kill()
    assert code == 2
    assert f"in use by process {holder.pid};" in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock"]


def test_an_interrupt_is_one_line_and_exit_code_130(tmp_path: Path) -> None:
    program = "import sys, time, dualrec.alloc.night as night; from dualrec.alloc import cli\n"
    program += "def wait(*arguments): print('started', flush=True); time.sleep(60)\n"
    program += "night.run_night = wait; sys.exit(cli.run(['nightly']))"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "dualrec: interrupted; run the same command again to continue\n"


def test_show_prints_the_run_and_refuses_a_damaged_one(
    dualrec: Callable, toy_night: ModuleType, tmp_path: Path
) -> None:
    first, second = (toy_night.run(tmp_path, seed).run_dir for seed in (3, 4))
    code, out, _ = dualrec("show", "--out", tmp_path)
    assert code == 0
    assert second.name in out
    assert first.name in dualrec("show", first.name, "--out", tmp_path)[1]
    (second / "report.html").write_text("")
    code, _, err = dualrec("show", "--out", tmp_path)
    assert code == 2
    assert "report.html is damaged" in err


def test_the_world_command_writes_tables_that_can_be_read(dualrec: Callable, tmp_path: Path) -> None:
    from dualrec.alloc.readers import read_tables

    small = [f"data.world.{setting}" for setting in ("users=200", "creators=20", "items_per_day=5", "days=3")]
    code, out, err = dualrec("world", "--out", tmp_path / "world", *small)
    assert (code, err) == (0, "")
    assert str(tmp_path / "world") in out
    assert len(read_tables("generic", tmp_path / "world").users.ids) == 200


def test_the_summary_holds_what_the_metrics_hold() -> None:
    metrics = {
        "problem": {"items": 3226, "users": 255710, "edges": 1000, "demand": 645200, "capacity": 2557100},
        "allocation": {"solver": "auction", "matches": 645200, "value": 1200.5, "bound": 1201.0, "gap": 0.000416},
        "baselines": {"first_come": {"value": 1000.0}},
        "outcome": {"ours": {"hit_rate": 0.5, "recall": 0.1, "precision": 0.01, "came_true": 880}, "random": {}},
        "seconds": {"tables": 1.5, "activity": 2.5},
        "peak_memory_mb": 1234.5,
        "notes": ["The data has no creators."],
    }
    text = run_summary(Path("out/runs/x-day8-0123456789"), json.loads(json.dumps(metrics)))
    for part in ("3,226", "645,200", "0.0416 %", "1.200 x", "4.0 (tables 1.5, activity 2.5)", "880", "no creators"):
        assert part in text
    assert text.endswith(f"report: {Path('out/runs/x-day8-0123456789/report.html')}")
    assert run_summary(Path("x"), {}).splitlines() == ["run  x", f"report: {Path('x/report.html')}"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (5, "5"),
        (12345, "12,345"),
        (0.12345, "0.1235"),
        (12.345, "12.35"),
        (3.0, "3"),
        ("auction", "auction"),
    ],
)
def test_numbers_are_legible(value: object, shown: str) -> None:
    assert format_number(value) == shown
