"""Solvers side by side on seeded instances, each solve in a process of its own: `python -m dualrec.solvers.bench`."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .bench_instances import FAMILIES, SHAPES
from .bench_machine import machine
from .bench_run import Case
from .bench_table import family_tables
from .solve import SOLVERS
from .threads import cores

SCHEMA = 1
"""Version of the result file; goes up when a reader of the old one would misread the new one."""

BY_GAP = ("auction",)
"""Solvers that stop at the gap asked for, and so are measured at each of them; the others at the widest."""

LEFT_OUT = {
    ("25M", "lp"): "needs 600 to 850 bytes an edge, 15 to 21 GB",
    ("200M", "lp"): "needs 600 to 850 bytes an edge, 120 GB or more",
    ("200M", "pdlp"): "needs 300 bytes an edge, 60 GB",
    ("200M", "min-cost-flow"): "needs 100 bytes an edge, 20 GB",
    ("200M", "device-auction"): "a GPU's, see `make bench-device`",
    ("1G", "device-auction"): "a GPU's, see `make bench-device`",
    ("1G", "lp"): "needs 600 to 850 bytes an edge, 600 GB or more",
    ("1G", "pdlp"): "needs 300 bytes an edge, 300 GB",
    ("1G", "min-cost-flow"): "needs 100 bytes an edge, 100 GB",
}
"""(size, solver) pairs that are not run unless the solver is named, and why."""


def cases(given: argparse.Namespace) -> Iterator[Case]:
    """What to measure, family by family, the solvers in the registry's order."""
    for family in given.family:
        for name in given.solver or [name for name in SOLVERS if (given.size, name) not in LEFT_OUT]:
            for gap in given.gap if name in BY_GAP else [max(given.gap)]:
                for threads in given.threads if name in BY_GAP else [max(given.threads)]:
                    yield Case(family, given.size, given.seed, name, gap, threads, given.time_limit, given.repeats)


def run(case: Case) -> dict[str, Any]:
    """The figures of a case, measured in a new process; `status` says so where there are none."""
    command = [sys.executable, "-m", "dualrec.solvers.bench_run", json.dumps(asdict(case))]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(case.threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return figures
    return {**asdict(case), "status": ending(done.returncode, done.stderr, case.time_limit)}


def ending(code: int, errors: str, time_limit: float) -> str:
    """Why a process ended without figures: out of time, out of memory, or the last line that it wrote."""
    if code == -14:
        return f"not finished in {time_limit:.0f} s"
    if code == -9 or "MemoryError" in errors or "bad_alloc" in errors:
        return "out of memory"
    lines = errors.strip().splitlines()
    return f"failed ({code}): {lines[-1] if lines else 'no message'}"


def measure_all(todo: Sequence[Case], path: Path | None) -> dict[str, Any]:
    """The result of all cases; written to `path` after each, so that what is done is kept."""
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "runs": [],
    }
    for case in todo:
        figures = run(case)
        result["runs"].append(figures)
        seconds = f"{figures['seconds']:.2f} s" if "seconds" in figures else ""
        print(f"{case.family} {case.size}, {case.solver}: {figures['status']} {seconds}", file=sys.stderr, flush=True)
        if path is not None:
            write_result(result, path)
    return result


def write_result(result: dict[str, Any], path: Path) -> None:
    """The result as a JSON file, which appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; lists are given with commas."""
    parser = argparse.ArgumentParser(prog="python -m dualrec.solvers.bench", description=__doc__)
    parser.add_argument("--size", choices=SHAPES, default="2M", help="edges of each instance (default: 2M)")
    parser.add_argument("--family", default=",".join(FAMILIES), help=f"some of {', '.join(FAMILIES)} (default: all)")
    parser.add_argument(
        "--solver", default="", help=f"some of {', '.join(SOLVERS)} (default: all that can do the size)"
    )
    parser.add_argument("--gap", default="1e-3", help="gaps asked of the auction (default: 1e-3)")
    parser.add_argument("--threads", default=str(cores()), help="threads of the auction (default: all cores)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time-limit", type=float, default=600.0, help="seconds of one solve (default: 600)")
    parser.add_argument("--repeats", type=int, default=3, help="most repeats of a short solve (default: 3)")
    parser.add_argument("--json", type=Path, help="file for the result")
    given = parser.parse_args(words)
    given.family, given.solver = _some(parser, given.family, FAMILIES), _some(parser, given.solver, SOLVERS)
    try:
        given.gap = [float(gap) for gap in given.gap.split(",")]
        given.threads = [int(count) for count in given.threads.split(",")]
    except ValueError as error:
        parser.error(f"--gap {given.gap} --threads {given.threads}: {error}")
    return given


def _some(parser: argparse.ArgumentParser, names: str, known: dict[str, Any]) -> list[str]:
    chosen = [name for name in names.split(",") if name]
    for name in chosen:
        if name not in known:
            parser.error(f"unknown name {name!r}, expected some of {', '.join(known)}")
    return chosen


def main() -> None:
    """Measures and prints one table a family."""
    given = arguments()
    result = measure_all(list(cases(given)), given.json)
    print(family_tables(result["runs"], LEFT_OUT))


if __name__ == "__main__":
    main()
