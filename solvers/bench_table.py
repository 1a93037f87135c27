"""Results of the benchmark as Markdown: `python -m dualrec.solvers.bench_table FOLDER` rewrites FOLDER/README.md."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Figures = dict[str, Any]

COLUMNS = (
    "solver",
    "gap asked",
    "threads",
    "value",
    "of the optimum",
    "certified gap",
    "seconds",
    "CPU seconds",
    "peak bytes an edge",
    "x min-cost flow",
    "x greedy",
    "ended",
)

STOPS_AT_GAP = ("auction", "pdlp")
"""Solvers whose work depends on the gap asked for."""

INTRODUCTION = """# Solvers side by side

Written by `make bench-table` from the JSON files in this folder; the instances are seeded and made anew by each run.
Every solve has a process of its own, warmed up on a small instance. *Seconds* and *CPU seconds* are of the whole solve
with its certificate (the median of up to three where they are short); for min-cost flow this counts building the
network and recovering prices too, about a seventh of it at 2 M edges. *Peak bytes an edge*: the most memory held
during the solve, the problem's own 8 bytes an edge among it. *Of the optimum*: value / exact optimum where a solver
proved one, else at least value / lowest bound of the table (>=). *x min-cost flow*, *x greedy*: how many times less
wall time than these took in the same run.
"""


def page(results: Mapping[str, Figures], left_out: Mapping[tuple[str, str], str]) -> str:
    """All results, by name, each with its machine."""
    parts = [INTRODUCTION]
    for name, result in results.items():
        parts.append(f"## {name}\n\n{machine_line(result)}\n\n{family_tables(result['runs'], left_out)}")
    return "\n".join(parts)


def machine_line(result: Figures) -> str:
    """The machine and the moment of a result in one sentence."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    loads = [run["load_average"] for run in result["runs"] if run.get("load_average") is not None]
    load = f"; load average before the solves {min(loads)} to {max(loads)}" if loads else ""
    return (
        f"{result['made'][:10]}: {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}, {versions}{load}."
    )


def family_tables(runs: Sequence[Figures], left_out: Mapping[tuple[str, str], str]) -> str:
    """One table for each instance among the runs."""
    groups: dict[tuple[str, str, int], list[Figures]] = {}
    for run in runs:
        groups.setdefault((run["family"], run["size"], run["seed"]), []).append(run)
    return "\n".join(_table(group, left_out) for group in groups.values())


def _table(runs: Sequence[Figures], left_out: Mapping[tuple[str, str], str]) -> str:
    first = runs[0]
    size = next(
        (f", {run['items']:,} items, {run['users']:,} users, {run['edges']:,} edges" for run in runs if "edges" in run),
        "",
    )
    lines = [f"### {first['family']}, {first['size']}{size}, seed {first['seed']}", ""]
    lines += [_row(COLUMNS), _row(["---"] + ["---:"] * (len(COLUMNS) - 2) + ["---"])]
    lines += [_row(cells(run, runs)) for run in runs]
    names = {run["solver"] for run in runs}
    missing = [f"{name} ({why})" for (of, name), why in left_out.items() if of == first["size"] and name not in names]
    if missing:
        lines += ["", f"Not run: {'; '.join(missing)}."]
    return "\n".join([*lines, ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def cells(run: Figures, runs: Sequence[Figures]) -> list[str]:
    """A run's cells; those of a run without figures are empty but for its end."""
    known = [run["solver"], f"{run['gap']:.1e}" if run["solver"] in STOPS_AT_GAP else "", str(run["threads"])]
    if "seconds" not in run:
        return [*known, *[""] * (len(COLUMNS) - 4), run["status"]]
    return [
        *known,
        f"{run['value']:,.1f}",
        share_of_optimum(run, runs),
        f"{run['certified_gap']:.1e}",
        seconds_cell(run["seconds"]),
        seconds_cell(run["cpu_seconds"]),
        f"{run['peak_bytes'] / max(1, run['edges']):.1f}{'*' if run['peak_counts_making'] else ''}",
        times_faster(run, runs, "min-cost-flow"),
        times_faster(run, runs, "greedy"),
        run["status"].replace("_", " "),
    ]


def seconds_cell(seconds: float) -> str:
    """Seconds, to the millisecond where they are few."""
    return f"{seconds:.2f}" if seconds >= 1 else f"{seconds:.3f}"


def share_of_optimum(run: Figures, runs: Sequence[Figures]) -> str:
    """Value / optimum where one of the runs proved it; else value / the lowest bound, which is at most that."""
    exact = [other["value"] for other in runs if other["status"] == "optimal"]
    most = exact[0] if exact else min(other.get("bound", math.inf) for other in runs)
    return f"{'' if exact else '>= '}{run['value'] / most if most else 1.0:.5f}"


def times_faster(run: Figures, runs: Sequence[Figures], name: str) -> str:
    """How many times less wall time the run took than solver `name`, at least so many where that did not finish."""
    for other in runs:
        if other["solver"] == name and "seconds" in other:
            return f"{other['seconds'] / run['seconds']:.1f}"
        if other["solver"] == name and other["status"].startswith("not finished"):
            return f"> {other['time_limit'] / run['seconds']:.1f}"
    return ""


def read_results(folder: Path) -> dict[str, Figures]:
    """The results of a folder, name by name, the smallest instances first."""
    files = sorted(folder.glob("*.json"))
    results = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}
    most = {name: max((run.get("edges", 0) for run in result["runs"]), default=0) for name, result in results.items()}
    return {name: results[name] for name in sorted(results, key=most.__getitem__)}


def main() -> None:
    """Rewrites the table of a folder of results."""
    from .bench import LEFT_OUT

    (folder,) = map(Path, sys.argv[1:])
    (folder / "README.md").write_text(page(read_results(folder), LEFT_OUT), encoding="utf-8")


if __name__ == "__main__":
    main()
