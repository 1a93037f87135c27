"""Nights on a real Ray: the bytes of one process, also where workers are killed; Ctrl-C leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dualrec.alloc import ray_partitions
from dualrec.alloc.errors import InputError
from dualrec.alloc.night import NightResult
from dualrec.alloc.partitions import Shared, given
from dualrec.alloc.ray_partitions import RayEngine

Night = Callable[..., NightResult]
WORKERS = 3
STAGES = ("activity", "retrieval", "ranking", "candidates")
NIGHTLY = "from dualrec.alloc.cli import main; main()"
KILLED_AT = ("rows_of", "day_of", "best_of")


class KillingEngine(RayEngine):
    """Kills a worker, by -9, soon after its first parts of some work were handed out; each work once."""

    killed: list[str]

    def run(self, work: Callable[..., Any], parts: Sequence[Any], *shared: Shared) -> Iterator[Any]:
        if work.__name__ in KILLED_AT and work.__name__ not in self.killed:
            self.killed.append(work.__name__)
            places = self._begun()
            process = places.ray.get(self.actors[-1].__ray_call__.remote(lambda _: os.getpid()), timeout=60)
            threading.Timer(0.02, os.kill, (process, signal.SIGKILL)).start()
        return super().run(work, parts, *shared)


def written(out: Path, stages: Sequence[str] = STAGES) -> dict[str, str]:
    """Checksum of every file of the stages, but the one that holds seconds."""
    return {
        f"{stage}/{name}": record["sha256"]
        for stage in stages
        for name, record in json.loads((out / "work" / stage / "manifest.json").read_text())["files"].items()
        if name != "candidates.json"
    }


@pytest.fixture(scope="module")
def ray_here() -> Iterator[Any]:
    import ray

    ray.init(address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def alone(night: Night, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "out"
    night(out)
    return out


def fail(part: int) -> int:
    if part == 2:
        raise InputError("part 2 is not there")
    return part


def power(base: int, part: int) -> int:
    time.sleep(0.05 * (part % 2))
    return base**part


@pytest.mark.usefixtures("ray_here")
def test_answers_in_order_and_errors() -> None:
    engine = RayEngine(WORKERS)
    shared = engine.share(given, 3)
    assert list(engine.run(power, range(20), shared)) == [3**part for part in range(20)]
    with pytest.raises(InputError, match="part 2 is not there"):
        list(engine.run(fail, range(5)))
    engine.rest()
    assert list(engine.run(power, range(4), shared)) == [1, 3, 9, 27]
    engine.close()


def end(part: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL if part == 1 else 0)


@pytest.mark.usefixtures("ray_here")
def test_a_part_that_always_loses_its_worker_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_partitions, "RETRIES", 1)
    engine = RayEngine(2)
    with pytest.raises(InputError, match="a worker was lost 2 times at one part"):
        list(engine.run(end, range(3)))
    assert list(engine.run(power, range(2), engine.share(given, 5))) == [1, 5]
    engine.close()


@pytest.mark.usefixtures("ray_here")
def test_more_workers_than_ray_has_room_for(night: Night, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"Ray has {WORKERS} CPUs, expected 9: one for each worker"):
        night(tmp_path, "engine=ray", "workers=9")


@pytest.mark.usefixtures("ray_here")
def test_a_night_on_two_workers_and_on_three_of_which_some_are_killed(
    night: Night, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two, three = tmp_path / "two", tmp_path / "three"
    calm = night(two, "engine=ray", "workers=2")
    assert written(two) == written(alone)
    assert calm.metrics["engine"] == "workers"
    assert calm.metrics["allocation"]["solver"] == "distributed"
    KillingEngine.killed = []
    monkeypatch.setattr(ray_partitions, "RayEngine", KillingEngine)
    night(three, "engine=ray", "workers=3")
    assert KillingEngine.killed == list(KILLED_AT)
    assert written(three) == written(alone)
    assert written(three, ["allocation", "evaluation", "serving"]) == written(
        two, ["allocation", "evaluation", "serving"]
    )


# Processes of their own, which start a Ray each


def descendants(process: int) -> list[int]:
    """Processes that this one started, and those that they did."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (told := stat(int(folder.name))):
            parents.setdefault(int(told[1]), []).append(int(folder.name))
    found, left = [], [process]
    while left:
        children = parents.get(left.pop(), [])
        found += children
        left += children
    return found


def stat(process: int) -> list[str]:
    """State, parent and more of a process; empty where it is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def is_worker(process: int) -> bool:
    try:
        return b"PartWorker" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def begin(out: Path, small_night: tuple[str, ...]) -> subprocess.Popen[str]:
    words = ["nightly", "--out", str(out), "--engine", "ray", "--workers", "2", *small_night]
    return subprocess.Popen(
        [sys.executable, "-c", NIGHTLY, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_ctrl_c_ends_the_workers(small_night: tuple[str, ...], tmp_path: Path) -> None:
    process = begin(tmp_path / "out", small_night)
    until(lambda: any(map(is_worker, descendants(process.pid))))
    there = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "dualrec: interrupted; run the same command again to continue"
    until(lambda: all(stat(one)[:1] in ([], ["Z"]) for one in there))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("later", [0.0, 0.3, 0.8, 1.5, 2.5])
def test_ctrl_c_while_ray_starts(later: float, small_night: tuple[str, ...], tmp_path: Path) -> None:
    process = begin(tmp_path / "out", small_night)
    until(lambda: descendants(process.pid))
    time.sleep(later)
    there = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    until(lambda: all(stat(one)[:1] in ([], ["Z"]) for one in there))


@pytest.mark.slow
def test_two_nights_at_once(small_night: tuple[str, ...], alone: Path, tmp_path: Path) -> None:
    nights = [begin(tmp_path / name, small_night) for name in ("one", "other")]
    for process in nights:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert written(tmp_path / "one") == written(tmp_path / "other") == written(alone)
