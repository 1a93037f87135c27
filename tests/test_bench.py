"""The benchmark: its instances, what it measures, how runs end, and its table."""

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualrec.solvers import bench, bench_restart
from dualrec.solvers.bench_instances import FAMILIES, SHAPES, instance
from dualrec.solvers.bench_restart import CHANGES, changed
from dualrec.solvers.bench_run import Case, measure
from dualrec.solvers.bench_table import cells, page, read_results, share_of_optimum, times_faster
from dualrec.solvers.memory import STATUS, available_bytes, forget_peak, peak_bytes, resident_bytes, total_bytes
from dualrec.solvers.solve import SOLVERS

RESULTS = Path(__file__).parent.parent / "notebooks" / "results"
Run = Callable[..., subprocess.CompletedProcess[str]]


def case(**changes: Any) -> Case:
    usual = {"family": "skewed", "size": "tiny", "seed": 0, "solver": "auction", "gap": 1e-3}
    return Case(**{**usual, "threads": 1, "time_limit": 60.0, **changes})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_size_is_met(family: str) -> None:
    assert instance(family, "2M").make().edges == pytest.approx(2e6, rel=0.01)
    assert instance(family, "tiny").make().edges == pytest.approx(2e4, rel=0.45)


@pytest.mark.parametrize("size", SHAPES)
def test_shapes_have_the_edges_of_their_name(size: str) -> None:
    edges = {"tiny": 2e4, "2M": 2e6, "25M": 25e6, "200M": 2e8, "1G": 1e9}[size]
    assert SHAPES[size]["items"] * SHAPES[size]["candidates"] == edges


@pytest.mark.skipif(
    not STATUS.exists(), reason="only /proc tells what a process holds now; elsewhere the most ever is read"
)
def test_the_peak_is_seen_and_forgotten() -> None:
    before = resident_bytes()
    np.ones(8_000_000).sum()
    assert peak_bytes() >= before + 60_000_000
    if forget_peak():
        assert peak_bytes() < before + 60_000_000


@pytest.mark.skipif(
    total_bytes() is None, reason="without /proc/meminfo there is no limit to set, nor a figure to check"
)
def test_memory_left_is_part_of_all() -> None:
    available, total = available_bytes(), total_bytes()
    assert available and total and 0 < available <= total


def test_a_case_is_measured_in_its_own_process() -> None:
    one, two = bench.run(case(gap=1e-4)), bench.run(case(gap=1e-4, threads=2))
    assert one["certified_gap"] <= 1e-4 and one["status"] == "within_gap"
    assert one["value"] <= one["bound"] == pytest.approx(one["value"], rel=1e-4)
    assert 0 < one["seconds"] < 60 and one["cpu_seconds"] >= 0 and len(one["all_seconds"]) == 3
    assert one["edges"] == 20_000 and 0 <= one["peak_bytes"] < 1e9
    assert one["chosen_sha256"] == two["chosen_sha256"]


