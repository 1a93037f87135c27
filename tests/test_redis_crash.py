"""`kill -9` of the Redis server while writers are at work: it comes back from its append-only file with every answer."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

DAY, USERS = 5, 300
CAPACITY = np.random.default_rng(1).integers(0, np.tile([6, 1500], USERS // 2))
WRITER = str(Path(__file__).with_name("store_writer.py"))
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the state of a process is read in /proc")


def port_of_its_own() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize(
    ("writers", "kills"), [(4, 4), pytest.param(16, 200, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_a_server_killed_under_its_writers(  # noqa: PLR0917
    writers: int,
    kills: int,
    redis_in: Callable[[Path, int], subprocess.Popen[bytes]],
    store_writer: ModuleType,
    store_history: ModuleType,
    store_crowd: ModuleType,
    tmp_path: Path,
) -> None:
    port, folder = port_of_its_own(), tmp_path / "server"
    folder.mkdir()
    server, where = redis_in(folder, port), f"redis://127.0.0.1:{port}/0"
    with contextlib.closing(store_writer.open_store(where)) as store:
        store.open_day(DAY, CAPACITY)
    with store_crowd.Crowd([WRITER, where], tmp_path, 21, DAY, USERS, 1_250 * writers) as crowd:
        crowd.start(writers)
        crowd.wait_until_working()
        for _ in range(kills):
            time.sleep(crowd.random.uniform(0.02, 0.3))
            server.kill()
            server.wait()
            server = redis_in(folder, port)
        time.sleep(0.5)
        crowd.kill_all()
        with contextlib.closing(store_writer.open_store(where)) as store:
            found = store_history.violations(crowd.logs, store, DAY, CAPACITY)
    server.kill()
    server.wait()
    told, _ = store_history.read_logs(crowd.logs)
    print(f"{kills} kills of the server, {len(told)} answers, {len(crowd.errors)} requests refused meanwhile")
    assert not found, f"seed {crowd.seed}: {len(found)} violations, {found[:5]}"
    assert len(told) > 50 * kills and sum(one.repeated for one in told) > 10 * kills
