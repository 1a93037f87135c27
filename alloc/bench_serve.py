"""Milliseconds and uploads a second of `dualrec serve`, loaded by another process: `python -m dualrec.alloc.bench_serve`.

A night of random prices is published to a temporary folder and served from there by a process of its own, with a new file
and with a Redis of its own that flushes every write. This process is the load: so many connections, each with its next
upload once the last is answered; then so many uploads a second, their latency counted from when they were due. Every
answer is checked afterwards: nobody over its capacity, and each upload its users.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .bench_serve_report import write_report
from .bench_stream import random_prices
from .errors import InputError
from .load_client import Load, closed_loop, open_loop, post_request
from .parquet import write_parquet
from .progress import make_progress
from .publish import publish
from .schema import ARRIVALS_KEY, DAY_START_KEY, SCHEMA_VERSION
from .stream_prices import StreamPrices

_HOST = "127.0.0.1"
_START_SECONDS = 60.0
_BODIES = 1_000
"""Different lists of candidates; more uploads than that get one of them again."""

_SERVE = "from dualrec.alloc.cli import main; main()"
_WARM_UP = 50


def main(words: Sequence[str] | None = None) -> None:
    """Prints one row for each store and kind of load, and writes the page and the figures."""
    parser = argparse.ArgumentParser(prog="python -m dualrec.alloc.bench_serve", description=__doc__)
    parser.add_argument("--stores", nargs="+", choices=("sqlite", "redis"), default=["sqlite", "redis"])
    parser.add_argument("--users", type=int, default=250_000)
    parser.add_argument("--uploads", type=int, default=3_000, help="of each load")
    parser.add_argument("--candidates", type=int, default=1_000)
    parser.add_argument("--demand", type=int, default=200)
    parser.add_argument("--capacity", type=int, default=20)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8], help="of the closed loops")
    parser.add_argument("--rates", type=float, nargs="+", default=[100, 200], help="uploads a second of the open loops")
    parser.add_argument("--out", type=Path, default=Path("out/bench-serve"), help="folder of the page and the figures")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    prices = random_prices(given.users, given.capacity, max(given.uploads, 96), given.seed)
    loads = [(f"{n} connections" if n > 1 else "1 connection", _closed(n)) for n in given.connections]
    loads += [(f"{rate:g} a second", _open(rate)) for rate in given.rates]
    rows: list[dict[str, Any]] = []
    task = make_progress().task("loads", len(given.stores) * len(loads))
    with tempfile.TemporaryDirectory(prefix="dualrec-") as folder:
        publish_prices(Path(folder), prices)
        for store in given.stores:
            with _store(store, Path(folder)) as where, served(Path(folder), where) as (process, port):
                uploads = _Uploads(given, port)
                closed_loop((_HOST, port), uploads.next(), _WARM_UP, 1)
                for name, load in loads:
                    before = _cpu(process)
                    found = load((_HOST, port), uploads.next(), given.uploads)
                    rows.append(_row(store, name, found, _cpu(process) - before))
                    uploads.check(found)
                    print(_line(rows[-1]), flush=True)
                    task.advance(1)
    write_report(given.out, {key: value for key, value in vars(given).items() if key != "out"}, rows)
    print(f"written: {given.out}/report.html, {given.out}/loads.json")


class _Uploads:
    """Requests with random candidates, each of a new item, and what came of them."""

    def __init__(self, given: argparse.Namespace, port: int) -> None:
        rng = np.random.default_rng([given.seed, 33])
        self._host, self._first, self._given = f"{_HOST}:{port}", 0, given
        self._places = np.full(given.users, given.capacity)
        self._candidates = []
        for _ in range(min(_BODIES, given.uploads)):
            user = rng.choice(given.users, min(given.candidates, given.users), replace=False).tolist()
            score = rng.lognormal(0.5, 0.8, len(user)).astype(np.float32)
            fields = {"users": user, "scores": [float(f"{one:.7g}") for one in score], "demand": given.demand}
            self._candidates.append(json.dumps(fields)[1:])

    def next(self) -> Callable[[int], bytes]:
        """The requests of one more load, by their number."""
        first = self._first
        self._first += max(self._given.uploads, _WARM_UP)

        def request(number: int) -> bytes:
            rest = self._candidates[number % len(self._candidates)]
            return post_request(self._host, "/items", f'{{"item": "item {first + number}", {rest}'.encode())

        return request

    def check(self, load: Load) -> None:
        """Takes the users' places. Raises InputError for an answer that cannot be right."""
        for answer in map(json.loads, load.answers):
            users = np.array(answer["users"], np.int64)
            if answer["repeated"] or len(np.unique(users)) != len(users) or len(users) > self._given.demand:
                raise InputError(f"{answer['item']} was answered wrong")
            self._places[users] -= 1
        if (self._places < 0).any():
            raise InputError(f"user {int(self._places.argmin())} got more items than it has places")


