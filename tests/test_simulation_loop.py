"""The simulated platform as a whole: limits of every policy, arms that do not touch, shares, and the same bytes again."""

import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dualrec.alloc.cli import run
from dualrec.alloc.progress import NullProgress
from dualrec.alloc.simulation import night_matching, platform
from dualrec.alloc.simulation.assigning import Matched, Request, assign
from dualrec.alloc.simulation.designs import Design
from dualrec.alloc.simulation.exposures import COLD, Exposures
from dualrec.alloc.simulation.options import PlatformOptions
from dualrec.alloc.simulation.platform import State, end_design, run_day
from dualrec.alloc.simulation.policies import POLICIES, policy
from dualrec.alloc.simulation.simulate import simulate
from dualrec.alloc.simulation.simulation_config import load_simulation

SETTINGS = (
    "platform.people={users: 300, creators: 60, appetite: 30.0, longest: 40, patience: 15.0}",
    "platform.match={demand: 4, capacity: 2, candidates: 30, more_candidates: 10}",
    "platform.recommender={index_least: 4}",
    "platform.warm_days=4",
    "platform.days=3",
    "platform.reach=[5, 40]",
    "settle_days=1",
)
PROGRAM = "from dualrec.alloc.cli import main; main()"
ON_ONE_PROCESSOR = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "


def days_of(options: PlatformOptions, state: State, design: Design, days: int) -> list[dict[str, float]]:
    end_design(state)
    return [run_day(options, state, design) for _ in range(days)]


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Request, Matched]]:
    """Every request of a night with what was matched."""
    kept: list[tuple[Request, Matched]] = []

    def spy(match: Any, chosen: Any, request: Request) -> Matched:
        kept.append((request, assign(match, chosen, request)))
        return kept[-1][1]

    monkeypatch.setattr(night_matching, "assign", spy)
    return kept


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_no_policy_breaks_a_limit(small_platform: ModuleType, spied: list[tuple[Request, Matched]], name: str) -> None:
    options, state = small_platform.OPTIONS, small_platform.warmed()
    days_of(options, state, Design("whole", policy(name)), 3)
    if name == "base":
        assert not spied
        return
    assert sum(len(matched.item) for _, matched in spied) > 100
    for request, matched in spied:
        pairs = matched.item * options.people.users + matched.user
        assert len(np.unique(pairs)) == len(pairs)
        assert (np.bincount(matched.item, minlength=len(request.items)) <= request.demand).all()
        load = np.bincount(matched.user, minlength=options.people.users)
        assert name == "no_capacity" or (load <= request.capacity).all()
        assert (matched.user != request.pairs.author[matched.item]).all()
        score = request.pairs.of(matched.item, matched.user)
        assert np.allclose(matched.score, score, rtol=1e-4) and (score > 0).all()
        if POLICIES[name].activity == "threshold":
            assert (request.pairs.factor[matched.user] > 0).all()


def test_one_assignment_is_worth_more_than_first_come(
    small_platform: ModuleType, spied: list[tuple[Request, Matched]]
) -> None:
    options, state = small_platform.OPTIONS, small_platform.warmed()
    days_of(options, state, Design("whole", policy("nightly")), 2)
    for request, matched in spied:
        other = assign(options.match, policy("first_come"), request)
        assert matched.score.sum() >= other.score.sum() * (1 - 1e-6)
        assert matched.gap <= 0.02


def test_tiles_are_the_pairs_scores(small_platform: ModuleType, spied: list[tuple[Request, Matched]]) -> None:
    options, state = small_platform.OPTIONS, small_platform.warmed()
    days_of(options, state, Design("whole", policy("nightly")), 1)
    pairs = spied[0][0].pairs
    item, user = np.arange(len(pairs.item)), np.arange(50, 250)
    tile = pairs.tile(item, 50, 250)
    assert np.allclose(tile, pairs.of(np.repeat(item, 200), np.tile(user, len(item))).reshape(tile.shape), atol=1e-6)
    own = [(i, author - 50) for i, author in enumerate(pairs.author) if 50 <= author < 250]
    assert own and all(tile[i, place] == 0 for i, place in own)


