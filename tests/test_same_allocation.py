"""The auction gives the same bytes (matches, prices, bound) on any number of threads, in one process and in others.

As a script it prints a digest of each answer: `python test_same_allocation.py THREADS SMALL_GAP`.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dualrec.solvers.allocation import Allocation
from dualrec.solvers.auction import Auction
from dualrec.solvers.instances import Skewed, TiedGroups, TightFlat
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve
from dualrec.solvers.uneven_instances import GiantRow, HubUsers, Ratings
from dualrec.solvers.workers import Workers


def half_scores() -> Problem:
    problem = SHAPES["skewed"]()
    return replace(problem, score=problem.score.astype(np.float16))


SHAPES: dict[str, Callable[[], Problem]] = {
    "skewed": Skewed(items=600, users=6_500, candidates=500, demand=100, capacity=7).make,
    "half scores": half_scores,
    "tight": TightFlat(items=400, users=2_994, candidates=500, demand=200, capacity=27).make,
    "few scores": Skewed(items=400, users=4_500, candidates=500, demand=100, capacity=7, levels=4).make,
    "identical rows": TiedGroups(items=450, groups=200, users=4_500, candidates=500, demand=100, capacity=9).make,
    "identical rows, few scores": TiedGroups(450, 200, 4_500, 500, 100, 9, levels=3).make,
    "hubs": HubUsers(items=600, users=6_500, candidates=500, hubs=20, demand=100, capacity=9).make,
    "giant row": GiantRow(items=501, users=6_500, candidates=500, demand=100, capacity=7).make,
    "ratings": Ratings(items=600, users=4_800, ratings=130_000).make,
}
"""Large enough that blocks of items are handed to threads."""

Answers = dict[str, list[Allocation]]


def changed(problem: Problem) -> Problem:
    """One score in a hundred is another."""
    rng = np.random.default_rng(1)
    score, edge = problem.score.copy(), rng.choice(problem.edges, problem.edges // 100, replace=False)
    score[edge] = rng.permutation(score[edge])
    return replace(problem, score=score)


def answers(shape: str, threads: int, small_gap: float) -> list[Allocation]:
    """From nothing to a gap of 1e-3; from there to a smaller one; from there after some scores changed."""
    problem, solver = SHAPES[shape](), Auction(threads=threads)
    cold = solve(problem, solver, gap=1e-3)
    finer = solve(problem, solver, gap=small_gap, start=cold)
    return [cold, finer, solve(changed(problem), solver, gap=1e-3, start=cold)]


def digest(answer: Allocation) -> str:
    parts: list[Any] = [answer.chosen, answer.user_prices, np.float64(answer.bound), np.float64(answer.value)]
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def digests(threads: int, small_gap: float) -> dict[str, list[str]]:
    return {shape: [digest(answer) for answer in answers(shape, threads, small_gap)] for shape in SHAPES}


@pytest.fixture(scope="module")
def on_one_thread() -> Answers:
    return {shape: answers(shape, 1, 1e-3) for shape in SHAPES}


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_in_one_process(on_one_thread: Answers, shape: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run, at_once = Workers.run, []

    def counted(self: Workers, work: Callable[..., Any], parts: Any, small: bool = False) -> list[Any]:  # never alone
        parts = list(parts)
        at_once.append(len(parts))
        return run(self, work, parts)

    monkeypatch.setattr(Workers, "run", counted)
    found = answers(shape, threads, 1e-3)
    assert at_once.count(threads) > 20, "hardly any work for several threads: the instance is too small for this test"
    for one, other in zip(on_one_thread[shape], found, strict=True):
        assert one.chosen.tobytes() == other.chosen.tobytes()
        assert one.user_prices.tobytes() == other.user_prices.tobytes()
        assert (one.bound, one.value, one.status) == (other.bound, other.value, other.status)
        assert other.gap <= 1e-3


def in_another_process(python_run: Callable[..., Any], threads: int, small_gap: float) -> Any:
    done = python_run(__file__, str(threads), str(small_gap), NUMBA_NUM_THREADS=str(threads), PYTHONHASHSEED="7")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_in_another_process(on_one_thread: Answers, python_run: Callable[..., Any]) -> None:
    expected = {shape: [digest(answer) for answer in found] for shape, found in on_one_thread.items()}
    assert in_another_process(python_run, 3, 1e-3) == expected


@pytest.mark.slow
def test_to_a_small_gap(python_run: Callable[..., Any]) -> None:
    """Down to the last resort of tied and tight problems, which is for one thread."""
    expected = digests(1, 1e-6)
    assert digests(2, 1e-6) == expected
    assert in_another_process(python_run, 3, 1e-6) == in_another_process(python_run, 1, 1e-6) == expected


if __name__ == "__main__":
    print(json.dumps(digests(int(sys.argv[1]), float(sys.argv[2]))))
