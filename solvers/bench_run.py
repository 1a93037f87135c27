"""One measurement in a process of its own: `python -m dualrec.solvers.bench_run CASE`, a JSON object in and one out."""

import gc
import hashlib
import json
import os
import resource
import signal
import statistics
import sys
import time
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from .allocation import Allocation
from .bench_instances import instance
from .bench_machine import load_average
from .instances import Skewed
from .memory import available_bytes, forget_peak, peak_bytes, resident_bytes, return_free_memory
from .problem import Problem
from .solve import make_solver, solve
from .step import Solver

SHORT_SECONDS = 5.0
"""Measurements are repeated, up to `Case.repeats`, while they took less than this together."""


GRACE_SECONDS = 10.0
"""What a solver may take beyond its time limit to hand back its answer, before it is ended."""


@dataclass(frozen=True)
class Case:
    """What to measure: an instance, a solver, the gap asked for, threads, and the seconds a solve may take."""

    family: str
    size: str
    seed: int
    solver: str
    gap: float
    threads: int
    time_limit: float
    repeats: int = 3


def measure(case: Case) -> dict[str, Any]:
    """The figures of a case, after solves of a small instance of the family that load and compile the solver's code.

    Memory counts from before the problem was made; its making does not count where the system lets the peak be
    forgotten. Seconds and CPU seconds are of the whole `solve`, the certificate with it: the median of the repeats.
    """
    solver = with_threads(make_solver(case.solver), case.threads)
    warm_up(case, solver)
    gc.collect()
    return_free_memory()
    before = resident_bytes()
    problem = instance(case.family, case.size).make(case.seed)
    forgotten = forget_peak()
    use_cores(case.threads)
    load = load_average()
    answer, seconds, cpu_seconds = timed_solve(problem, solver, case)
    most = peak_bytes() - before
    times = [(seconds, cpu_seconds)]
    while len(times) < case.repeats and sum(wall for wall, _ in times) < SHORT_SECONDS:
        times.append(timed_solve(problem, solver, case)[1:])
    return {
        "items": problem.items,
        "users": problem.users,
        "edges": problem.edges,
        "options": repr(solver),
        **figures(answer),
        "seconds": statistics.median(wall for wall, _ in times),
        "cpu_seconds": statistics.median(cpu for _, cpu in times),
        "all_seconds": [wall for wall, _ in times],
        "peak_bytes": most,
        "peak_counts_making": not forgotten,
        "load_average": load,
    }


def warm_up(case: Case, solver: Solver) -> None:
    """Small solves: at the gap asked for, at a far smaller one, and large enough for several threads where it is quick."""
    for gap in (case.gap, 1e-6):
        solve(instance(case.family, "tiny").make(case.seed), solver, gap=gap, time_limit=20.0)
    if case.solver == "auction":
        solve(Skewed(items=2_500, users=12_500, candidates=500).make(case.seed), solver, gap=case.gap, time_limit=20.0)


def timed_solve(problem: Problem, solver: Solver, case: Case) -> tuple[Allocation, float, float]:
    """The answer, wall seconds and CPU seconds (all threads); a solver deaf to its time limit is ended by SIGALRM."""
    signal.setitimer(signal.ITIMER_REAL, case.time_limit + GRACE_SECONDS)
    wall, cpu = time.perf_counter(), time.process_time()
    answer = solve(problem, solver, gap=case.gap, time_limit=case.time_limit)
    times = time.perf_counter() - wall, time.process_time() - cpu
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    return answer, *times


def figures(answer: Allocation) -> dict[str, Any]:
    """What the answer is worth, and a digest of its edges by which two answers can be told apart."""
    keys = ("seconds", "value", "bound", "gap")
    return {
        "status": answer.status.value,
        "value": answer.value,
        "bound": answer.bound,
        "certified_gap": answer.gap,
        "matches": int(answer.matches),
        "items_short": answer.items_short,
        "chosen_sha256": hashlib.sha256(answer.chosen.tobytes()).hexdigest()[:16],
        "history": [{key: float(step[key]) for key in keys if key in step} for step in answer.history],
    }


def with_threads(solver: Solver, threads: int) -> Solver:
    """The solver told to use so many threads, where it has such an option."""
    options: Any = solver
    return replace(options, threads=threads) if "threads" in {field.name for field in fields(options)} else solver


def use_cores(threads: int) -> None:
    """Confines this process to so many of its cores, for solvers without an option."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def limit_memory() -> None:
    """Has requests for more memory than the machine has left fail here, rather than end some other program."""
    available = available_bytes()
    if available is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (available, available))


def main() -> None:
    """Measures the case given as the only argument and prints the figures."""
    limit_memory()
    case = Case(**json.loads(sys.argv[1]))
    print(json.dumps({**asdict(case), **measure(case)}))


if __name__ == "__main__":
    main()
