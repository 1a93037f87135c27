"""What `import dualrec` offers: problems, solvers, certificates, tables and the night."""

import doctest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dualrec
from dualrec import Allocation, InputError, Problem, ProblemError, Status, certify, load_config, run_night, solve

ITEM, USER, SCORE = ["a", "a", "a", "b", "b"], ["u", "v", "w", "u", "v"], [0.9, 0.8, 0.1, 0.85, 0.2]
SOLVERS = ("auction", "min-cost-flow", "greedy", "first-come")


@pytest.fixture
def problem() -> Problem:
    """Two items that want two users each, three users who take one item each; the optimum is 0.8 + 0.1 + 0.85."""
    return Problem.from_edges(ITEM, USER, SCORE, demand=2, capacity=1)


def test_every_name_is_listed_and_loads() -> None:
    names = dir(dualrec)
    assert names == sorted(dualrec.__all__)
    assert {"Problem", "solve", "certify", "Allocation", "Tables", "read_tables", "load_config", "run_night"} <= set(
        names
    )
    for name in names:
        assert getattr(dualrec, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Probelm'; it has: Allocation"):
        dualrec.Probelm  # noqa: B018


def test_every_public_function_has_a_docstring() -> None:
    for name in dualrec.__all__:
        if name != "__version__":
            assert getattr(dualrec, name).__doc__, name


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_allocation_answers_with_its_certificate(problem: Problem, solver: str) -> None:
    allocation = solve(problem, solver, gap=1e-3)
    assert isinstance(allocation, Allocation)
    assert isinstance(allocation.status, Status)
    assert allocation.value <= 1.75 + 1e-6
    assert allocation.bound >= 1.75 - 1e-6
    assert allocation.gap == pytest.approx((allocation.bound - allocation.value) / allocation.bound)
    assert allocation.user_prices.shape == (3,)
    assert (allocation.user_prices >= 0).all()
    if solver in ("auction", "min-cost-flow"):
        assert allocation.gap <= 1e-3
        assert allocation.value == pytest.approx(1.75, rel=1e-3)
    certificate = certify(problem, allocation.chosen, allocation.user_prices)
    assert certificate.value == pytest.approx(allocation.value)
    assert certificate.bound >= 1.75 - 1e-6


def test_pairs_are_columns_of_the_users_own_ids(problem: Problem) -> None:
    allocation = solve(problem, "auction", gap=1e-3)
    frame = pd.DataFrame(allocation.pairs())
    assert list(frame.columns) == ["item", "user", "score"]
    assert list(zip(frame["item"], frame["user"], strict=True)) == [("a", "v"), ("a", "w"), ("b", "u")]
    assert frame["score"].to_numpy() == pytest.approx([0.8, 0.1, 0.85])


def test_the_defaults_are_those_of_the_service() -> None:
    """200 users an item, 10 items a user, the auction."""
    problem = Problem.from_edges(ITEM, USER, SCORE)
    assert (problem.demand == 200).all()
    assert (problem.capacity == 10).all()
    allocation = solve(problem)
    assert allocation.solver == "auction"
    assert (allocation.matches, allocation.items_short, allocation.users_at_capacity) == (5, 2, 0)
    assert allocation.gap <= 1e-3


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"score": [0.9, float("nan"), 0.1, 0.85, 0.2]}, ["'a'", "'v'", "nan"]),
        ({"score": [0.9, 0.8, 0.1, float("inf"), 0.2]}, ["'b'", "'u'", "inf"]),
        ({"item": ["a", "a", "a", "a", "b"]}, ["'a'", "'u'", "twice"]),
        ({"demand": -1}, ["demand", "'a'", "-1"]),
        ({"capacity": {"u": 1, "v": -1, "w": 1}}, ["capacity", "'v'", "-1"]),
    ],
)
def test_bad_input_is_refused_in_one_line(change: dict[str, Any], parts: list[str]) -> None:
    given: dict[str, Any] = {"item": ITEM, "user": USER, "score": SCORE} | change
    with pytest.raises(ProblemError) as caught:
        Problem.from_edges(**given)
    assert [part for part in parts if part not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


def test_unknown_names_come_with_the_nearest_known(problem: Problem) -> None:
    with pytest.raises(ProblemError, match="auction"):
        solve(problem, "auktion")
    with pytest.raises(InputError, match=r"the nearest known is allocation\.capacity"):
        load_config("nightly", ["allocation.capcity=3"])


def test_the_example_in_the_docstring() -> None:
    result = doctest.testmod(dualrec, verbose=False)
    assert result.attempted >= 4
    assert result.failed == 0


def test_a_night_from_python(small_night: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says nothing by itself, returns the metrics, and leaves the same folder as the command."""
    result = run_night(load_config("nightly", [*small_night, f'out="{tmp_path}"']))
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "latest").resolve() == result.run_dir.resolve()
    assert result.metrics["allocation"]["gap"] <= 1e-3
    again = run_night(load_config("nightly", [*small_night, f'out="{tmp_path}"']))
    assert (again.reused, again.run_dir, again.metrics) == (True, result.run_dir, result.metrics)


def test_the_stages_are_functions(small_night: tuple[str, ...], tmp_path: Path, night: Callable) -> None:
    """A stage can be run by itself on the folders of those before it, and gives the same files."""
    from dualrec.alloc.progress import NullProgress
    from dualrec.alloc.stage import StageContext
    from dualrec.alloc.stage_allocation import run

    night(tmp_path / "out")
    work, alone = tmp_path / "out" / "work", tmp_path / "alone"
    alone.mkdir()
    inputs = {name: work / name for name in ("tables", "activity", "retrieval", "candidates")}
    run(StageContext(load_config("nightly", small_night), "", alone, 1, NullProgress(), inputs))
    for name in ("item.npy", "user.npy"):
        assert np.array_equal(np.load(alone / name), np.load(work / "allocation" / name))
    assert (alone / "matches.parquet").read_bytes() == (work / "allocation" / "matches.parquet").read_bytes()
