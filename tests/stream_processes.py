"""Runs that have nothing but prices, and `dualrec stream` and `dualrec serve` on them as processes of their own."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dualrec.alloc.parquet import write_parquet
from dualrec.alloc.publish import publish
from dualrec.alloc.schema import ARRIVALS_KEY, DAY_START_KEY, SCHEMA_VERSION
from dualrec.alloc.stream_lines import open_store
from dualrec.alloc.stream_prices import StreamPrices
from dualrec.solvers.online_prices import BidCurves

PROGRAM = [sys.executable, "-c", "from dualrec.alloc.cli import main; main()"]


def prices_of(ids: list[int] | list[str], capacity: int, bids: float = 0.0) -> StreamPrices:
    """Of users with the same places and the same bids."""
    curves = BidCurves(np.full((len(ids), 8), bids, np.float32), 100)
    return StreamPrices(np.array(ids), np.full(len(ids), capacity), curves, np.full(96, 2), 0)


def publish_prices(out: Path, prices: StreamPrices, name: str = "night") -> Path:
    """The folder of a new run, which is the latest now."""
    out.mkdir(exist_ok=True)
    path, bids = out / "prices.parquet", prices.curves.bids
    columns = {
        "user": pa.array(prices.user_ids),
        "capacity": pa.array(prices.capacity),
        "bids": pa.FixedSizeListArray.from_arrays(pa.array(bids.ravel()), bids.shape[1]),
    }
    about = {ARRIVALS_KEY: " ".join(map(str, prices.arrivals.tolist())), DAY_START_KEY: str(prices.day_start)}
    write_parquet(path, columns, {"dualrec.schema_version": str(SCHEMA_VERSION), **about})
    run_dir = publish(out, name, name, {path.name: path}, {})
    path.unlink()
    return run_dir


@contextlib.contextmanager
def process(words: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """`dualrec` with these words, killed at the end if it still runs."""
    with subprocess.Popen([*PROGRAM, *words], stderr=subprocess.PIPE, text=True, **options) as started:
        try:
            yield started
        finally:
            started.kill()


@contextlib.contextmanager
def serving(out: Path, store: str, **options: Any) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`dualrec serve`, once it listens, and its port."""
    port = free_port()
    words = ["serve", "--out", str(out), "--store", store, "--port", str(port)]
    with process(words, stdout=subprocess.DEVNULL, **options) as started:
        until(lambda: started.poll() is not None or listens(port))
        yield started, port


def stopped(started: subprocess.Popen[str]) -> str:
    """What a process said on standard error, after SIGTERM ended it in good order."""
    started.send_signal(signal.SIGTERM)
    _, said = started.communicate(timeout=60)
    assert started.returncode in (0, -signal.SIGTERM), said  # uvicorn sends itself the signal again at its end
    return said


def until(holds: Callable[[], Any], seconds: float = 60) -> None:
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"did not come about in {seconds} s"
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def broken_promises(store: str, day: int, capacity: np.ndarray, answers: list[dict[str, Any]], ids: list) -> list[str]:
    """What is wrong between answers as they were told, {item, part, users, scores}, and a day of the store.

    ``ids``: of the users, by row. Every answer is in the store as it was told and an item has one; a user has the matches
    that the store's answers list, and no more than its places.
    """
    found, told = [], {}
    for answer in answers:
        name = answer["item"], answer["part"]
        if told.setdefault(name, answer["users"]) != answer["users"]:
            found.append(f"{name} was told twice, differently")
    with contextlib.closing(open_store(store)) as opened:
        for (item, part), users in told.items():
            kept = opened.answer(item, part)
            if kept is None or [ids[row] for row in kept.user] != users:
                found.append(f"{item!r} part {part} was told {users}, the store has {kept}")
        left = opened.left(day)
        for row, places in enumerate(capacity.tolist()):
            items = [match.item for match in opened.matches(day, row)]
            if len(items) > places or left[row] + len(items) != places:
                found.append(f"user {ids[row]} has {items} and {left[row]} of {places} places left")
            due = {item for (item, _), users in told.items() if ids[row] in users}
            if not due <= set(items) or len(set(items)) != len(items):
                found.append(f"user {ids[row]} has {items}, expected each of {sorted(due)} once")
    return found
