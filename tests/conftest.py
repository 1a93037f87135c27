"""Fixtures that several test files use."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

# A shell that starts the tests in the background has them ignore SIGINT, and with them the programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# As the command line does: threads that wait must not hold the cores. Read once, when the first OpenMP loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A slow or busy machine is no failure.
settings.register_profile("repeatable", deadline=None, derandomize=True)  # the same examples in every run
settings.register_profile("random", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session")
def limited_problem() -> Callable[..., Any]:
    """A small irregular problem with floors and caps per (user, creator): `limited_problem(seed, kind, **sizes)`.

    Floors often cannot all be met. `floors=False` or `creators=0` leaves them out.
    """
    import numpy as np

    from dualrec.solvers.instances import Ragged
    from dualrec.solvers.problem import Problem

    def make(seed: int, kind: str = "spread", floors: bool = True, creators: int = 3, **sizes: Any) -> Problem:
        plain = Ragged(kind=kind, **sizes).make(seed)
        rng = np.random.default_rng([seed, 7])
        limits: dict[str, Any] = {}
        if floors:
            limits["floor"] = rng.integers(0, plain.demand + 1)
        if creators:
            limits |= {"creator": rng.integers(0, creators, plain.items), "creator_cap": int(rng.integers(0, 3))}
        return Problem.from_csr(plain.indptr, plain.user, plain.score, plain.demand, plain.capacity, **limits)

    return make


def module_beside(name: str) -> ModuleType:
    """A module of this folder that is no test; it cannot be imported by name."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def toy_night() -> ModuleType:
    """The module tests/toy_night.py: a night of three small stages."""
    return module_beside("toy_night")


@pytest.fixture(scope="session")
def small_platform() -> ModuleType:
    """The module tests/small_platform.py: a simulated platform of 400 users, warmed up once."""
    return module_beside("small_platform")


@pytest.fixture(scope="session")
def logs() -> ModuleType:
    """The module tests/random_logs.py: random interaction logs, and what they say from plain dictionaries."""
    return module_beside("random_logs")


@pytest.fixture(scope="session")
def independent_checker() -> ModuleType:
    """The module tests/independent_checker.py: limits and optimum from plain lists, without the package."""
    return module_beside("independent_checker")


@pytest.fixture(scope="session")
def store_history() -> ModuleType:
    """The module tests/store_history.py: what a store told its writers, held against what it says afterwards."""
    return module_beside("store_history")


@pytest.fixture(scope="session")
def store_writer() -> ModuleType:
    """The module tests/store_writer.py: a process that writes to a store until it is killed."""
    return module_beside("store_writer")


@pytest.fixture(scope="session")
def store_crowd() -> ModuleType:
    """The module tests/store_crowd.py: many such processes."""
    return module_beside("store_crowd")


@pytest.fixture(scope="session")
def stream_processes() -> ModuleType:
    """The module tests/stream_processes.py: `dualrec stream` and `dualrec serve` on runs that have nothing but prices."""
    return module_beside("stream_processes")


@pytest.fixture(scope="session")
def malformed() -> ModuleType:
    """The module tests/malformed.py: requests and lines that are wrong."""
    return module_beside("malformed")


@pytest.fixture(scope="session")
def random_problems() -> ModuleType:
    """The module tests/random_problems.py: small random problems of every awkward kind."""
    return module_beside("random_problems")


