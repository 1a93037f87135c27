"""A store that fails under a running `dualrec serve` and `dualrec stream`: clear errors, then on without a restart."""

import contextlib
import json
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pytest
import redis

from dualrec.alloc.match_store import Request, StoreError
from dualrec.alloc.redis_store import RedisStore
from dualrec.alloc.tables import DAY_MS

USERS, PLACES = list(range(60)), 4
Start = Callable[[Path, int], subprocess.Popen[bytes]]


class Uploads:
    """Uploads to a service and to `dualrec stream`, and all that they answered."""

    def __init__(self, port: int, lines: subprocess.Popen[str]) -> None:
        self.url, self.lines = f"http://127.0.0.1:{port}/items", lines
        self.luck, self.sent, self.told = np.random.default_rng(4), 0, list[dict[str, Any]]()

    def upload(self) -> dict[str, Any]:
        self.sent += 1
        users = self.luck.choice(USERS, 30, replace=False).tolist()
        return {"item": f"new {self.sent}", "users": users, "scores": self.luck.random(30).tolist(), "demand": 1}

    def by_http(self) -> tuple[int, dict[str, Any]]:
        found = httpx.post(self.url, json=self.upload(), timeout=60)
        return found.status_code, found.json()

    def by_line(self) -> dict[str, Any]:
        assert self.lines.stdin and self.lines.stdout
        self.lines.stdin.write(json.dumps(self.upload()) + "\n")
        self.lines.stdin.flush()
        found: dict[str, Any] = json.loads(self.lines.stdout.readline())
        return found

    def answered(self) -> bool:
        """Whether both were answered; an error is one of the store and says something."""
        code, body = self.by_http()
        line = self.by_line()
        self.told += [one for one in (body, line) if "error" not in one]
        assert code == 200 or (code == 503 and body["error"]), (code, body)
        assert "error" not in line or (line["kind"] == "store" and line["error"]), line
        return code == 200 and "error" not in line


