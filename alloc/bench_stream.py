"""Milliseconds to allocate an upload durably, in one process: `python -m dualrec.alloc.bench_stream --store FILE`.

Uploads come one after the other, 200 a second by their own clock.

Random candidates and bids; the store may be a new file or the address of an empty Redis.
"""

import argparse
import contextlib
import time
from collections.abc import Sequence

import numpy as np

from ..solvers.online_prices import BidCurves
from .errors import InputError
from .progress import make_progress
from .stream import Stream, Upload
from .stream_lines import open_store
from .stream_prices import StreamPrices
from .tables import DAY_MS


def random_prices(users: int, capacity: int, items: int, seed: int) -> StreamPrices:
    """As of a night: lognormal bids, uploads spread evenly over the day."""
    rng = np.random.default_rng([seed, 31])
    bids = -np.sort(-rng.lognormal(0.0, 0.8, (users, 2 * capacity)).astype(np.float32), axis=1)
    arrivals = np.full(96, max(items // 96, 1))
    return StreamPrices(np.arange(users), np.full(users, capacity), BidCurves(bids, items), arrivals, 0)


def main(words: Sequence[str] | None = None) -> None:
    """Prints median, 99th percentile and uploads a second."""
    parser = argparse.ArgumentParser(prog="python -m dualrec.alloc.bench_stream", description=__doc__)
    parser.add_argument("--store", required=True, help="a new file, or redis://host:port/0")
    parser.add_argument("--users", type=int, default=250_000)
    parser.add_argument("--uploads", type=int, default=1_000)
    parser.add_argument("--candidates", type=int, default=1_000)
    parser.add_argument("--demand", type=int, default=200)
    parser.add_argument("--capacity", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    rng = np.random.default_rng([given.seed, 32])
    with contextlib.closing(open_store(given.store)) as store:
        stream = Stream(random_prices(given.users, given.capacity, 12 * given.uploads, given.seed), store)
        begin, seconds, matches = 20_000 * DAY_MS, [], 0
        task = make_progress().task("uploads", given.uploads)
        for number in range(given.uploads + 1):
            user = rng.choice(given.users, min(given.candidates, given.users), replace=False)
            upload = Upload(f"item {number}", user.tolist(), rng.lognormal(0.5, 0.8, len(user)).tolist(), given.demand)
            start = time.perf_counter()
            answer = stream.allocate(upload, begin + 5 * number)  # 200 a second
            seconds.append(time.perf_counter() - start)
            if answer.repeated:
                raise InputError(f"{given.store} has answers of an earlier run, expected a new store")
            matches += len(answer.user)
            task.advance(1)
    milli = 1e3 * np.array(seconds[1:])  # the first opens the day
    p50, p99 = np.percentile(milli, [50, 99])
    each, rate = matches / (given.uploads + 1), 1e3 / milli.mean()
    print(
        f"{given.uploads:,} uploads, {each:.0f} users each: median {p50:.1f} ms, 99 % {p99:.1f} ms, {rate:.0f} a second"
    )


if __name__ == "__main__":
    main()