def test_a_stream_keeps_capacities_within_the_day(small_platform: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    options, state = small_platform.OPTIONS, small_platform.warmed()
    design, sizes = Design("whole", policy("night_stream")), []
    during = night_matching.Night.during

    def spy(night: Any, *arguments: Any) -> Any:
        found = during(night, *arguments)
        sizes.append((len(arguments[1].matches), found.sizes(options.people.users).max()))
        return found

    monkeypatch.setattr(night_matching.Night, "during", spy)
    days_of(options, state, design, 3)
    assert len(sizes) == 3 * options.periods and max(largest for _, largest in sizes) <= options.match.capacity
    assert any(later[0] > earlier[0] for earlier, later in pairwise(sizes))  # it did give users


@pytest.mark.parametrize("name", ["co_diverted", "user_diverted", "creator_only"])
def test_arms_see_what_the_design_says(small_platform: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    options, state, kept = small_platform.OPTIONS, small_platform.warmed(), []
    learn = platform.learn

    def spy(known: Any, items: Any, shown: Exposures) -> None:
        kept.append(shown)
        learn(known, items, shown)

    monkeypatch.setattr(platform, "learn", spy)
    design = Design(name, policy("nightly"), policy("base"), share=0.5)
    figures = days_of(options, state, design, 3)
    user, creator = platform.arms(design, 1, options.people.users, len(state.creators.skill))
    crossed = matched = 0
    for shown in kept:
        arm = creator[state.items.creator[shown.item]]
        crossed += int((user[shown.user] != arm).sum())
        by_match = shown.source > COLD
        matched += int(by_match.sum())
        if name in ("co_diverted", "user_diverted"):
            assert user[shown.user[by_match]].all()
        if name in ("co_diverted", "creator_only"):
            assert arm[by_match].all()
    assert matched > 0 and (crossed == 0) == (name == "co_diverted")
    assert ("dac_treated" in figures[-1]) and ("reach_10_by_treated_users" in figures[-1])


def test_exposures_keep_their_shares_and_nobody_sees_an_item_twice(
    small_platform: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, state, kept = small_platform.OPTIONS, small_platform.warmed(), []
    learn = platform.learn

    def spy(known: Any, items: Any, shown: Exposures) -> None:
        kept.append((state.day, shown))
        learn(known, items, shown)

    monkeypatch.setattr(platform, "learn", spy)
    figures = days_of(options, state, Design("whole", policy("nightly")), 6)[1:]
    share = np.mean([day["share_two-tower"] for day in figures])
    assert share == pytest.approx(options.recommender.match_share, rel=0.3)
    assert np.mean([day["share_cold"] for day in figures]) == pytest.approx(options.recommender.cold_share, rel=0.3)
    pairs = np.concatenate([shown.user * 10**6 + shown.item for _, shown in kept])
    assert len(np.unique(pairs)) == len(pairs)
    for day, shown in kept:
        assert (state.items.day[shown.item] > day - options.recommender.live_days).all()
        assert (state.items.day[shown.item] <= day).all()
        assert (np.diff(shown.user) >= 0).all()
    counted = np.bincount(np.concatenate([shown.item for _, shown in kept]), minlength=len(state.items))
    assert (state.items.shows >= counted).all() and state.items.shows[state.items.day > 5].sum() == counted[
        state.items.day > 5
    ].sum()


def test_a_copy_goes_on_as_the_original(small_platform: ModuleType) -> None:
    options = small_platform.OPTIONS
    design = Design("whole", policy("night_stream"))
    first, second = small_platform.warmed(), small_platform.warmed()
    days_of(options, second.copy(), Design("whole", policy("base")), 2)  # what a copy does leaves the original alone
    assert repr(days_of(options, first, design, 3)) == repr(days_of(options, second, design, 3))


def simulated(python_run: Callable, out: Path, *settings: str, one: bool = False, **environment: str) -> Any:
    program = (ON_ONE_PROCESSOR if one else "") + PROGRAM
    return python_run("-c", program, "simulate", "--out", out, *SETTINGS, *settings, **environment)


def test_the_same_simulation_on_one_processor(python_run: Callable, tmp_path: Path) -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system lets no process choose its processors")
    orders = ("policies=[base, first_come, nightly]", "policies=[nightly, base, first_come]")
    tests = "test={designs: [co_diverted]}"
    done = simulated(python_run, tmp_path / "a", orders[0], tests)
    assert done.returncode == 0, done.stderr
    assert "nightly over first_come" in done.stdout and "co_diverted" in done.stdout
    again = simulated(
        python_run, tmp_path / "b", orders[1], tests, one=True, OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1"
    )
    assert again.returncode == 0, again.stderr
    days = [json.loads((tmp_path / name / "simulation" / "simulation.json").read_text())["days"] for name in "ab"]
    assert days[0] == days[1]
    page = (tmp_path / "a" / "simulation" / "report.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http://www.w3.org", "") and "<script" not in page
    assert "co diverted" in page and "Who gains" in page


def test_a_simulation_that_was_killed_goes_on(python_run: Callable, tmp_path: Path) -> None:
    policies = "policies=[base, nightly, first_come]"
    simulate(load_simulation("platform", (*SETTINGS, policies)), tmp_path / "whole", NullProgress())
    killer = (
        "import os; from dualrec.alloc.simulation import simulate; save = simulate.save_json\n"
        "def once(path, value):\n"
        "    save(path, value)\n"
        "    path.with_name(f'.{path.name}.tmp').write_text('[half')\n"
        "    os.kill(os.getpid(), 9)\n"
        "simulate.save_json = once\n"
    )
    killed = python_run("-c", killer + PROGRAM, "simulate", "--out", tmp_path / "cut", *SETTINGS, policies)
    assert killed.returncode == -9
    assert not (tmp_path / "cut" / "simulation" / "simulation.json").exists()
    assert len(list((tmp_path / "cut" / "simulation" / "runs").glob("*.json"))) == 1
    done = simulated(python_run, tmp_path / "cut", policies)
    assert done.returncode == 0, done.stderr
    for name in ("simulation.json", "simulation.md", "report.html"):
        read = [(tmp_path / folder / "simulation" / name).read_bytes() for folder in ("whole", "cut")]
        assert read[0] == read[1], name


def test_bad_settings_and_folders_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for arguments in (("policies=[base, nothing]",), ("platform.people.users=10",), ("--out", str(tmp_path / "file"))):
        assert run(["simulate", "--out", str(tmp_path / "x"), *arguments]) == 2
        said = capsys.readouterr()
        assert said.err.count("\n") == 1 and "Traceback" not in said.err and not said.out, said.err
        assert not (tmp_path / "x").exists()
