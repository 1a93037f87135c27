"""The load on `dualrec serve`, at a small size: every kind of load and store, the page and the figures."""

import json
import re
import shutil
import socketserver
import threading
from pathlib import Path

import pytest

from dualrec.alloc import bench_serve
from dualrec.alloc.errors import InputError
from dualrec.alloc.load_client import closed_loop, open_loop

SMALL = "--users 400 --uploads 60 --candidates 40 --demand 5 --connections 1 3 --rates 200"


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_load_on_a_service_of_its_own(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if store == "redis" and not (shutil.which("redis-server") or shutil.which("valkey-server")):
        pytest.skip("neither redis-server nor valkey-server is on the PATH: the load on the shared store is not run")
    bench_serve.main([*SMALL.split(), "--stores", store, "--out", str(tmp_path / "out")])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(store)]
    assert [re.split("  +", line)[1] for line in lines] == ["1 connection", "3 connections", "200 a second"]
    told = json.loads((tmp_path / "out" / "loads.json").read_text())
    for row in told["loads"]:
        assert len(row["latency"]) == 60 and 0 < row["p50"] <= row["p99"] <= row["most"] and row["users"] == 5
        low, high = sorted(row["latency"])[29:31]
        assert low - 0.01 <= row["p50"] <= high + 0.01
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<svg") == 3 and "3 connections" in page and "http" not in page.replace("http://www.w3.org", "")


def test_an_answer_that_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load knows a smaller capacity than the service."""
    monkeypatch.setattr(bench_serve, "_WARM_UP", 1)
    real = bench_serve.random_prices
    monkeypatch.setattr(bench_serve, "random_prices", lambda users, capacity, *rest: real(users, capacity + 9, *rest))
    with pytest.raises(InputError, match="more items than it has places"):
        bench_serve.main([*SMALL.split(), "--stores", "sqlite", "--capacity", "0", "--out", str(tmp_path)])


@pytest.mark.parametrize("rate", [None, 200.0])
def test_an_answer_that_is_an_error_is_said_in_one_line(rate: float | None) -> None:
    class Busy(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Busy) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address, asked = (str(server.server_address[0]), int(server.server_address[1])), b"GET / HTTP/1.1\r\n\r\n"
        with pytest.raises(InputError, match="the service answered busy"):
            if rate is None:
                closed_loop(address, lambda number: asked, 20, 2)
            else:
                open_loop(address, lambda number: asked, 20, 2, rate)
        server.shutdown()


def test_connections_that_the_service_closed_are_made_again() -> None:
    """As `serve` does with those that are idle; here after every answer."""

    class OneAnswer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), OneAnswer) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host, port = server.server_address[:2]
        load = open_loop((str(host), int(port)), lambda number: b"GET / HTTP/1.1\r\n\r\n", 20, 2, 200.0)
        server.shutdown()
    assert load.answers == [b"{}"] * 20