@pytest.mark.slow
@pytest.mark.skipif(
    not STATUS.exists(), reason="only /proc tells what a process holds now; elsewhere the most ever is read"
)
def test_memory_counts_the_problem_and_what_the_solver_takes() -> None:
    figures = bench.run(case(size="2M", solver="min-cost-flow"))
    assert 50 < figures["peak_bytes"] / figures["edges"] < 200
    assert 8 <= bench.run(case(size="2M", solver="first-come"))["peak_bytes"] / 2e6 < 30


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_solved(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualrec.solvers.bench_run.use_cores", lambda threads: None)
    figures = measure(case(family=family, repeats=1))
    assert figures["certified_gap"] <= 1e-3
    assert json.loads(json.dumps(figures)) == figures


SLEEPER = """
import time
from dualrec.solvers import bench_run
from dualrec.solvers.first_come import FirstCome
class Sleeper(FirstCome):
    def steps(self, problem, goal):
        time.sleep(60)
        return super().steps(problem, goal)
bench_run.GRACE_SECONDS = 0.1
case = bench_run.Case("skewed", "tiny", 0, "first-come", 1e-3, 1, 0.1)
bench_run.timed_solve(bench_run.instance("skewed", "tiny").make(), Sleeper(), case)
"""

GLUTTON = """
from dualrec.solvers import bench_run
import numpy
bench_run.available_bytes = lambda: 2**30
bench_run.limit_memory()
numpy.ones(2**28)
"""


def test_a_solver_deaf_to_its_time_limit_is_ended(python_run: Run) -> None:
    done = python_run("-c", SLEEPER)
    assert bench.ending(done.returncode, done.stderr, 600.0) == "not finished in 600 s", done.stderr


@pytest.mark.skipif(
    total_bytes() is None, reason="without /proc/meminfo there is no limit to set, nor a figure to check"
)
def test_a_solver_out_of_memory_ends_alone(python_run: Run) -> None:
    done = python_run("-c", GLUTTON)
    assert bench.ending(done.returncode, done.stderr, 600.0) == "out of memory", done.stderr


def test_another_failure_says_what_it_was() -> None:
    assert bench.ending(1, "Traceback\nValueError: no\n", 1.0) == "failed (1): ValueError: no"
    figures = bench.run(case(solver="nobody"))
    assert figures["status"].startswith("failed (1)") and "nobody" in figures["status"]


def test_gaps_and_threads_are_for_solvers_that_heed_them() -> None:
    given = bench.arguments(["--family", "tight", "--gap", "1e-2,1e-4", "--threads", "1,2", "--size", "25M"])
    todo = list(bench.cases(given))
    assert [(one.gap, one.threads) for one in todo if one.solver == "auction"] == [
        (1e-2, 1), (1e-2, 2), (1e-4, 1), (1e-4, 2)
    ]  # fmt: skip
    assert [(one.gap, one.threads) for one in todo if one.solver == "greedy"] == [(1e-2, 2)]
    assert {one.solver for one in todo} == set(SOLVERS) - {"lp"}, "left out at 25 M edges"
    named = bench.arguments(["--family", "tight", "--solver", "lp", "--size", "25M"])
    assert [one.solver for one in bench.cases(named)] == ["lp"]


@pytest.mark.parametrize("wrong", [["--family", "flat"], ["--solver", "magic"], ["--gap", "small"], ["--size", "3M"]])
def test_a_wrong_word_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.arguments(wrong)
    assert ended.value.code == 2 and wrong[1] in capsys.readouterr().err


def figures(solver: str, value: float, bound: float, seconds: float, status: str = "feasible") -> dict[str, Any]:
    known = {"family": "tight", "size": "2M", "seed": 0, "solver": solver, "gap": 1e-3, "threads": 2, "time_limit": 9.0}
    sizes = {"items": 10, "users": 20, "edges": 100, "load_average": 0.5}
    times = {"seconds": seconds, "cpu_seconds": seconds, "peak_bytes": 1200, "peak_counts_making": False}
    gap = (bound - value) / bound
    return {**known, **sizes, **times, "status": status, "value": value, "bound": bound, "certified_gap": gap}


def test_the_table_sets_each_run_beside_the_exact_one() -> None:
    runs = [figures("auction", 99.0, 101.0, 0.5), figures("min-cost-flow", 100.0, 100.0, 20.0, "optimal")]
    assert share_of_optimum(runs[0], runs) == "0.99000"
    assert times_faster(runs[0], runs, "min-cost-flow") == "40.0"
    row = cells(runs[0], runs)
    assert row[:3] == ["auction", "1.0e-03", "2"] and "12.0" in row and "0.500" in row and row[-1] == "feasible"


def test_without_an_exact_run_shares_are_at_least_what_they_say() -> None:
    runs = [figures("auction", 99.0, 100.0, 0.5), figures("greedy", 95.0, 120.0, 2.0)]
    assert share_of_optimum(runs[1], runs) == ">= 0.95000"
    assert times_faster(runs[0], runs, "min-cost-flow") == ""
    ended = {**case(solver="min-cost-flow", time_limit=9.0).__dict__, "status": "not finished in 9 s"}
    assert times_faster(runs[0], [*runs, ended], "min-cost-flow") == "> 18.0"
    assert cells(ended, runs)[-1] == "not finished in 9 s"


def test_the_page_names_machine_and_what_was_not_run(tmp_path: Path) -> None:
    result = bench.measure_all([case(solver="nobody")], tmp_path / "new" / "one.json")
    assert read_results(tmp_path / "new") == {"one": result}
    result["runs"] = [figures("greedy", 95.0, 120.0, 2.0)]
    text = page({"small": result}, {("2M", "lp"): "too big", ("25M", "pdlp"): "bigger"})
    assert result["machine"]["processor"] in text and "load average before the solves 0.5 to 0.5" in text
    assert "Not run: lp (too big)." in text and "10 items, 20 users, 100 edges" in text


def test_the_kept_table_is_that_of_the_kept_results() -> None:
    results = read_results(RESULTS)
    assert results and all(result["schema"] == bench.SCHEMA for result in results.values())
    assert (RESULTS / "README.md").read_text(encoding="utf-8") == page(results, bench.LEFT_OUT)


def test_the_kept_auction_runs_reach_the_gap_that_was_asked() -> None:
    runs = [run for result in read_results(RESULTS).values() for run in result["runs"] if run["solver"] == "auction"]
    assert runs
    for run in runs:
        assert run["certified_gap"] <= run["gap"], run
        assert math.isclose(run["certified_gap"], 1 - run["value"] / run["bound"], abs_tol=1e-12)


def test_restarts_are_measured_and_changes_are_as_said(capsys: pytest.CaptureFixture[str]) -> None:
    problem = instance("skewed", "tiny").make()
    shares = {change: float((changed(problem, change, 3).score != problem.score).mean()) for change in CHANGES}
    assert shares["none"] == 0.0
    assert all(0.005 < shares[change] <= 0.01 for change in ("nudged", "items", "anew"))
    bench_restart.main(["--size", "tiny", "--family", "skewed", "--gap", "1e-3", "--change", "none,anew"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and CHANGES["none"] in lines[2] and CHANGES["anew"] in lines[3]
    with pytest.raises(SystemExit):
        bench_restart.main(["--change", "all"])
