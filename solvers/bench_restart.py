"""Restarts beside cold solves: `python -m dualrec.solvers.bench_restart` prints a table, medians of three in turns."""

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .allocation import Allocation
from .bench_instances import FAMILIES, SHAPES, instance
from .problem import Problem
from .problem_limits import read_only
from .solve import solve

CHANGES = {
    "none": "its own answer",
    "nudged": "1 % of the scores changed by up to 10 %",
    "items": "the scores of 1 % of the items drawn anew",
    "anew": "1 % of the scores drawn anew",
}
"""What is different from the problem that the start was solved for."""

REPEATS = 3

HEADER = (
    "| instance | changed | gap asked | cold s | restart s | of cold | steps | cold gap | start's gap | restart's gap |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def changed(problem: Problem, change: str, seed: int) -> Problem:
    """The same edges with other scores, as CHANGES says: new ones are those of other edges of the choice, or item."""
    rng, score = np.random.default_rng(seed), problem.score.copy()
    if change == "items":
        for i in rng.choice(problem.items, problem.items // 100, replace=False):
            row = slice(problem.indptr[i], problem.indptr[i + 1])
            score[row] = rng.permutation(score[row])
    else:
        edge = rng.choice(problem.edges, problem.edges // 100 if change != "none" else 0, replace=False)
        score[edge] = (
            rng.permutation(score[edge]) if change == "anew" else score[edge] * rng.uniform(0.9, 1.1, edge.size)
        )
    return replace(problem, score=read_only(score)[0])


def timed(problem: Problem, gap: float, start: Allocation | None) -> tuple[Allocation, float]:
    """The answer and its wall seconds."""
    begin = time.perf_counter()
    return solve(problem, gap=gap, start=start), time.perf_counter() - begin


def row(family: str, size: str, change: str, gap: float, seed: int) -> str:
    """One line of the table: an instance solved, changed, then solved from zero and from the first answer."""
    problem = instance(family, size).make(seed)
    before = solve(problem, gap=gap)
    today = changed(problem, change, seed + 1)
    runs = [(timed(today, gap, None), timed(today, gap, before)) for _ in range(REPEATS)]
    cold, warm = (statistics.median(pair[k][1] for pair in runs) for k in (0, 1))
    first, again = runs[0][0][0], runs[0][1][0]
    figures = f"{cold:.3f} | {warm:.3f} | {warm / cold:.2f} | {len(again.history)} | {first.gap:.1e}"
    gaps = f"{again.history[0]['gap']:.1e} | {again.gap:.1e}"
    return f"| {family}, {size} | {CHANGES[change]} | {gap:.1e} | {figures} | {gaps} |"


def main(words: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for, lists with commas, and prints each line as it is known."""
    parser = argparse.ArgumentParser(prog="python -m dualrec.solvers.bench_restart", description=__doc__)
    parser.add_argument("--size", choices=SHAPES, default="25M")
    parser.add_argument("--family", default="skewed,tight", help=f"some of {', '.join(FAMILIES)}")
    parser.add_argument("--gap", default="1e-3,2.5e-4")
    parser.add_argument("--change", default=",".join(CHANGES), help=f"some of {', '.join(CHANGES)}")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    for name, known in (("family", FAMILIES), ("change", CHANGES)):
        for word in getattr(given, name).split(","):
            if word not in known:
                parser.error(f"unknown --{name} {word!r}, expected some of {', '.join(known)}")
    print(HEADER)
    for family in given.family.split(","):
        solve(instance(family, "tiny").make(given.seed), gap=1e-6)
        for gap in given.gap.split(","):
            for change in given.change.split(","):
                print(row(family, given.size, change, float(gap), given.seed), flush=True)


if __name__ == "__main__":
    main()