@pytest.fixture
def python_run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run this Python on arguments in another process; `environment` is added to the present one."""

    def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False
        )

    return run


@pytest.fixture
def kill_run() -> Callable[..., tuple[bool, float]]:
    """Start a night in another process and `kill -9` it; whoever reads `latest` meanwhile must see a whole run.

    `kill_run(arguments, out, seconds, **environment)` runs this Python on `arguments`, waits until that process holds
    `out` and then `seconds` more, checking `out/latest` again and again. It returns whether the kill came before the
    night's end, and the seconds for which the process held `out`.
    """

    def run(arguments: list[str], out: Path, seconds: float, **environment: str) -> tuple[bool, float]:
        published = (out / "latest").is_symlink()
        process = subprocess.Popen(
            [sys.executable, *arguments], env={**os.environ, **environment}, stdout=subprocess.DEVNULL
        )
        try:
            while process.poll() is None and _lock_holder(out) != process.pid:
                time.sleep(0.002)
            start = time.monotonic()
            while process.poll() is None and time.monotonic() - start < seconds:
                _check_latest(out, published)
                time.sleep(0.002)
            held = time.monotonic() - start
        finally:
            process.kill()
        code = process.wait()
        _check_latest(out, published)
        assert code in (0, -9), f"the night ended with exit code {code}"
        return code == -9, held

    return run


def _lock_holder(out: Path) -> int | None:
    try:
        return int((out / ".lock").read_text())
    except (FileNotFoundError, ValueError):
        return None


def _check_latest(out: Path, published: bool) -> None:
    """Whatever `latest` points at now is whole; only before the first night may there be none."""
    from dualrec.alloc.publish import verify_run

    if published or (out / "latest").is_symlink():
        verify_run((out / "latest").resolve())


SMALL_WORLD = (
    "data.world.users=800",
    "data.world.creators=80",
    "data.world.items_per_day=15",
    "data.world.days=14",
    "data.world.content_dim=8",
    "data.world.topics=10",
)
SMALL_NIGHT = (
    "seed=3",
    "data.regime=strict_cold",
    "towers.epochs=1",
    "towers.dim=16",
    "activity.trees=20",
    "allocation.demand=30",
    "allocation.capacity=4",
    "retrieval.two_tower=30",
    "retrieval.i2i2u=30",
    "retrieval.i2u2u=30",
    "retrieval.sequential=40",
    "retrieval.price_candidates=50",
)


@pytest.fixture(scope="session")
def small_night() -> tuple[str, ...]:
    """Settings of a night that takes a few seconds, on the built-in world of `SMALL_WORLD`."""
    return (*SMALL_WORLD, *SMALL_NIGHT)


@pytest.fixture(scope="session")
def night() -> Callable[..., Any]:
    """Run a small night here: `night(out, *overrides, data=FOLDER)`; without `data`, on the small built-in world.

    An `out` used before gives its finished stages to the next night, as far as the settings agree. The report's page,
    which takes half of the time, is left empty unless `report` is asked for.
    """
    from dualrec.alloc.config import load_config
    from dualrec.alloc.night import run_night

    def run(out: Path, *overrides: str, data: Path | None = None, report: bool = False) -> Any:
        source = SMALL_WORLD if data is None else ("data.reader=generic", f'data.path="{data}"')
        with pytest.MonkeyPatch.context() as patch:
            if not report:
                patch.setattr("dualrec.alloc.stage_report.render_report", lambda *parts: "")
            return run_night(load_config("nightly", [*source, *SMALL_NIGHT, *overrides, f'out="{out}"']))

    return run


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small world as files of the generic schema; not to be changed, see `edited_data`."""
    from dualrec.alloc.config import load_config
    from dualrec.alloc.generic_writer import write_tables
    from dualrec.alloc.world import make_world

    config = load_config("nightly", [*SMALL_WORLD, *SMALL_NIGHT])
    folder = tmp_path_factory.mktemp("small") / "data"
    write_tables(make_world(config.data.world, config.seed), folder)
    return folder


@pytest.fixture
def edited_data(small_data: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the small world's files, changed: `edited_data(items=change)` with `change(table) -> table`."""
    import pyarrow.parquet as pq

    def edit(**changes: Callable[[Any], Any]) -> Path:
        folder = tmp_path / "data"
        shutil.copytree(small_data, folder, dirs_exist_ok=True)
        for name, change in changes.items():
            path = folder / f"{name}.parquet"
            pq.write_table(change(pq.read_table(path)), path)
        return folder

    return edit


@pytest.fixture(scope="session")
def cold_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of the strict-cold night; later nights on it continue from the stages that they share."""
    return tmp_path_factory.mktemp("cold")


@pytest.fixture(scope="session")
def cold(night: Callable[..., Any], cold_out: Path, small_data: Path) -> Any:
    """A night in the strict-cold regime on the small world's files."""
    return night(cold_out, data=small_data, report=True)


@pytest.fixture(scope="session")
def warm(night: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Any:
    """The same night in the warm regime."""
    return night(tmp_path_factory.mktemp("warm"), "data.regime=warm", data=small_data)


@pytest.fixture(scope="session")
def tables(small_data: Path) -> Any:
    """The small world's tables, as read from its files."""
    from dualrec.alloc.readers import read_tables

    return read_tables("generic", small_data)


@pytest.fixture(scope="session")
def redis_in() -> Callable[[Path, int], subprocess.Popen[bytes]]:
    """Starts a Redis that flushes every write, in a folder, on a port; skips where there is no server to start."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("neither redis-server nor valkey-server is on the PATH: the shared store is not tested")
    return partial(start_redis, program)


@pytest.fixture(scope="session")
def redis_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="session")
def redis_server(
    redis_in: Callable[[Path, int], subprocess.Popen[bytes]], redis_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a server of our own."""
    process = redis_in(tmp_path_factory.mktemp("redis"), redis_port)
    yield f"redis://127.0.0.1:{redis_port}/0"
    process.kill()
    process.wait()


def start_redis(program: str, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """A server with its append-only file in ``folder``, once it answers."""
    words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    process = subprocess.Popen(
        [program, *words, "--appendonly", "yes", "--appendfsync", "always"], stdout=subprocess.DEVNULL
    )
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as link:
            link.sendall(b"PING\r\n")
            if link.recv(64).startswith(b"+PONG"):
                return process
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"{program} does not answer on port {port}")
