"""Malformed requests by the thousand, or by the million: each is answered, and nothing else comes of it."""

import asyncio
import contextlib
import json
import random
import resource
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pytest

from dualrec.alloc import service
from dualrec.alloc.errors import InputError
from dualrec.alloc.stream import Stream, Upload
from dualrec.alloc.stream_lines import answer_line, open_store
from dualrec.alloc.tables import DAY_MS
from dualrec.alloc.upload_lines import read_upload

CODES = (200, 204, 307, 400, 404, 405, 411, 413, 422)
DAY, PLACES, USERS = 1_000, 3, list(range(50))
NOON = DAY * DAY_MS + DAY_MS // 2
MOST_GROWTH_KB = 200_000
"""Of the process's memory over all requests, garbage that is not collected yet and what was answered among it."""

SIZES = [3_000, pytest.param(600_000, marks=pytest.mark.slow)]
LINES = [5_000, pytest.param(360_000, marks=pytest.mark.slow)]
TOGETHER, SILENCE = 50, 0.2
SOCKETS = [500, pytest.param(40_000, marks=pytest.mark.slow)]


@pytest.fixture
def stream(stream_processes: ModuleType, tmp_path: Path) -> Iterator[Stream]:
    made = Stream(stream_processes.prices_of(USERS, PLACES), open_store(str(tmp_path / "m.db")))
    yield made
    made.store.close()


def check(stream: Stream) -> None:
    """It still allocates, and nobody has more than their places."""
    left = stream.store.left(DAY)
    for row in USERS:
        items = [match.item for match in stream.store.matches(DAY, row)]
        assert len(items) == len(set(items)) and len(items) + left[row] == PLACES
    free = np.flatnonzero(left)
    answer = stream.allocate(Upload("the last one", free.tolist(), [1.0] * len(free), 2), NOON)
    assert len(answer.user) == 2


@contextlib.contextmanager
def bounded_memory() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"memory grew by {grown / 1000:.0f} MB")
    assert grown < MOST_GROWTH_KB


async def asked(
    app: Callable, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> tuple[int, bytes]:
    """What an application answers to one request, as a server would hand it on."""
    plain, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": plain,
        "raw_path": plain.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"a"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    told: list[dict[str, Any]] = []
    coming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return coming.pop() if coming else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    await app(scope, receive, send)
    return told[0]["status"], b"".join(part.get("body", b"") for part in told[1:])


@pytest.mark.parametrize("count", SIZES)
def test_requests_within_the_process(count: int, stream: Stream, malformed: ModuleType) -> None:
    """An exception that the service does not answer ends the test."""
    luck, codes = random.Random(7), Counter[int]()
    app = service.make_app(stream, None, lambda: NOON / 1000)

    async def all_of_them() -> None:
        for _ in range(count):
            request = malformed.request(luck)
            code, body = await asked(app, *request)
            codes[code] += 1
            assert code in CODES, (request, code, body)
            if code >= 400 and request[0] != "HEAD":
                assert list(json.loads(body)) == ["error"], (request, body)

    with bounded_memory():
        asyncio.run(all_of_them())
    print(f"{count} requests, answered {dict(codes)}")
    assert codes[422] > count // 2
    check(stream)


@pytest.mark.parametrize("count", LINES)
def test_lines(count: int, stream: Stream, malformed: ModuleType) -> None:
    """Each is refused in words or understood; one in ten of them goes on to a stream."""
    luck, refused = random.Random(8), 0
    with bounded_memory():
        for number in range(count):
            line = malformed.line(luck)
            try:
                read_upload(line, 2)
            except InputError as error:
                refused += 1
                assert str(error)
            if number % 10 == 0:
                told = json.loads(json.dumps(answer_line(stream, line, number, 2, lambda: NOON / 1000)))
                assert ("error" in told) != ("users" in told) and told.get("kind") != "store"
    print(f"{count} lines, {refused} refused before they came to the stream")
    assert refused > count // 2
    check(stream)


@pytest.mark.parametrize("count", SOCKETS)
def test_bytes_on_sockets(count: int, stream_processes: ModuleType, malformed: ModuleType, tmp_path: Path) -> None:
    """A real `dualrec serve`; nothing on standard error, all answers by HTTP."""
    luck, codes, store = random.Random(9), Counter[str](), str(tmp_path / "m.db")
    stream_processes.publish_prices(tmp_path / "out", stream_processes.prices_of(USERS, PLACES))
    with stream_processes.serving(tmp_path / "out", store) as (process, port):
        memory = Path(f"/proc/{process.pid}/status")
        health = f"http://127.0.0.1:{port}/health"
        assert httpx.get(health, timeout=60).status_code == 200
        before = resident(memory)
        for number in range(0, count, TOGETHER):
            codes.update(answered(port, [malformed.raw_request(luck) for _ in range(TOGETHER)]))
            if number % 1_000 == 0:
                assert httpx.get(health, timeout=60).status_code == 200
        assert resident(memory) - before < MOST_GROWTH_KB
        upload = {"item": "the last one", "users": USERS, "scores": [1.0] * len(USERS), "demand": 2}
        last = httpx.post(f"http://127.0.0.1:{port}/items", json=upload, timeout=60)
        assert last.status_code == 200 and len(last.json()["users"]) == 2
        assert stream_processes.stopped(process) == ""
    print(f"{count} connections, answered {dict(codes)}")
    assert codes["422"] > count // 10 and codes["400"] > count // 10
    assert set(codes) <= {"none", "bytes b''", "100", *map(str, CODES)}
    with contextlib.closing(open_store(store)) as opened:
        assert opened.answer("the last one") is not None


def answered(port: int, requests: list[bytes]) -> Iterator[str]:
    """The code of the first answer to each, on connections of their own; "none" where none comes before all are silent."""
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)) for _ in requests]
        for link, request in zip(links, requests, strict=True):
            with contextlib.suppress(OSError):  # closed already
                link.sendall(request)
        while links:
            ready, _, _ = select.select(links, [], [], SILENCE)
            if not ready:
                break
            for link in ready:
                links.remove(link)
                found = b""
                with contextlib.suppress(OSError):
                    found = link.recv(65_536)
                yield found[9:12].decode() if found.startswith(b"HTTP/1.1 ") else f"bytes {found[:20]!r}"
        yield from ["none"] * len(links)


def resident(status: Path) -> int:
    """KB of memory of a process; 0 where the system does not say."""
    if not status.exists():
        return 0
    return int(status.read_text().partition("VmRSS:")[2].split()[0])
