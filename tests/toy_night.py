"""A night of three small stages on the real frame, for tests of crash safety; also a script.

    python toy_night.py OUT SEED            one night
    python toy_night.py OUT SEED --every N  nights, each killed at another operation on the disk: 0, N, 2 N, ...

The second prints a line for each kill that broke the promise, then how many kills there were.
"""

import functools
import itertools
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from dualrec.alloc.artifacts import load_array, load_json, save_arrays, save_json, write_text
from dualrec.alloc.config import Config
from dualrec.alloc.night import NightResult, run_night
from dualrec.alloc.parquet import write_parquet
from dualrec.alloc.publish import verify_run
from dualrec.alloc.stage import Stage, StageContext
from dualrec.alloc.stage_store import code_version

PAUSE = float(os.environ.get("TOY_PAUSE", "0"))
DISK_OPERATIONS = ("open", "write", "fsync", "replace", "mkdir", "symlink", "unlink")


def numbers(context: StageContext) -> None:
    rng = np.random.default_rng(context.config.seed)
    for name in ("item", "user", "score"):
        time.sleep(PAUSE)
        save_arrays(context.out, **{name: rng.integers(0, 1000, 2000)})


def matches(context: StageContext) -> None:
    task = context.progress.task("columns", 3)
    columns = {}
    for name in ("item", "user", "score"):
        time.sleep(PAUSE)
        values = np.sort(load_array(context.input("numbers") / f"{name}.npy"))
        # Not pa.array: it loads pandas, which takes longer than this whole night.
        columns[name] = pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])
        task.advance()
    write_parquet(context.out / "matches.parquet", columns)


def report(context: StageContext) -> None:
    time.sleep(PAUSE)
    size = (context.input("matches") / "matches.parquet").stat().st_size
    metrics = {"data": {"name": "toy world", "day": context.config.seed}, "allocation": {"value": size}}
    save_json(context.out / "metrics.json", metrics)
    write_text(context.out / "report.html", f"<p>{size}</p>")


STAGES = (
    Stage("numbers", numbers, settings=("seed",)),
    Stage("matches", matches, ("numbers",)),
    Stage("report", report, ("numbers", "matches"), ("seed",)),
)
PUBLISHED = {"matches.parquet": "matches", "metrics.json": "report", "report.html": "report"}


def run(out: Path, seed: int) -> NightResult:
    return run_night(Config(out=str(out), seed=seed), stages=STAGES, published=PUBLISHED)


def contents(run_dir: Path) -> dict[str, bytes]:
    """The published files; config.yaml names the output folder, so it and the manifest are left out."""
    names = sorted({path.name for path in run_dir.iterdir()} - {"config.yaml", "MANIFEST.json"})
    return {name: (run_dir / name).read_bytes() for name in names}


def kill_at(operation: int) -> None:
    """Let this process die by SIGKILL in place of its disk operation of that number."""
    left = operation

    def dying(original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **named)

        return call

    for name in DISK_OPERATIONS:
        setattr(os, name, dying(getattr(os, name)))


def in_child(action: Callable[[], object]) -> int:
    """The wait status of a forked child that does `action`."""
    child = os.fork()
    if child == 0:
        action()
        os._exit(0)
    return os.waitpid(child, 0)[1]


def kill_everywhere(out: Path, seed: int, step: int) -> int:
    """Kill nights at operations 0, step, 2 step, ...; check what readers see, and let a rerun end each."""
    os.fsync = lambda descriptor: None  # a kill loses nothing that was written, only slow disks make this matter
    code_version()  # once, not in every child
    assert in_child(lambda: run(out / "calm", seed)) == 0
    assert in_child(lambda: run(out / "before", seed + 1)) == 0
    expected = contents(out / "calm" / "latest")
    for operation in itertools.count(0, step):
        folder = out / str(operation)
        shutil.copytree(out / "before", folder, symlinks=True)
        if in_child(functools.partial(run_and_die, folder, seed, operation)) == 0:
            return operation // step
        verify_run(folder / "latest")
        if load_json(folder / "latest" / "metrics.json")["data"]["day"] not in (seed, seed + 1):
            print(f"operation {operation}: latest is of another day")
        if in_child(functools.partial(run, folder, seed)) != 0 or contents(folder / "latest") != expected:
            print(f"operation {operation}: the rerun differs")
        if list(folder.glob(".publishing-*")) or list((folder / "work").glob("*.partial")):
            print(f"operation {operation}: something is left over")
        shutil.rmtree(folder)
    raise AssertionError("never reached")


def run_and_die(out: Path, seed: int, operation: int) -> None:
    """One night in a process that dies at the given disk operation."""
    kill_at(operation)
    run(out, seed)


if __name__ == "__main__":
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    if "--every" in sys.argv:
        print(f"kills: {kill_everywhere(folder, number, int(sys.argv[4]))}")
    else:
        run(folder, number)
