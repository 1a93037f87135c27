"""The distributed auction beside that of one process on the same cores: `python -m dualrec.solvers.distributed.bench`.

For each size: time, value and gap of one process with a thread a core; then, for each number of workers, of a step over
shards that the workers hold already, and what a round costs: a constant, a part for each bid and one for each edge read, by
least squares over all rounds. Memory is that of the largest worker over what a worker of next to nothing takes (Python, Ray,
compiled kernels); its share is what one worker of everything takes, divided by the workers.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from ..bench_machine import machine
from ..instances import Skewed
from ..problem import Problem
from ..solve import solve
from .session import Session, first_share
from .shard_writer import write_shards
from .shards import Shards, open_shards
from .solver import started
from .worker import Round

GAP = 1e-3


def made(millions: float) -> Problem:
    """Skewed lists: 1,000 candidates an item, 200 wanted, 8 users an item with 30 places each."""
    items = max(1, round(1000 * millions))
    return Skewed(items=items, users=8 * items, candidates=1000, demand=200, capacity=30).make(1)


def alone(problem: Problem, repeats: int) -> dict[str, Any]:
    """One process, a thread a core."""
    seconds = []
    for _ in range(repeats):
        answer = solve(problem, "auction", gap=GAP)
        seconds.append(answer.seconds)
    return {"seconds": statistics.median(seconds), "value": answer.value, "gap": answer.gap, "matches": answer.matches}


def together(shards: Shards, engine: str, workers: int, folder: Path, repeats: int) -> dict[str, Any]:
    """Workers with their shards at hand; the first step is not counted, as it compiles."""
    begun, rounds, seconds = time.perf_counter(), [], []
    with started(engine, shards, workers, folder) as running:
        session = Session(shards, running)
        ready = time.perf_counter() - begun
        for k in range(repeats + 1):
            begun, told = time.perf_counter(), list[Round]()
            held = session.step(f"s{k}", first_share(GAP, 0.1), GAP, 60.0, lambda: False, told.append)
            total = session.certify(held)
            session.forget(held)
            if k > 0:
                seconds.append(time.perf_counter() - begun)
                rounds += told
        memory = running.each("memory", [()] * workers)
    constant, by_bids, by_edges = costs(rounds)
    return {
        "workers": workers,
        "ready_seconds": ready,
        "seconds": statistics.median(seconds),
        "value": total.value,
        "gap": (total.bound - total.value) / total.bound,
        "rounds": held.rounds,
        "passes": held.read / shards.edges,
        "bytes": max(memory),
        "round_seconds": constant,
        "seconds_a_million_bids": by_bids,
        "seconds_a_million_edges": by_edges,
        "round_points": [[one.bids, one.read, one.seconds] for one in told],
    }


def costs(rounds: list[Round]) -> tuple[float, float, float]:
    """Seconds of a round with nothing in it, and of a million bids and a million edges read, none below 0."""
    columns = np.array([[1.0, one.bids / 1e6, one.read / 1e6] for one in rounds])
    found, _ = nnls(columns, np.array([one.seconds for one in rounds]))
    return tuple(found.tolist())


def measured(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The figures of each size."""
    for millions in given.millions:
        problem = made(millions)
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            begun = time.perf_counter()
            shards = open_shards(write_shards(problem, Path(folder) / "shards"))
            write_seconds, edges, users = time.perf_counter() - begun, problem.edges, problem.users
            one = alone(problem, given.repeats + 1)
            del problem
            many = [together(shards, given.engine, workers, Path(folder), given.repeats) for workers in given.workers]
        yield {"edges": edges, "users": users, "write_seconds": write_seconds, "alone": one, "together": many}


def nothing(engine: str) -> int:
    """Bytes of a worker that has next to nothing to hold."""
    with tempfile.TemporaryDirectory() as folder:
        shards = open_shards(write_shards(made(0.01), Path(folder) / "shards"))
        return int(together(shards, engine, 1, Path(folder), 1)["bytes"])


def told(record: dict[str, Any]) -> str:
    """A table of one size."""
    one, edges, base = record["alone"], record["edges"], record["bytes_of_nothing"]
    whole = [many["bytes"] - base for many in record["together"] if many["workers"] == 1]

    def row(many: dict[str, Any]) -> str:
        share = f", {(many['bytes'] - base) * many['workers'] / whole[0]:.2f} x its share" if whole else ""
        return (
            f"  {many['workers']} workers: {many['seconds']:.2f} s ({many['seconds'] / one['seconds']:.2f} x), "
            f"gap {many['gap']:.1e}, value {many['value'] / one['value'] - 1:+.1e}, {many['rounds']} rounds of "
            f"{1e3 * many['round_seconds']:.0f} ms + {1e3 * many['seconds_a_million_bids']:.0f} ms a million bids + "
            f"{1e3 * many['seconds_a_million_edges']:.0f} ms a million edges read; "
            f"largest worker {(many['bytes'] - base) / 2**20:.0f} MiB{share}; ready after {many['ready_seconds']:.1f} s"
        )

    return "\n".join(
        [
            f"{edges / 1e6:.0f} M edges, {record['users']:,} users; shards written in {record['write_seconds']:.1f} s",
            f"  one process: {one['seconds']:.2f} s, gap {one['gap']:.1e}",
            *(row(many) for many in record["together"]),
        ]
    )


def main(arguments: list[str]) -> None:
    """Prints a table for each size, and writes all figures as JSON and rounds as a plot where asked to."""
    parser = argparse.ArgumentParser(prog="python -m dualrec.solvers.distributed.bench", description=__doc__)
    parser.add_argument("--millions", type=float, nargs="+", default=[10, 50], help="of edges (10 50)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="(1 2 4)")
    parser.add_argument("--engine", default="ray", help="ray or threads (ray)")
    parser.add_argument("--repeats", type=int, default=3, help="of which the median counts (3)")
    parser.add_argument("--folder", help="for shards and messages; a temporary one of this machine if none")
    parser.add_argument("--json", type=Path, help="file for the figures; its plot stands beside it as .svg")
    given = parser.parse_args(arguments)
    records, base = [], nothing(given.engine)
    for record in measured(given):
        records.append({**record, "bytes_of_nothing": base})
        print(told(records[-1]), flush=True)
    if given.json is not None:
        from .bench_plot import plot

        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps({"machine": machine(), "engine": given.engine, "sizes": records}))
        plot(records, given.json.with_suffix(".svg"))


if __name__ == "__main__":
    main(sys.argv[1:])
