"""Clients that send half a body, read nothing or send what is no request, on both of uvicorn's protocols."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dualrec.alloc import connection_guard, service
from dualrec.alloc.sqlite_store import SqliteStore
from dualrec.alloc.stream import Stream

GET = b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n"
POST = b"POST /items HTTP/1.1\r\nHost: here\r\nContent-Length: 50\r\n\r\n"


@pytest.fixture(params=["h11", "httptools"])
def protocol(request: pytest.FixtureRequest) -> type:
    if request.param == "h11":
        return H11Protocol
    pytest.importorskip("httptools", reason="httptools is not installed: uvicorn has only its slower protocol here")
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    return HttpToolsProtocol


@pytest.fixture
def server(
    protocol: type, stream_processes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[uvicorn.Server]:
    """The service in a thread of its own; clients have a second for all that they owe."""
    for name in ("HEAD_SECONDS", "READ_SECONDS", "BODY_SECONDS", "_SPARE_SECONDS"):
        monkeypatch.setattr(connection_guard, name, 1.0 if name != "_SPARE_SECONDS" else 0.0)
    stream = Stream(stream_processes.prices_of([10, 20], 2), SqliteStore(tmp_path / "m.db"))
    app = service.make_app(stream, None)
    http = connection_guard.guarded_protocol(protocol)
    config = uvicorn.Config(app, port=0, log_level="critical", http=http, ws="none", timeout_keep_alive=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    stream_processes.until(lambda: server.started)
    yield server
    server.should_exit = True
    thread.join()


@pytest.fixture
def port(server: uvicorn.Server) -> int:
    return int(server.servers[0].sockets[0].getsockname()[1])


def connected(port: int) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", port), timeout=20)
    link.settimeout(20)
    return link


def read_all(link: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while more := link.recv(65_536):
            found += more
    return found


@pytest.mark.parametrize("sent", [b"", b"GET", GET[:-2], GET + b"GE", POST, POST + b"{"])
def test_a_client_that_sends_no_more_is_cut_off(port: int, sent: bytes) -> None:
    with connected(port) as link:
        link.sendall(sent)
        found = read_all(link)
    assert (b"200 OK" in found) == (GET in sent)


def test_a_head_that_comes_byte_by_byte_is_cut_off(port: int) -> None:
    with connected(port) as link, contextlib.suppress(ConnectionError):
        for byte in b"GET /health HTTP/1.1\r\nX: " + b"x" * 1000:
            link.sendall(bytes([byte]))
            time.sleep(0.02)
        pytest.fail("a thousand bytes in 20 seconds were all taken")


def test_a_client_that_reads_nothing_is_cut_off(
    server: uvicorn.Server, port: int, stream_processes: ModuleType
) -> None:
    with connected(port) as link:
        link.settimeout(1)
        with contextlib.suppress(OSError):  # once the buffers of both sides are full
            while True:
                link.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: here\r\n\r\n" * 1_000)
        stream_processes.until(lambda: not server.server_state.connections)


def test_who_asks_in_time_may_go_on_asking(port: int) -> None:
    with connected(port) as link:
        for _ in range(6):
            time.sleep(0.25)
            link.sendall(GET[:9])
            time.sleep(0.25)
            link.sendall(GET[9:])
            found = b""
            while not found.endswith(b'{"status":"ok"}'):
                found += link.recv(65_536)


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /items HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        GET + b"\x00\x01\r\n\r\n",
        b"\xff" * 100,
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"POST /items HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        b"GET /" + b"x" * 200_000,
    ],
)
def test_bytes_that_are_no_request(port: int, sent: bytes) -> None:
    with connected(port) as link:
        with contextlib.suppress(ConnectionError):
            link.sendall(sent)
        read_all(link)
    assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=20).status_code == 200


FILLS = {
    "half a body": POST + b"{",
    "kept alive": GET,
}


@pytest.mark.parametrize("kind", FILLS)
def test_thousands_of_idle_connections_keep_nobody_out(kind: str, stream_processes: ModuleType, tmp_path: Path) -> None:
    """A real process. As many connections as this test may open, up to 3,000."""
    import resource

    out = tmp_path / "out"
    stream_processes.publish_prices(out, stream_processes.prices_of([10, 20], 9))
    most = min(3_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    assert most > connection_guard.MOST_WAITING + 100
    with contextlib.ExitStack() as stack, stream_processes.serving(out, str(tmp_path / "m.db")) as (process, port):
        links = []
        for number in range(most):
            link = stack.enter_context(connected(port))
            with contextlib.suppress(ConnectionError):
                link.sendall(FILLS[kind])
            links.append(link)
            if number % 500 == 0:
                upload = {"item": f"i{number}", "users": [10, 20], "scores": [1, 2], "demand": 1}
                answer = httpx.post(f"http://127.0.0.1:{port}/items", json=upload, timeout=20)
                assert answer.status_code == 200, answer.text
        closed = 0
        for link in links[: most - connection_guard.MOST_WAITING - 50]:
            read_all(link)
            closed += 1
        assert closed and httpx.get(f"http://127.0.0.1:{port}/health", timeout=20).status_code == 200
        assert stream_processes.stopped(process) == ""
