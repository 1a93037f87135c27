"""A Ray that a solve starts for itself: two at once, Ctrl-C in a terminal, a disk that is full. Nothing is left running."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dualrec.solvers.distributed.ray_cluster import room_for
from dualrec.solvers.distributed.shard_writer import write_shards
from dualrec.solvers.distributed.solver import Distributed
from dualrec.solvers.errors import SolverError
from dualrec.solvers.instances import Skewed, TightFlat
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Skewed(items=900, users=4_000, candidates=200, demand=40, capacity=10).make(3)


def test_two_solves_at_once_share_a_ray_and_the_last_ends_it(problem: Problem) -> None:
    import ray

    with ThreadPoolExecutor(2) as pool:
        solves = [pool.submit(solve, problem, Distributed(workers=2)) for _ in range(2)]
        answers = [one.result(timeout=300) for one in solves]
    assert np.array_equal(answers[0].chosen, answers[1].chosen) and answers[0].gap <= 1e-3
    assert not ray.is_initialized()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Ray of two CPUs that another program has started on this machine; its address."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        f"--port={port}",
        "--num-cpus=2",
    ]
    with subprocess.Popen(
        [*words, "--include-dashboard=false", "--disable-usage-stats"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        address = ""
        for line in process.stdout:
            if "Local node IP" in line:
                address = f"{line.split()[-1]}:{port}"
            if "runtime started" in line:
                break
        yield address
        process.terminate()
        process.communicate(timeout=60)


IN_A_CLUSTER = """
import ray
import dualrec
from dualrec.solvers.distributed.ray_cluster import room_for
from dualrec.solvers.instances import Skewed

problem = Skewed(items=90, users=400, candidates=200, demand=40, capacity=10).make(3)
print(dualrec.solve(problem, dualrec.Distributed(workers=2)).gap <= 1e-3, ray.is_initialized())
try:
    dualrec.solve(problem, dualrec.Distributed(workers=3))
except dualrec.SolverError as error:
    print(error)
with room_for(1):
    print(ray.get_runtime_context().gcs_address)
print(ray.is_initialized())
"""


def test_a_cluster_that_the_environment_names(cluster: str) -> None:
    """In a process of its own, as Ray keeps the key that it has seen first."""
    environment = {**os.environ, "RAY_ADDRESS": cluster}
    words = [sys.executable, "-c", IN_A_CLUSTER]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.stdout.splitlines() == [
        "True False",
        "Ray has 2 CPUs, expected 3: one for each worker",
        cluster,
        "False",
    ], done.stderr[-2000:]


def test_no_ray_at_the_address(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setenv("RAY_ADDRESS", "")
    with room_for(1) as places:
        assert places.options == {"num_cpus": 0}, "a Ray of this machine"
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    with pytest.raises(SolverError, match="no Ray answers at nonsense"):
        solve(problem, Distributed(workers=2))
    assert not ray.is_initialized()


def test_a_connection_that_somebody_else_ended_is_not_ended_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program ends the Ray that a solve has started, and starts its own: the solve leaves that alone."""
    import ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with room_for(1):
        ray.shutdown()
        ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False)
    assert ray.is_initialized()
    with room_for(1) as places:
        assert places.options["num_cpus"] == 1, "the program's own: a CPU is reserved"
    assert ray.is_initialized()
    ray.shutdown()


@pytest.mark.parametrize("after", [0.0, 0.005, 0.2])
def test_ctrl_c_while_ray_ends(after: float, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(KeyboardInterrupt):
        with room_for(1):
            threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT)).start()
        time.sleep(1.0)  # where the end was quicker than the signal
    assert not ray.is_initialized()
    with room_for(1) as places:
        assert places.options == {"num_cpus": 0}


SOLVES = """
import sys
import dualrec

options = dualrec.Distributed(workers=2, first_eps=0.3, shrink=0.7, max_steps=30)
answer = dualrec.solve_shards(
    sys.argv[1], sys.argv[2], options, gap=0.0, on_step=lambda step: print("step", step["step"], flush=True)
)
print(answer.status.value, answer.matches, flush=True)
"""


def test_ctrl_c_in_a_terminal(tmp_path: Path) -> None:
    """The signal goes to every process of the group: the workers go on until the best answer is written, then end."""
    write_shards(TightFlat(items=1_000, users=7_500, candidates=300).make(1), tmp_path / "s")
    words = [sys.executable, "-c", SOLVES, str(tmp_path / "s"), str(tmp_path / "o")]
    environment = {**os.environ, "DUALREC_TEST": str(tmp_path)}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "step 1\n"
        os.killpg(process.pid, signal.SIGINT)
        told, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    status, matches = told.splitlines()[-1].split()
    assert status == "interrupted" and int(matches) == len(pd.read_parquet(tmp_path / "o" / "pairs")) > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o", "s"]
    ended = time.monotonic() + 30
    while (running := of_this_test(tmp_path)) and time.monotonic() < ended:
        time.sleep(0.2)
    assert running == []


def of_this_test(folder: Path) -> list[str]:
    """Command lines of the processes that a test has started, and theirs."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"DUALREC_TEST={folder}".encode() in (path / "environ").read_bytes().split(b"\0"):
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_without_room_for_messages(problem: Problem, small_disk: Path, tmp_path: Path) -> None:
    """The error of the worker that could not write is said at once, though others wait for its message."""
    from dualrec.solvers.distributed.sharded import solve_shards

    folder = write_shards(problem, tmp_path / "s")
    (small_disk / "most of it").write_bytes(bytes(3_900_000))
    with pytest.raises(SolverError, match=r"bytes cannot be written to .*small.* No space left on device"):
        solve_shards(folder, tmp_path / "o", Distributed(workers=2, folder=str(small_disk)))
    assert sorted(path.name for path in small_disk.iterdir()) == ["most of it"]
    assert not (tmp_path / "o").exists()
