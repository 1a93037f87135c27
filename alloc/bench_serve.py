"""Milliseconds and uploads a second of `dualrec serve`, loaded by another process: `python -m dualrec.alloc.bench_serve`.

A night of random prices is published to a temporary folder and served from there by a process of its own, with a new file
and with a Redis of its own that flushes every write. This process is the load: so many connections, each with its next
upload once the last is answered; then so many uploads a second, their latency counted from when they were due. Every
answer is checked afterwards: nobody over its capacity, and each upload its users.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .bench_processes import HOST, cpu_seconds, publish_prices, served, store_of_its_own
from .bench_serve_report import write_report
from .bench_stream import random_prices
from .errors import InputError
from .load_client import Load, closed_loop, open_loop, post_request
from .progress import make_progress

_BODIES = 1_000
"""Different lists of candidates; more uploads than that get one of them again."""

_WARM_UP = 50

_USUAL_LOADS = 1_000
"""Loads that a usual day brings, so that none looks like a busy day, for which places are kept back, at any hour."""


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
    prices = random_prices(given.users, given.capacity, _USUAL_LOADS * given.uploads, given.seed)
    loads = [(f"{n} connections" if n > 1 else "1 connection", _closed(n)) for n in given.connections]
    loads += [(f"{rate:g} a second", _open(rate)) for rate in given.rates]
    rows: list[dict[str, Any]] = []
    task = make_progress().task("loads", len(given.stores) * len(loads))
    with tempfile.TemporaryDirectory(prefix="dualrec-") as folder:
        publish_prices(Path(folder), prices)
        for store in given.stores:
            with store_of_its_own(store, Path(folder)) as where, served(Path(folder), where) as (process, port):
                uploads = _Uploads(given, port)
                closed_loop((HOST, port), uploads.next(), _WARM_UP, 1)
                for name, load in loads:
                    before = cpu_seconds(process)
                    found = load((HOST, port), uploads.next(), given.uploads)
                    rows.append(_row(store, name, found, cpu_seconds(process) - before))
                    uploads.check(found)
                    print(_line(rows[-1]), flush=True)
                    task.advance(1)
    write_report(given.out, {key: value for key, value in vars(given).items() if key != "out"}, rows)
    print(f"written: {given.out}/report.html, {given.out}/loads.json")


class _Uploads:
    """Requests with random candidates, each of a new item, and what came of them."""

    def __init__(self, given: argparse.Namespace, port: int) -> None:
        rng = np.random.default_rng([given.seed, 33])
        self._host, self._first, self._given = f"{HOST}:{port}", 0, given
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


def _closed(connections: int) -> Callable[..., Load]:
    return lambda address, requests, uploads: closed_loop(address, requests, uploads, connections)


def _open(rate: float, connections: int = 64) -> Callable[..., Load]:
    return lambda address, requests, uploads: open_loop(address, requests, uploads, connections, rate)


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
