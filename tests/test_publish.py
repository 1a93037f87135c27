"""Publication: whole or not at all, under kills at random moments and at every operation, and under disk errors."""

import errno
import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from dualrec.alloc.errors import InputError
from dualrec.alloc.publish import find_run, published_run, run_id, verify_run

TOY_NIGHT = str(Path(__file__).with_name("toy_night.py"))


@pytest.fixture(scope="module")
def undisturbed(toy_night: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, bytes]]:
    """The published files of a night that nothing disturbed, by seed."""
    known: dict[int, dict[str, bytes]] = {}

    def files(seed: int) -> dict[str, bytes]:
        if seed not in known:
            known[seed] = toy_night.contents(toy_night.run(tmp_path_factory.mktemp("calm"), seed).run_dir)
        return known[seed]

    return files


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Flushing does nothing: it matters when the power fails, not when a process dies, and takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return monkeypatch


def test_a_run_appears_with_its_config_and_manifest(toy_night: ModuleType, tmp_path: Path) -> None:
    result = toy_night.run(tmp_path, 3)
    assert not result.reused
    assert result.metrics["data"]["day"] == 3
    assert sorted(path.name for path in result.run_dir.iterdir()) == [
        "MANIFEST.json",
        "config.yaml",
        "matches.parquet",
        "metrics.json",
        "report.html",
    ]
    assert (tmp_path / "latest").readlink() == Path("runs") / result.run_dir.name
    assert result.run_dir.name.startswith("toy-world-day3-")
    assert set(verify_run(result.run_dir)["files"]) == {path.name for path in result.run_dir.iterdir()} - {
        "MANIFEST.json"
    }


def test_a_second_run_is_not_computed_again_and_moves_latest_back(toy_night: ModuleType, tmp_path: Path) -> None:
    first = toy_night.run(tmp_path, 3)
    stamps = {path: path.stat().st_mtime_ns for path in first.run_dir.iterdir()}
    second = toy_night.run(tmp_path, 4)
    assert (tmp_path / "latest").resolve() == second.run_dir.resolve()
    again = toy_night.run(tmp_path, 3)
    assert again.reused
    assert (tmp_path / "latest").resolve() == first.run_dir.resolve()
    assert {path: path.stat().st_mtime_ns for path in first.run_dir.iterdir()} == stamps


@pytest.mark.parametrize("name", ["matches.parquet", "MANIFEST.json", "config.yaml"])
def test_a_damaged_run_is_refused_and_replaced(
    toy_night: ModuleType, tmp_path: Path, name: str, undisturbed: Callable[[int], dict[str, bytes]]
) -> None:
    run_dir = toy_night.run(tmp_path, 3).run_dir
    (run_dir / name).write_bytes((run_dir / name).read_bytes()[:-3])
    with pytest.raises(InputError, match=name):
        verify_run(run_dir)
    assert not toy_night.run(tmp_path, 3).reused
    verify_run(tmp_path / "latest")
    assert toy_night.contents(tmp_path / "latest") == undisturbed(3)


def test_a_missing_or_added_file_is_damage(toy_night: ModuleType, tmp_path: Path) -> None:
    run_dir = toy_night.run(tmp_path, 3).run_dir
    (run_dir / "more.txt").write_text("")
    with pytest.raises(InputError, match="more\\.txt does not belong there"):
        verify_run(run_dir)
    (run_dir / "more.txt").unlink()
    (run_dir / "report.html").unlink()
    with pytest.raises(InputError, match="report\\.html is missing"):
        verify_run(run_dir)


def test_a_later_manifest_schema_is_refused(toy_night: ModuleType, tmp_path: Path) -> None:
    run_dir = toy_night.run(tmp_path, 3).run_dir
    text = (run_dir / "MANIFEST.json").read_text()
    (run_dir / "MANIFEST.json").write_text(text.replace('"schema": 1', '"schema": 2'))
    with pytest.raises(InputError, match="later version"):
        verify_run(run_dir)


