"""`kill -9` at random moments of a real night: `latest` is whole at all times, and the rerun ends with the same bytes."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Kill = Callable[[Path, float], tuple[bool, float]]
FILES = ("matches.parquet", "prices.parquet")
NIGHTLY = ["-c", "from dualrec.alloc.cli import main; main()", "nightly"]


def contents(run_dir: Path) -> list[bytes]:
    return [(run_dir / name).read_bytes() for name in FILES]


@pytest.fixture
def kill(kill_run: Callable[..., tuple[bool, float]], small_night: tuple[str, ...]) -> Kill:
    """Start the night on a folder and kill it after some seconds; see `kill_run`."""
    return lambda out, seconds: kill_run([*NIGHTLY, "--out", str(out), *small_night], out, seconds)


@pytest.fixture(scope="module")
def before(night: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with yesterday's run."""
    out = tmp_path_factory.mktemp("before") / "out"
    night(out, "data.day=11")
    return out


@pytest.fixture
def calm(before: Path, kill: Kill, tmp_path: Path) -> tuple[list[bytes], float]:
    """The files of a night that nothing disturbed, in a process of its own, and the seconds that it took."""
    out = tmp_path / "calm"
    shutil.copytree(before, out, symlinks=True)
    killed, seconds = kill(out, 300)
    assert not killed
    assert contents(out / "latest") != contents(before / "latest")
    return contents(out / "latest"), seconds


def test_a_night_killed_three_times(
    night: Callable, before: Path, kill: Kill, calm: tuple[list[bytes], float], tmp_path: Path
) -> None:
    """Each start continues where the last was killed; the fourth ends."""
    (expected, whole), rng, out = calm, random.Random(3), tmp_path / "out"
    shutil.copytree(before, out, symlinks=True)
    kills = [kill(out, rng.uniform(0, 0.5 * whole))[0] for _ in range(3)]
    assert any(kills), "no kill came before the end of the night"
    assert contents(out / "latest") in (contents(before / "latest"), expected)
    check_rerun(night, out, expected)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_of_a_night(
    night: Callable, before: Path, kill: Kill, calm: tuple[list[bytes], float], tmp_path: Path
) -> None:
    (expected, whole), rng, kills = calm, random.Random(20), 0
    for number in range(20):
        out = tmp_path / str(number)
        shutil.copytree(before, out, symlinks=True)
        kills += kill(out, rng.uniform(0, whole))[0]
        assert contents(out / "latest") in (contents(before / "latest"), expected)
        check_rerun(night, out, expected)
    assert kills >= 10, "too few kills came before the end of the night to mean anything"


def check_rerun(night: Callable, out: Path, expected: list[bytes]) -> None:
    rerun = night(out)
    assert contents(rerun.run_dir) == contents(out / "latest") == expected
    assert not list(out.glob(".publishing-*"))
    assert not list((out / "work").glob("*.partial"))
