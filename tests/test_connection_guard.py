"""Clients that connect and say nothing, or half of it: they are let go, and keep nobody else out."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import uvicorn

from dualrec.alloc import connection_guard

HALVES = [b"", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: a\r\nX-", b"POST /items HTTP/1.1\r\n"]
GET = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"


async def slow_answer(scope: dict[str, Any], receive: Callable, send: Callable) -> None:
    """An application that answers, at /wait once the test says so."""
    await receive()
    while scope["path"] == "/wait" and not slow_answer.go.is_set():  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server whose clients have 0.3 s for a head, and of which five may wait."""
    monkeypatch.setattr(connection_guard, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(connection_guard, "MOST_WAITING", 5)
    slow_answer.go = threading.Event()  # type: ignore[attr-defined]
    config = uvicorn.Config(
        slow_answer,  # type: ignore[arg-type]
        port=0,
        http=connection_guard.guarded_protocol(),
        ws="none",
        lifespan="off",
        log_level="critical",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def connected(port: int, first: bytes = b"") -> socket.socket:
    link = socket.create_connection(("127.0.0.1", port), timeout=30)
    link.sendall(first)
    return link


def read_to_end(link: socket.socket) -> bytes:
    """What comes until the server closes; it fails where that never comes."""
    found = b""
    with link, contextlib.suppress(ConnectionResetError):
        while part := link.recv(65_536):
            found += part
    return found


@pytest.mark.parametrize("half", HALVES)
def test_one_that_sends_nothing_or_half_a_head_is_let_go(served: int, half: bytes) -> None:
    assert read_to_end(connected(served, half)) == b""


def test_one_that_sends_a_byte_now_and_then_is_let_go_too(served: int) -> None:
    with connected(served) as link, pytest.raises(OSError, match=r"Broken pipe|reset"):
        for letter in GET * 100:
            link.sendall(bytes([letter]))
            time.sleep(0.05)


def test_a_second_request_has_as_long_as_the_first(served: int) -> None:
    found = read_to_end(connected(served, GET + b"GET /hea"))
    assert found.startswith(b"HTTP/1.1 200") and found.count(b"HTTP/1.1") == 1
    with connected(served, GET) as link:
        while b"ok" not in link.recv(1000):
            pass
        link.sendall(b"GET /hea")
        assert read_to_end(link) == b""


def test_a_request_at_work_is_not_cut_off(served: int) -> None:
    with connected(served, GET.replace(b"health", b"wait")) as link:
        time.sleep(0.6)
        slow_answer.go.set()  # type: ignore[attr-defined]
        assert link.recv(1000).startswith(b"HTTP/1.1 200")


def test_of_too_many_that_wait_the_first_goes_and_one_at_work_stays(
    served: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_guard, "HEAD_SECONDS", 60.0)
    with connected(served, GET.replace(b"health", b"wait")) as at_work, contextlib.ExitStack() as stack:
        time.sleep(0.2)
        waiting = [stack.enter_context(connected(served, b"GET")) for _ in range(6)]
        assert read_to_end(waiting[0]) == b""
        answered = stack.enter_context(connected(served, GET))
        assert answered.recv(1000).startswith(b"HTTP/1.1 200")
        assert read_to_end(waiting[1]) == b""
        slow_answer.go.set()  # type: ignore[attr-defined]
        assert at_work.recv(1000).startswith(b"HTTP/1.1 200")
        waiting[-1].sendall(GET[3:])
        assert waiting[-1].recv(1000).startswith(b"HTTP/1.1 200")


def test_thousands_that_say_nothing_lock_nobody_out(stream_processes: ModuleType, tmp_path: Path) -> None:
    """A real `dualrec serve` under 2,500 clients that hold their connections and send nothing or half a line."""
    prices = stream_processes.prices_of(list(range(50)), 3)
    stream_processes.publish_prices(tmp_path / "out", prices)
    with (
        stream_processes.serving(tmp_path / "out", str(tmp_path / "m.db")) as (process, port),
        contextlib.ExitStack() as stack,
    ):
        for number in range(2_500):
            link = stack.enter_context(connected(port))
            with contextlib.suppress(OSError):  # let go already
                link.sendall(HALVES[number % len(HALVES)])
            if number % 500 == 499:
                upload = {"item": f"i{number}", "users": [number // 500], "scores": [1.0]}
                answer = httpx.post(f"http://127.0.0.1:{port}/items", json=upload, timeout=60)
                assert (answer.status_code, answer.json().get("users")) == (200, [number // 500])
        held = Path(f"/proc/{process.pid}/fd")
        assert not held.exists() or len(list(held.iterdir())) < 700, "only so many of them are held"
        assert stream_processes.stopped(process) == ""


def test_a_body_that_is_no_http_leaves_no_traceback(stream_processes: ModuleType, tmp_path: Path) -> None:
    stream_processes.publish_prices(tmp_path / "out", stream_processes.prices_of([1], 1))
    spoilt = b"POST /items HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\x00 no length\r\n\r\n"
    with stream_processes.serving(tmp_path / "out", str(tmp_path / "m.db")) as (process, port):
        for _ in range(50):
            assert read_to_end(connected(port, spoilt)).startswith(b"HTTP/1.1 400")
        assert stream_processes.stopped(process) == ""
