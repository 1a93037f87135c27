"""Solvers side by side on seeded instances: `python -m dualrec.solvers.bench [--edges N] [--family NAME]`."""

import argparse
import time

from .allocation import Allocation
from .instances import Skewed, TiedGroups, TightFlat
from .problem import Problem
from .solve import SOLVERS, solve

FAMILIES = ("skewed", "tied", "flat")


def instance(family: str, edges: int, seed: int) -> Problem:
    """About `edges` edges of a family, all its sizes scaled together."""
    scale = edges / 2_000_000
    if family == "skewed":
        return Skewed(items=max(1, round(10_000 * scale)), users=max(400, round(50_000 * scale))).make(seed)
    if family == "tied":
        items, users = max(13, round(5_000 * scale)), max(800, round(400_000 * scale))
        return TiedGroups(items=items, groups=max(1, items // 13), users=users).make(seed)
    return TightFlat(items=max(1, round(4_000 * scale)), users=max(1_000, round(30_000 * scale))).make(seed)


def measure(problem: Problem, gap: float, warm_up: Problem) -> dict[str, tuple[Allocation, float]]:
    """Each solver's answer and its wall seconds, after a small solve that loads and compiles its code."""
    results = {}
    for name in SOLVERS:
        solve(warm_up, name, gap=gap)
        start = time.perf_counter()
        answer = solve(problem, name, gap=gap)
        results[name] = answer, time.perf_counter() - start
    return results


def table(results: dict[str, tuple[Allocation, float]]) -> str:
    """One line a solver: value, certified gap, seconds, and both against min-cost flow in the same run."""
    exact, exact_seconds = results["min-cost-flow"]
    lines = [f"{'solver':<14}{'value':>14}{'of optimum':>12}{'gap':>10}{'seconds':>10}{'times faster':>14}"]
    for name, (answer, seconds) in results.items():
        share = answer.value / exact.value if exact.value else 1.0
        speed = f"{exact_seconds / seconds:.1f}"
        lines.append(f"{name:<14}{answer.value:>14.2f}{share:>12.5f}{answer.gap:>10.1e}{seconds:>10.2f}{speed:>14}")
    return "\n".join(lines)


def main() -> None:
    """Prints one table a family."""
    parser = argparse.ArgumentParser(prog="python -m dualrec.solvers.bench", description=__doc__)
    parser.add_argument("--edges", type=int, default=2_000_000, help="edges of each instance (default: 2000000)")
    parser.add_argument("--gap", type=float, default=1e-3, help="gap asked of the auction (default: 0.001)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", choices=FAMILIES, help="only this family")
    given = parser.parse_args()
    for family in [given.family] if given.family else FAMILIES:
        problem = instance(family, given.edges, given.seed)
        print(f"\n{family}: {problem.items} items, {problem.users} users, {problem.edges} edges, seed {given.seed}")
        print(table(measure(problem, given.gap, instance(family, 20_000, given.seed))), flush=True)


if __name__ == "__main__":
    main()