def publish_prices(out: Path, prices: StreamPrices) -> None:
    """A run that has nothing but what a stream starts from."""
    path = out / "prices.parquet"
    bids = prices.curves.bids
    columns = {
        "user": pa.array(prices.user_ids),
        "capacity": pa.array(prices.capacity),
        "bids": pa.FixedSizeListArray.from_arrays(pa.array(bids.ravel()), bids.shape[1]),
    }
    about = {ARRIVALS_KEY: " ".join(map(str, prices.arrivals.tolist())), DAY_START_KEY: str(prices.day_start)}
    write_parquet(path, columns, {"dualrec.schema_version": str(SCHEMA_VERSION), **about})
    publish(out, "bench", "bench", {path.name: path}, {})
    path.unlink()


@contextlib.contextmanager
def served(out: Path, store: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`dualrec serve` as a process of its own, once it listens, and its port."""
    port = _free_port()
    words = ["serve", "--out", str(out), "--store", store, "--port", str(port)]
    process = subprocess.Popen([sys.executable, "-c", _SERVE, *words], stdout=subprocess.DEVNULL)
    try:
        _wait_for(process, port, "dualrec serve")
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@contextlib.contextmanager
def _store(kind: str, folder: Path) -> Iterator[str]:
    """A new file, or the address of a Redis of its own."""
    if kind == "sqlite":
        yield str(folder / "matches.db")
        return
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise InputError("neither redis-server nor valkey-server is on the PATH: expected one, or --stores sqlite")
    port = _free_port()
    words = [program, "--port", str(port), "--bind", _HOST, "--dir", str(folder), "--save", ""]
    process = subprocess.Popen([*words, "--appendonly", "yes", "--appendfsync", "always"], stdout=subprocess.DEVNULL)
    try:
        _wait_for(process, port, program)
        yield f"redis://{_HOST}:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, name: str) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((_HOST, port), timeout=1):
            return
        time.sleep(0.05)
    raise InputError(f"{name} does not listen on port {port}")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((_HOST, 0))
        return int(one.getsockname()[1])


def _closed(connections: int) -> Callable[..., Load]:
    return lambda address, requests, uploads: closed_loop(address, requests, uploads, connections)


def _open(rate: float, connections: int = 64) -> Callable[..., Load]:
    return lambda address, requests, uploads: open_loop(address, requests, uploads, connections, rate)


def _cpu(process: subprocess.Popen[bytes]) -> float:
    """CPU seconds of another process; 0 where there is no /proc."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _row(store: str, load: str, found: Load, server_cpu: float) -> dict[str, Any]:
    count = len(found.latency)
    return {
        "store": store,
        "load": load,
        "rate": count / found.seconds,
        "p50": 1e3 * float(np.percentile(found.latency, 50)),
        "p99": 1e3 * float(np.percentile(found.latency, 99)),
        "most": 1e3 * float(found.latency.max()),
        "users": float(np.mean([len(json.loads(answer)["users"]) for answer in found.answers])),
        "client_cpu": 1e3 * found.client_cpu / count,
        "server_cpu": 1e3 * server_cpu / count,
        "latency": (1e3 * found.latency).round(3).tolist(),
    }


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['store']:6}  {row['load']:14} {row['rate']:5.0f} a second, "
        f"median {row['p50']:5.1f} ms, 99 % {row['p99']:5.1f} ms, most {row['most']:5.0f} ms; "
        f"CPU an upload: service {row['server_cpu']:.2f} ms, load {row['client_cpu']:.2f} ms"
    )


if __name__ == "__main__":
    main()
