"""Settings of a simulation at their ends: each works or is refused in one line; and one run at a time."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dualrec.alloc.errors import InputError
from dualrec.alloc.lock import run_lock
from dualrec.alloc.progress import NullProgress
from dualrec.alloc.simulation.simulate import simulate
from dualrec.alloc.simulation.simulation_config import load_simulation

TINY = (
    "platform.people={users: 120, creators: 25, appetite: 20.0, longest: 25, patience: 10.0}",
    "platform.match={demand: 4, capacity: 2, candidates: 20, more_candidates: 8}",
    "platform.recommender={index_least: 3}",
    "platform.warm_days=3",
    "platform.days=2",
    "platform.reach=[5, 40]",
    "settle_days=1",
    "policies=[base, v5, night_stream]",
    "compare=[night_stream/base]",
)
PROGRAM = "from dualrec.alloc.cli import main; main()"


def run_tiny(out: Path, *settings: str) -> str:
    return simulate(load_simulation("platform", (*TINY, *settings)), out, NullProgress())


@pytest.mark.parametrize(
    "settings",
    [
        "platform.periods=1 platform.match.demand=1 platform.match.top_up=0",
        "platform.periods=12 platform.match.demand=100000 platform.match.capacity=100000",
        "platform.match.capacity=1 platform.match.candidates=1 platform.match.more_candidates=0",
        "platform.match.similar_items=100000 platform.match.threshold_hit_rate=0.9999",
        "platform.recommender.match_share=1e-12 platform.match.threshold_hit_rate=0.0001",
        "platform.recommender.match_share=0.9 platform.recommender.spare=0 platform.recommender.noise=0.0",
        "platform.recommender.cold_share=1e-12 platform.recommender.index_least=0 platform.reach=[1]",
        "platform.recommender.live_days=3 platform.recommender.seen_remembered=1 platform.people.longest=1",
        "platform.recommender.live_days=100 platform.recommender.index_least=1000000",
        "platform.recommender.rate_prior=0.001 platform.recommender.taste_prior=0.001 platform.people.dim=2",
        "platform.people.longest=10000 platform.people.patience=500.0 platform.people.appetite=1e6",
        "platform.people.patience=1.0 platform.people.appetite=1.0 platform.feedback.watch=-100.0",
        "platform.people.daily_active=1e-9",
        "platform.people.activity_spread=10.0 platform.people.mood_spread=10.0 platform.feedback.watch=100.0",
        "platform.people.topics=2 platform.people.topics_per_user=2 platform.people.creators=10",
        "platform.creators.uploads=1e-9",
        "platform.creators.uploads=12.0 platform.creators.output_spread=5.0",
        "platform.creators.leaving=1.0 platform.creators.unseen=1000000 platform.creators.joining=1.0",
        "platform.days=1 settle_days=0 policies=[base] compare=[]",
        "policies=[night_stream] compare=[]",
        "policies=[base, nightly] compare=[] test.designs=[co_diverted, user_diverted, creator_only] test.share=0.001",
    ],
)
def test_settings_at_their_ends_work(tmp_path: Path, settings: str) -> None:
    table = run_tiny(tmp_path, *re.split(r" (?=[a-z_.]+=)", settings))
    assert "nan" not in table and (tmp_path / "simulation" / "report.html").stat().st_size > 20_000


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("platform.match.demand=0", "platform.match.demand is 0; expected a number greater than or equal to 1"),
        ("platform.match.capacity=0", "platform.match.capacity is 0; expected"),
        ("platform.match.gap=2.0", "platform.match.gap is 2.0; expected"),
        ("platform.periods=0", "platform.periods is 0; expected"),
        ("platform.periods=24", "platform.periods is 24; expected"),
        ("platform.people.creators=1", "platform.people.creators is 1; expected"),
        ("platform.people.patience=1e12", "platform.people.patience is 1000000000000.0; expected"),
        ("platform.people.daily_active=.nan", "platform.people.daily_active is nan; expected"),
        ("platform.people.topics_per_user=41", "topics_per_user is 41, expected at most topics = 40"),
        ("platform.recommender.live_days=2", "platform.recommender.live_days is 2; expected"),
        ("platform.recommender.match_share=0.96", "cold_share [+] match_share is 1.01, expected"),
        ("platform.reach=[]", r"reach is \[\], expected rising"),
        ("platform.reach=[0, 5]", r"reach is \[0, 5\], expected rising"),
        ("platform.reach=[9, 5]", r"reach is \[9, 5\], expected rising"),
        ("platform.days=1", "settle_days is 1, expected fewer than platform.days"),
        ("seeds=0", "seeds is 0; expected"),
        ("seed=4294967295", r"seed \+ seeds is 4294967297, expected"),
        ("policies=[]", "policies is "),
        ("policies=[base, v5, night_stream, base]", "policies is base, v5, night_stream, base, expected each once"),
        ("policies=[base, v6, night_stream]", "policies has 'v6', expected some of base, "),
        ("compare=[v5/v5]", "compare has 'v5/v5', expected two of the policies"),
        ("compare=[v5]", "compare has 'v5', expected two of the policies"),
        ("compare=[nightly/base]", "compare has 'nightly/base', expected two of the policies"),
        ("test.designs=[co_diverted, co_diverted]", "test.designs is co_diverted, co_diverted, expected each once"),
        ("test.designs=[co_diverted]", "must be among the policies"),
        ("test.control=nightly", "are both nightly, expected two"),
        ("test.designs=[whole]", "expected"),
        ("test.control=v0", "test.control has 'v0', expected some of base, "),
        ("test.share=1.0", "test.share is 1.0; expected"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: str, expected: str) -> None:
    more = ("seeds=2",) if setting.startswith("seed=") else ()
    with pytest.raises(InputError, match=expected) as caught:
        load_simulation("platform", (*TINY, *more, setting))
    assert "\n" not in str(caught.value) and ": :" not in str(caught.value)
    assert "on the command line: " in str(caught.value) or setting.startswith("test.designs=[co_diverted]")


def test_two_at_once_on_one_folder_are_told(tmp_path: Path) -> None:
    with run_lock(tmp_path / "simulation"), pytest.raises(InputError, match=r"simulation is in use by process \d+; "):
        run_tiny(tmp_path)
    assert [path.name for path in (tmp_path / "simulation").iterdir()] == [".lock"]


def test_what_was_run_is_read_and_only_what_is_new_is_run(tmp_path: Path) -> None:
    run_tiny(tmp_path, "policies=[base, v5]", "compare=[]")
    runs = tmp_path / "simulation" / "runs"
    before = {path.name: path.stat().st_mtime_ns for path in runs.iterdir()}
    again = run_tiny(tmp_path)
    after = {path.name: path.stat().st_mtime_ns for path in runs.iterdir()}
    assert len(before) == 2 and len(after) == 3 and before.items() <= after.items()
    fresh = run_tiny(tmp_path / "fresh")
    assert again.partition("report:")[0] == fresh.partition("report:")[0]
    read = [
        json.loads((folder / "simulation" / "simulation.json").read_text()) for folder in (tmp_path, tmp_path / "fresh")
    ]
    assert read[0] == read[1] and set(read[0]["days"]) == {"base", "v5", "night_stream"}
    run_tiny(tmp_path, "platform.recommender.noise=0.31")  # another world: nothing of the old one fits
    assert len(list(runs.iterdir())) == 6


def test_a_damaged_file_of_a_run_is_named(tmp_path: Path) -> None:
    run_tiny(tmp_path, "policies=[base]", "compare=[]")
    (path,) = (tmp_path / "simulation" / "runs").iterdir()
    path.write_text("[{")
    with pytest.raises(InputError, match=f"{path.name} is not a JSON file"):
        run_tiny(tmp_path, "policies=[base]", "compare=[]")


def test_the_command_line(python_run: Callable, tmp_path: Path) -> None:
    done = python_run("-c", PROGRAM, "simulate", "--out", tmp_path, *TINY)
    assert done.returncode == 0 and "seed 1: " in done.stderr, done.stderr
    folder = tmp_path / "simulation"
    table = (folder / "simulation.md").read_text()
    assert done.stdout == f"{table}report: {folder / 'report.html'}\n"
    assert [line.split(" ")[0] for line in table.splitlines()[1:4]] == ["base", "v5", "night_stream"]
    names = {path.name for path in folder.iterdir()}
    assert names == {".lock", "report.html", "runs", "simulation.json", "simulation.md"}
    assert json.loads((folder / "simulation.json").read_text())["config"]["platform"]["people"]["users"] == 120