@contextlib.contextmanager
def working(stream_processes: ModuleType, folder: Path, store: str) -> Iterator[tuple[Uploads, list[int]]]:
    """A service and a stream on one store, and their process ids; both end in good order."""
    stream_processes.publish_prices(folder / "out", stream_processes.prices_of(USERS, PLACES))
    words = ["stream", "--out", str(folder / "out"), "--store", store]
    with (
        stream_processes.serving(folder / "out", store) as (service, port),
        stream_processes.process(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as lines,
    ):
        uploads = Uploads(port, lines)
        assert uploads.answered()
        yield uploads, [service.pid, lines.pid]
        assert [stream_processes.stopped(one) for one in (service, lines)] == ["", ""]


def check(stream_processes: ModuleType, store: str, day: int, uploads: Uploads) -> None:
    """What was answered is in the store, and nobody has more than their places."""
    if int(time.time() * 1000) // DAY_MS != day:
        pytest.skip("midnight came in the middle of the test: its answers are of two days")
    capacity = np.full(len(USERS), PLACES)
    assert not stream_processes.broken_promises(store, day, capacity, uploads.told, USERS)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process are set on Linux alone")
def test_files_that_may_not_grow_for_a_while(stream_processes: ModuleType, tmp_path: Path) -> None:
    store, day = str(tmp_path / "m.db"), int(time.time() * 1000) // DAY_MS
    with working(stream_processes, tmp_path, store) as (uploads, processes):
        for room in (0, 20_000, 60_000):
            limits = [resource.prlimit(one, resource.RLIMIT_FSIZE) for one in processes]
            for one, (_, hard) in zip(processes, limits, strict=True):
                resource.prlimit(one, resource.RLIMIT_FSIZE, (room, hard))
            for _ in range(20):
                if not uploads.answered():
                    break
            else:
                raise AssertionError("files grew all the same")
            assert not uploads.answered(), "and it stays an error"
            for one, limit in zip(processes, limits, strict=True):
                resource.prlimit(one, resource.RLIMIT_FSIZE, limit)
            assert all(uploads.answered() for _ in range(5)), "there is room again"
    check(stream_processes, store, day, uploads)


def test_a_disk_that_is_full_for_a_while(stream_processes: ModuleType, tmp_path: Path) -> None:
    """A small disk of the service's own, seen from here through its process."""
    disk, command = tmp_path / "disk", stream_processes.PROGRAM
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=600k none {disk}"
    with contextlib.suppress(FileNotFoundError):
        if not subprocess.run(["unshare", "-Urm", "sh", "-c", mount], check=False, capture_output=True).returncode:
            stream_processes.PROGRAM = ["unshare", "-Urm", "sh", "-c", f'{mount} && exec "$@"', "-", *command]
    if stream_processes.PROGRAM is command:
        pytest.skip("a small disk needs user namespaces, which are not allowed here; a file-size limit is tested too")
    stream_processes.publish_prices(tmp_path / "out", stream_processes.prices_of(USERS, PLACES))
    try:
        with stream_processes.serving(tmp_path / "out", str(disk / "m.db")) as (service, port):
            inside = Path(f"/proc/{service.pid}/root{disk}")
            if not os.access(inside, os.W_OK):
                pytest.skip("the disk of another process cannot be reached from here")
            url, given = f"http://127.0.0.1:{port}/items", set()
            # The port listens before the store is open.
            assert httpx.get(url.replace("items", "health"), timeout=60).status_code == 200
            for round_ in range(3):
                with contextlib.suppress(OSError), (inside / "filler").open("wb", buffering=0) as filler:
                    while True:
                        filler.write(bytes(1000))
                codes = []
                for number in range(100):
                    users = [(number + round_) % 60]
                    upload = {"item": f"{round_} {number}", "users": users, "scores": [1.0]}
                    found = httpx.post(url, json=upload, timeout=60)
                    codes.append(found.status_code)
                    assert found.status_code == 200 or (found.status_code == 503 and "Full" in found.text), found.text
                    given |= {(user, upload["item"]) for user in found.json().get("users", [])}
                assert codes[-1] == 503
                (inside / "filler").unlink()
                found = httpx.post(url, json={"item": f"{round_}", "users": [59 - round_], "scores": [1.0]}, timeout=60)
                assert found.status_code == 200, found.text
                given |= {(user, f"{round_}") for user in found.json()["users"]}
            kept = set()
            for user in USERS:
                matches = httpx.get(url.replace("items", f"users/{user}/matches"), timeout=60).json()
                assert len(matches) <= PLACES
                kept |= {(user, match["item"]) for match in matches}
            assert given == kept
            assert stream_processes.stopped(service) == ""
    finally:
        stream_processes.PROGRAM = command


def test_a_server_that_goes_and_comes_back(redis_in: Start, stream_processes: ModuleType, tmp_path: Path) -> None:
    """Once killed, once with a disk that is full: Redis ends by itself where it cannot flush."""
    folder, port = tmp_path / "server", stream_processes.free_port()
    folder.mkdir()
    server, store, day = redis_in(folder, port), f"redis://127.0.0.1:{port}/0", int(time.time() * 1000) // DAY_MS
    try:
        with working(stream_processes, tmp_path, store) as (uploads, _):
            for end in ("killed", "full"):
                if end == "killed":
                    server.kill()
                else:
                    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
                    for _ in range(10):
                        uploads.answered()
                server.wait(timeout=60)
                assert not any(uploads.answered() for _ in range(3))
                server = redis_in(folder, port)
                assert all(uploads.answered() for _ in range(5))
        check(stream_processes, store, day, uploads)
    finally:
        server.kill()
        server.wait()


def test_a_server_that_comes_back_less_durable_is_refused(
    redis_in: Start, stream_processes: ModuleType, tmp_path: Path
) -> None:
    folder, port = tmp_path / "server", stream_processes.free_port()
    folder.mkdir()
    server, address = redis_in(folder, port), f"redis://127.0.0.1:{port}/0"
    one = Request("a", np.arange(3), np.ones(3), 2, 0)
    try:
        with (
            contextlib.closing(RedisStore(address)) as store,
            contextlib.closing(redis.Redis.from_url(address)) as other,
        ):
            store.open_day(5, np.full(3, 2))
            store.reserve(5, one)
            other.config_set("appendfsync", "everysec")
            other.client_kill_filter(_type="normal", skipme=True)
            for _ in range(2):
                with pytest.raises(StoreError, match="appendfsync everysec, expected always"):
                    store.reserve(5, one)
            other.config_set("appendfsync", "always")
            assert store.reserve(5, one).repeated
    finally:
        server.kill()
        server.wait()


def test_a_server_of_uploads_that_goes_and_comes_back(
    redis_in: Start, stream_processes: ModuleType, tmp_path: Path
) -> None:
    """The consumer waits, says so in two lines, and answers what is there afterwards; each entry once for all."""
    folder, port = tmp_path / "server", stream_processes.free_port()
    folder.mkdir()
    stream_processes.publish_prices(tmp_path / "out", stream_processes.prices_of(USERS, PLACES))
    server, address = redis_in(folder, port), f"redis://127.0.0.1:{port}/0"
    where = ["--store", str(tmp_path / "m.db"), "--input", f"{address}?stream=new&claim=1"]
    names: list[bytes] = []
    try:
        with (
            contextlib.closing(redis.Redis.from_url(address)) as client,
            stream_processes.process(["stream", "--out", str(tmp_path / "out"), *where]) as consumer,
        ):
            for round_ in range(2):
                for number in range(40):
                    upload = {"item": f"{round_} {number}", "users": [number], "scores": [1.0], "demand": 1}
                    names.append(client.xadd("new", {"upload": json.dumps(upload)}))
                answers = lambda: {fields[b"upload"] for _, fields in client.xrange("new:answers")}  # noqa: E731
                stream_processes.until(lambda: answers() == set(names))  # noqa: B023
                if round_ == 0:
                    server.kill()
                    server.wait()
                    stream_processes.until(lambda: b"trying again" in os.read(consumer.stderr.fileno(), 10_000))
                    server = redis_in(folder, port)
            told = [json.loads(fields[b"answer"]) for _, fields in client.xrange("new:answers")]
            assert all(len(one["users"]) == 1 for one in told)
            assert client.xpending("new", "dualrec")["pending"] == 0
            assert stream_processes.stopped(consumer) == "dualrec: works again\n"
    finally:
        server.kill()
        server.wait()
