"""The same night gives the same bytes, whatever the number of threads, the folder or the processors it may use."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., object]
FILES = ("matches.parquet", "prices.parquet")
ON_ONE_PROCESSOR = "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
NIGHTLY = "from dualrec.alloc.cli import main; main()"
LARGER = ("data.world.users=6000", "data.world.creators=600", "data.world.items_per_day=80", "allocation.demand=100")


def contents(run_dir: Path) -> list[bytes]:
    return [(run_dir / name).read_bytes() for name in FILES]


def one_process(python_run: Callable, out: Path, settings: tuple[str, ...], affinity: bool, **environment: str) -> Path:
    """A night in a process of its own."""
    if affinity and not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system lets no process choose its processors")
    program = (ON_ONE_PROCESSOR if affinity else "") + NIGHTLY
    done = python_run("-c", program, "nightly", "--out", out, *settings, **environment)
    assert done.returncode == 0, done.stderr
    return (out / "latest").resolve()


@pytest.fixture(scope="module")
def expected(night: Run, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return contents(night(tmp_path_factory.mktemp("two"), "threads=2").run_dir)


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads(night: Run, expected: list[bytes], tmp_path: Path, threads: int) -> None:
    assert contents(night(tmp_path / "elsewhere", f"threads={threads}").run_dir) == expected


def test_one_processor_and_one_openmp_thread(
    python_run: Callable, small_night: tuple[str, ...], expected: list[bytes], tmp_path: Path
) -> None:
    found = one_process(
        python_run, tmp_path, small_night, True, OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1", PYTHONHASHSEED="5"
    )
    assert contents(found) == expected


@pytest.mark.slow
def test_a_larger_night_with_other_threads(python_run: Callable, small_night: tuple[str, ...], tmp_path: Path) -> None:
    settings = (*small_night, *LARGER)
    variants = [
        (False, {}, "threads=2"),
        (False, {}, "threads=1"),
        (True, {"OMP_NUM_THREADS": "1"}, "threads=0"),
        (False, {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "1"}, "threads=3"),
        (False, {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}, "threads=2"),
    ]
    found = []
    for number, (affinity, environment, threads) in enumerate(variants):
        out = tmp_path / str(number)
        found.append(
            contents(one_process(python_run, out, (*settings, threads), affinity, **{**os.environ, **environment}))
        )
    assert all(files == found[0] for files in found)
