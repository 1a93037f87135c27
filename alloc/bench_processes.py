"""The processes of `bench_serve`: `dualrec serve` on a night of random prices, and a Redis of its own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from .errors import InputError
from .parquet import write_parquet
from .publish import publish
from .schema import ARRIVALS_KEY, DAY_START_KEY, SCHEMA_VERSION
from .stream_prices import StreamPrices

HOST = "127.0.0.1"
_START_SECONDS = 60.0
_SERVE = "from dualrec.alloc.cli import main; main()"


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
def store_of_its_own(kind: str, folder: Path) -> Iterator[str]:
    """A new file, or the address of a Redis of its own."""
    if kind == "sqlite":
        yield str(folder / "matches.db")
        return
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise InputError("neither redis-server nor valkey-server is on the PATH: expected one, or --stores sqlite")
    port = _free_port()
    words = [program, "--port", str(port), "--bind", HOST, "--dir", str(folder), "--save", ""]
    process = subprocess.Popen([*words, "--appendonly", "yes", "--appendfsync", "always"], stdout=subprocess.DEVNULL)
    try:
        _wait_for(process, port, program)
        yield f"redis://{HOST}:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, name: str) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.05)
    raise InputError(f"{name} does not listen on port {port}")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """CPU seconds of another process; 0 where there is no /proc."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