def test_runs_are_found_by_name_path_or_as_the_latest(toy_night: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no published run yet"):
        find_run(tmp_path, None)
    run_dir = toy_night.run(tmp_path, 3).run_dir
    for name in (None, run_dir.name, str(run_dir)):
        assert find_run(tmp_path, name).resolve() == run_dir.resolve()
    with pytest.raises(InputError, match=run_dir.name):
        find_run(tmp_path, "nothing")
    assert published_run(tmp_path, "0" * 64) is None


def test_a_run_name_cannot_leave_its_folder() -> None:
    assert run_id("../../etc/pass wd", 3, "ab" * 32) == "etc-pass-wd-day3-ababababab"
    assert run_id("..", 3, "ab" * 32) == "data-day3-ababababab"


@pytest.mark.usefixtures("no_sync")  # for the reruns here; the processes that are killed do flush
def test_twenty_kills_at_random_moments(
    toy_night: ModuleType,
    tmp_path: Path,
    kill_run: Callable[..., tuple[bool, float]],
    undisturbed: Callable[[int], dict[str, bytes]],
) -> None:
    """`latest` is whole whenever it is read; the rerun ends with the same bytes as a run that nothing disturbed."""
    killed, whole_night = kill_run([TOY_NIGHT, str(tmp_path), "0"], tmp_path, 60)
    assert not killed
    rng = random.Random(20)
    kills = 0
    for seed in range(1, 21):
        moment = rng.uniform(0, whole_night)
        kills += kill_run([TOY_NIGHT, str(tmp_path), str(seed)], tmp_path, moment, TOY_PAUSE="0.01")[0]
        toy_night.run(tmp_path, seed)
        assert toy_night.contents(tmp_path / "latest") == undisturbed(seed)
    assert kills >= 10, "too few kills came before the end of the run to mean anything"


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_an_operation_on_the_disk(python_run: Callable, tmp_path: Path, step: int) -> None:
    done = python_run(TOY_NIGHT, tmp_path, "5", "--every", str(step))
    assert done.returncode == 0, done.stderr
    *broken, kills = done.stdout.splitlines()
    assert not broken
    assert int(kills.removeprefix("kills: ")) > 100 // step


@pytest.mark.parametrize(
    "failure",
    [
        ("write", errno.ENOSPC),
        ("write", errno.EIO),
        ("fsync", errno.EIO),
        ("replace", errno.EIO),
        ("open", errno.ENOSPC),
        ("mkdir", errno.ENOSPC),
        ("symlink", errno.EIO),
    ],
    ids=lambda failure: f"{failure[0]}-{errno.errorcode[failure[1]]}",
)
def test_a_disk_error_anywhere_leaves_the_old_or_the_new_run(
    toy_night: ModuleType,
    tmp_path: Path,
    no_sync: pytest.MonkeyPatch,
    undisturbed: Callable[[int], dict[str, bytes]],
    failure: tuple[str, int],
) -> None:
    """Each single call of `operation` fails once: the run says so, readers see a whole run, the rerun is as ever."""
    operation, code = failure
    original = getattr(os, operation)
    expected, before = undisturbed(1), tmp_path / "before"
    old = toy_night.contents(toy_night.run(before, 0).run_dir)
    for failing in itertools.count():
        out = tmp_path / str(failing)
        shutil.copytree(before, out, symlinks=True)
        calls = itertools.count()

        def call(*arguments: object, calls: Iterator[int] = calls, failing: int = failing, **named: object) -> object:
            if next(calls) == failing:
                raise OSError(code, os.strerror(code))
            return original(*arguments, **named)

        with no_sync.context() as patch:
            patch.setattr(os, operation, call)
            failed = fails(lambda out=out: toy_night.run(out, 1))
        if next(calls) <= failing:
            break
        # A folder that is there already need not be made: only that error may pass without a word.
        assert failed or operation == "mkdir"
        verify_run(out / "latest")
        assert toy_night.contents(out / "latest") in (old, expected)
        toy_night.run(out, 1)
        assert toy_night.contents(out / "latest") == expected
        shutil.rmtree(out)
    assert failing >= 1


def fails(action: Callable[[], object]) -> bool:
    """Whether `action` raises what the command line shows as one line with exit code 2."""
    try:
        action()
    except (OSError, InputError):
        return True
    return False


def test_short_writes_are_continued(
    toy_night: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: Callable[[int], dict[str, bytes]],
) -> None:
    original = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: original(descriptor, data[: max(1, len(data) // 3)]))
    assert toy_night.contents(toy_night.run(tmp_path, 2).run_dir) == undisturbed(2)
