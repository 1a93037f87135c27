"""A day in order of arrival: the replay beside the rule's own over a problem of all pairs, and the evaluation of days."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualrec.alloc.arrivals import own_bids, replay_arrivals
from dualrec.alloc.config import Config, load_config
from dualrec.alloc.errors import InputError
from dualrec.alloc.evaluate_arrivals import RULES, evaluate_arrivals
from dualrec.alloc.progress import NullProgress
from dualrec.solvers.online import OnlineRule
from dualrec.solvers.online_prices import UserPrices, curves_of
from dualrec.solvers.problem import Problem


@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 9))
def test_the_replay_is_the_rules_own_over_all_pairs(seed: int, items: int, users: int) -> None:
    rng = np.random.default_rng(seed)
    scores = (rng.random((items, users)) * (rng.random((items, users)) < 0.8)).astype(np.float32)
    demand, capacity = rng.integers(0, 4, items), rng.integers(0, 5, users)
    gone = np.sort(rng.random(items))
    rules = {"first come": None, "prices": UserPrices(rng.random(users) / 2, 1.5)}
    found = replay_arrivals(
        lambda rows: scores[rows], demand, gone, {name: OnlineRule(capacity, rule) for name, rule in rules.items()}
    )
    indptr = np.arange(items + 1) * users
    problem = Problem.from_csr(indptr, np.tile(np.arange(users), items), scores.ravel(), demand, capacity)
    for name, rule in rules.items():
        chosen = OnlineRule(capacity, rule).run(problem, gone)
        np.testing.assert_allclose(found[name], scores.ravel()[chosen].sum(dtype=np.float64))


@given(st.integers(0, 2**32 - 1), st.integers(0, 300), st.integers(1, 9))
def test_bids_of_a_day_are_those_of_the_problem_of_all_pairs(seed: int, items: int, users: int) -> None:
    rng = np.random.default_rng(seed)
    scores = (rng.random((items, users)) * (rng.random((items, users)) < 0.8)).astype(np.float32)
    demand, price = rng.integers(0, 4, items), rng.random(users) / 2
    found = own_bids(lambda rows: scores[rows], demand, price, 3)
    indptr = np.arange(items + 1) * users
    problem = Problem.from_csr(indptr, np.tile(np.arange(users), items), scores.ravel(), demand, np.full(users, 3))
    expected = curves_of(problem, price, 3)
    assert found.bids.tobytes() == expected.bids.tobytes() and found.items == expected.items


@pytest.fixture
def config(small_night: tuple[str, ...], tmp_path: Path) -> Config:
    """The small built-in world."""
    return load_config("nightly", [*small_night, f"out={tmp_path}"])


def test_each_days_items_are_replayed_by_the_night_before_and_never_beat_the_bound(config: Config) -> None:
    table = evaluate_arrivals(config, (11, 12), NullProgress())
    (path,) = (Path(config.out) / "evaluation").glob("*-arrivals.json")
    figures = json.loads(path.read_text())
    assert sorted(figures["days"]) == ["10", "11"]
    for day in figures["days"].values():
        values, best = day["values"], day["best"]
        assert set(values) == set(RULES) and day["items"] > 0
        assert 0 < max(values.values()) <= best["bound"] * (1 + 1e-6)
        assert best["gap"] < 0.01
    pooled = figures["pooled"]
    assert pooled["items"] == sum(day["items"] for day in figures["days"].values())
    assert f"{100 * pooled['values']['bid_curves'] / pooled['best']['value']:.1f}" in table.splitlines()[3]


def test_day_0_has_no_night_before_it(config: Config) -> None:
    with pytest.raises(InputError, match="from 1 on"):
        evaluate_arrivals(config, (0, 9), NullProgress())
