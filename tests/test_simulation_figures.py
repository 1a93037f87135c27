"""Figures of a simulated day, their comparison and the report, each against plain Python."""

import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dualrec.alloc.simulation.comparison import compare, shown_figures, simulation_table
from dualrec.alloc.simulation.day_metrics import (
    FEEDBACK_CLASSES,
    MATCH_SIZES,
    DayTally,
    day_metrics,
    quality_table,
    uploads_by_feedback,
)
from dualrec.alloc.simulation.designs import Design
from dualrec.alloc.simulation.exposures import SOURCES, Exposures, in_user_order
from dualrec.alloc.simulation.options import PlatformOptions
from dualrec.alloc.simulation.platform import arms_before, end_design, run_day
from dualrec.alloc.simulation.policies import policy
from dualrec.alloc.simulation.simulation_config import AbOptions, SimulationConfig
from dualrec.alloc.simulation.simulation_report import mean_line, render_simulation
from dualrec.alloc.simulation.waiting import matches_of, no_matches

USERS = 400


def exposures(rng: np.random.Generator, items: int, count: int) -> Exposures:
    user = np.sort(rng.integers(0, USERS, count))
    return Exposures(
        user,
        rng.integers(0, items, count),
        rng.integers(0, len(SOURCES), count).astype(np.int8),
        *(rng.random(count) < rate for rate in (0.4, 0.2, 0.1, 0.05)),
        rng.integers(1, 40, count).astype(np.float32),
    )


@pytest.fixture(params=[True, False], ids=["test", "whole"])
def day(small_platform: ModuleType, request: pytest.FixtureRequest) -> dict[str, Any]:
    """A day after the warm ones: its exposures in parts, its matches, and who was treated."""
    rng, state = np.random.default_rng(3), small_platform.warmed()
    creators = len(state.creators.skill)
    split = request.param
    arm = [rng.random(size) < 0.3 if split else np.ones(size, bool) for size in (USERS, creators)]
    tally = DayTally(state.day - 1, rng.poisson(0.4, creators), split, *arm, rng.random(USERS) < 0.4)
    parts = [exposures(rng, len(state.items), 900) for _ in range(3)]
    for part in parts:
        tally.add(part)
    pairs = np.unique(rng.integers(0, [50, len(state.items)], (90, 2)), axis=0)
    matches = [matches_of(pairs[:, 0], pairs[:, 1], rng.random(len(pairs)), np.full(len(pairs), 2, np.int8))]
    rows = [row for part in parts for row in zip(*(column.tolist() for column in vars(part).values()), strict=True)]
    return {"state": state, "tally": tally, "matches": matches, "rows": rows, "split": split}


def test_a_days_figures_are_those_of_plain_python(small_platform: ModuleType, day: dict[str, Any]) -> None:
    options, state, tally, rows = small_platform.OPTIONS, day["state"], day["tally"], day["rows"]
    items, creators = state.items, state.creators
    found = day_metrics(options, items, creators, tally, day["matches"])
    expected: dict[str, float] = {
        "day": tally.day,
        "uploads": sum(when == tally.day for when in items.day),
        "creators": sum(creators.active),
        "exposures": len(rows),
        "dau": sum(tally.came),
        "watch_hours": sum(row[7] for row in rows) / 3600,
    }
    for place, source in enumerate(SOURCES):
        expected[f"share_{source}"] = sum(row[2] == place for row in rows) / len(rows)
    matched = [row for row in rows if row[2] > 1]
    for name, some in (("", rows), ("match_", matched)):
        for column, kind in ((3, "watched"), (4, "like"), (5, "comment"), (6, "follow")):
            expected[f"{name}{kind}_rate"] = sum(row[column] for row in some) / len(some)
    users = day["matches"][0].user.tolist()
    size = Counter(users)
    expected["hit_rate"] = sum(tally.came[user] for user in users) / len(users)
    expected["largest_match_set"] = max(size.values())
    for low, high in pairwise([*MATCH_SIZES, 10**9]):
        expected[f"match_sets_{low}"] = sum(low <= size[user] < high for user in range(USERS))
    got = Counter(items.creator[row[1]] for row in rows)
    amounts = [got[creator] for creator in range(len(creators.skill)) if creators.active[creator]]
    gaps = sum(abs(a - b) for a in amounts for b in amounts)
    expected["gini"] = gaps / (2 * len(amounts) * sum(amounts))
    arms: list[tuple[str, list[bool]]] = [("", [False, True])]
    if day["split"]:
        arms += [("_control", [False]), ("_treated", [True])]
    for name, arm in arms:
        of = [creator for creator in range(len(creators.skill)) if tally.creator_arm[creator] in arm]
        ended = [
            items.shows[item]
            for item in range(len(items))
            if items.day[item] == tally.day - options.recommender.live_days + 1 and items.creator[item] in of
        ]
        expected[f"ended{name}"] = len(ended)
        expected[f"dac{name}"] = sum(tally.uploads[creator] > 0 for creator in of)
        for least in options.reach:
            expected[f"reach_{least}{name}"] = sum(shows >= least for shows in ended)
        expected[f"coverage{name}"] = np.mean([shows >= options.recommender.index_least for shows in ended])
        expected[f"short{name}"] = np.mean([shows < options.match.demand / 2 for shows in ended])
        expected[f"mean_shows{name}"] = np.mean(ended)
        if name:
            expected[f"assigned{name}"] = len(of)
            expected[f"creators{name}"] = sum(creators.active[creator] for creator in of)
            mine = [user for user in range(USERS) if tally.user_arm[user] in arm]
            expected[f"users{name}"] = len(mine)
            expected[f"dau{name}"] = sum(tally.came[user] for user in mine)
            expected[f"watch_hours{name}"] = sum(row[7] for row in rows if tally.user_arm[row[0]] in arm) / 3600
            share = sum(tally.user_arm[row[0]] in arm for row in rows) / len(rows)
            for least in options.reach:
                last = items.day == tally.day - options.recommender.live_days + 1
                shows = items.shows_by_arm[last, int(arm[0])]
                expected[f"reach_{least}_by{name}_users"] = sum(one >= least * share for one in shows)
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-6), key


def test_uploads_by_feedback_and_thirds_are_those_of_plain_python(day: dict[str, Any]) -> None:
    state, tally, rows = day["state"], day["tally"], day["rows"]
    creators = state.creators
    found = uploads_by_feedback(creators, tally.uploads)
    for low, high in pairwise([*FEEDBACK_CLASSES, 10**9]):
        of = [c for c in np.flatnonzero(creators.active) if low <= creators.feedback[c] < high]
        assert found[f"creators_fed_{low}"] == len(of)
        assert found[f"uploads_fed_{low}"] == sum(tally.uploads[c] for c in of)

    def third(values: np.ndarray, one: int) -> int:
        return int(sum(values[one] > np.quantile(values, cut) for cut in (1 / 3, 2 / 3)))

    table = quality_table(state.users, creators, state.items, tally.exposures())
    cells = Counter()
    for user, item, _, watched, *_ in rows:
        cell = f"{third(creators.output, state.items.creator[item])}_{third(state.users.activity, user)}"
        cells[f"shows_{cell}"] += 1
        cells[f"views_{cell}"] += watched
    assert {key: value for key, value in table.items() if value} == {
        key: value for key, value in cells.items() if value
    }
    assert len(table) == 18


def test_a_day_without_visitors_has_figures(small_platform: ModuleType) -> None:
    state = small_platform.warmed()
    creators = len(state.creators.skill)
    none = np.zeros(creators, np.int64)
    tally = DayTally(state.day, none, True, np.zeros(USERS, bool), np.zeros(creators, bool), np.zeros(USERS, bool))
    found = day_metrics(small_platform.OPTIONS, state.items, state.creators, tally, [no_matches(), no_matches()])
    assert found["exposures"] == found["dau"] == found["gini"] == found["dac_treated"] == found["users_treated"] == 0
    assert np.isnan(found["like_rate"]) and "hit_rate" not in found and found["users_control"] == USERS


def test_parts_of_a_day_are_kept_in_the_order_of_each_user() -> None:
    rng = np.random.default_rng(1)
    parts = [exposures(rng, 20, 50) for _ in range(3)]
    whole = in_user_order(parts)
    for user in range(USERS):
        expected = [item for part in parts for who, item in zip(part.user, part.item, strict=True) if who == user]
        assert whole.item[whole.user == user].tolist() == expected


@pytest.mark.parametrize("name", ["co_diverted", "user_diverted", "creator_only"])
@pytest.mark.parametrize("share", [1e-6, 1 - 1e-6])
def test_a_test_of_everybody_or_nobody_has_figures(small_platform: ModuleType, name: str, share: float) -> None:
    options, state = small_platform.OPTIONS, small_platform.warmed()
    end_design(state)
    design = Design(name, policy("nightly"), policy("base"), share)
    before, figures = arms_before(options, state, design), run_day(options, state, design)
    nobody, everybody = ("treated", "control") if share < 0.5 else ("control", "treated")
    assert before[f"dac_{nobody}_before"] == figures[f"dac_{nobody}"] == figures[f"users_{nobody}"] == 0
    assert before[f"dac_{everybody}_before"] > 0 and figures[f"dac_{everybody}"] == figures["dac"]


def test_the_week_before_a_test_is_that_of_its_arms(small_platform: ModuleType) -> None:
    options, state = small_platform.OPTIONS, small_platform.warmed()
    design = Design("co_diverted", policy("nightly"), policy("base"), 0.4)
    found, creators = arms_before(options, state, design), len(state.creators.skill)
    end_design(state)
    figures = run_day(options, state, design)
    assert arms_before(options, state, Design("whole", policy("base"))) == {}
    assert figures["assigned_control"] + figures["assigned_treated"] == creators
    uploaded = [set(state.items.creator[state.items.day == day].tolist()) for day in range(5)]
    both = found["dac_control_before"] + found["dac_treated_before"]
    assert both == pytest.approx(np.mean([len(one) for one in uploaded]))


def config_of(**changes: Any) -> SimulationConfig:
    return SimulationConfig(
        settle_days=1,
        platform=PlatformOptions(reach=(10, 50), days=3),
        policies=("base", "nightly"),
        compare=("nightly/base",),
        test=AbOptions(designs=("co_diverted", "user_diverted")),
        **changes,
    )


def days_of(seeds: int) -> dict[str, list[list[dict[str, Any]]]]:
    """Invented days of two policies and two tests, as they are read from JSON: what is no number is None."""
    rng = np.random.default_rng(5)
    names = ["dac", "dau", "reach_10", "reach_50", "watch_hours", "coverage", "short", "gini", "hit_rate"]
    fed = [f"{kind}_fed_{low}" for kind in ("creators", "uploads") for low in FEEDBACK_CLASSES]
    thirds = [f"{kind}_{c}_{u}" for kind in ("shows", "views") for c in range(3) for u in range(3)]
    names += [*fed, *thirds, *(f"match_sets_{low}" for low in MATCH_SIZES)]
    arms = [f"{name}_{arm}{when}" for name in names[:4] for arm in ("control", "treated") for when in ("", "_before")]
    arms += [f"{name}_by_{arm}_users" for name in names[2:4] for arm in ("control", "treated")]

    def one(keys: list[str], day: int) -> dict[str, Any]:
        figures: dict[str, Any] = dict(zip(keys, rng.uniform(50, 150, len(keys)).tolist(), strict=True))
        if day == 1:
            figures["hit_rate"] = None
        return figures

    keys = {"base": names, "nightly": names, "co_diverted": names + arms, "user_diverted": names + arms}
    return {name: [[one(has, day) for day in range(3)] for _ in range(seeds)] for name, has in keys.items()}


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_comparisons_are_those_of_plain_python(seeds: int) -> None:
    config, days = config_of(seeds=seeds), days_of(seeds)
    found = compare(config, days)

    def mean(name: str, seed: int, key: str) -> float:
        values = [day[key] for day in days[name][seed][1:]]  # after the day that settles
        return float(np.mean([value for value in values if value is not None]))

    def over(name: str, seed: int, key: str, than: tuple[str, str]) -> float:
        return mean(name, seed, key) / mean(than[0], seed, than[1]) - 1

    for name in config.policies:
        for key in ("dac", "hit_rate"):
            values = [mean(name, seed, key) for seed in range(seeds)]
            spread = float(np.std(values, ddof=1)) if seeds > 1 else 0.0
            assert found["means"][name][key] == pytest.approx({"mean": np.mean(values), "spread": spread})
    for key in ("dac", "reach_50"):
        ratio = [over("nightly", seed, key, ("base", key)) for seed in range(seeds)]
        one = found["differences"]["nightly/base"][key]
        assert one["difference"] == pytest.approx(np.mean(ratio))
        if seeds > 1:
            low, high = stats.t.interval(0.95, seeds - 1, np.mean(ratio), stats.sem(ratio))
            assert (one["low"], one["high"]) == pytest.approx((low, high))
        else:
            assert np.isnan(one["low"]) and np.isnan(one["high"])
        tests = {
            "co_diverted": [
                (1 + over("co_diverted", seed, f"{key}_treated", ("co_diverted", f"{key}_treated_before")))
                / (1 + over("co_diverted", seed, f"{key}_control", ("co_diverted", f"{key}_control_before")))
                - 1
                for seed in range(seeds)
            ],
            "user_diverted": [
                0.0
                if key == "dac"
                else over(
                    "user_diverted", seed, f"{key}_by_treated_users", ("user_diverted", f"{key}_by_control_users")
                )
                for seed in range(seeds)
            ],
        }
        for name, estimates in tests.items():
            figure = found["tests"][name][key]
            assert figure["estimate"] == pytest.approx(np.mean(estimates))
            assert figure["truth"] == pytest.approx(np.mean(ratio))
            assert figure["error"] == pytest.approx(np.mean(np.abs(np.subtract(estimates, ratio))))
    assert set(found["tests"]["co_diverted"]) == {"dac", "reach_10", "reach_50"}


def test_what_cannot_be_told_is_a_dash() -> None:
    config, days = config_of(seeds=2), days_of(2)
    for run in [*days["co_diverted"], *days["base"]]:
        for day in run:
            day["reach_10_control_before"] = day["reach_50"] = 0.0
            day["hit_rate"] = None
    found = compare(config, days)
    assert "hit_rate" not in found["means"]["base"] and "hit_rate" not in found["differences"]["nightly/base"]
    table = simulation_table(config, found)
    page = render_simulation(config, found, days)
    assert "nan" not in table and not re.search(r"\bnan\b", page)
    line = next(line for line in table.splitlines() if line.startswith("co_diverted") and "reach-10" in line)
    assert line.split()[-2:] == ["-", "-"]
    assert f"- % uploads that reach {config.platform.reach[0]}" not in page  # of reach 10 there is a difference


class Parsed(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.links += [value or "" for name, value in attrs if name in {"href", "src", "xlink:href"}]


def test_the_report_stands_alone_and_is_the_same_every_time() -> None:
    config, days = config_of(seeds=2), days_of(2)
    found = compare(config, days)
    page = render_simulation(config, found, days)
    assert page == render_simulation(config, compare(config, days_of(2)), days_of(2))
    parsed = Parsed()
    parsed.feed(page)
    assert not {"script", "img", "iframe", "object", "embed", "image"} & set(parsed.tags)
    assert all(link.startswith(("#", "data:")) for link in parsed.links)
    assert set(re.findall(r"\bhttps?:[^\s\"'<>]*", page)) == {"http://www.w3.org/2000/svg"}
    assert "url(http" not in page and "@import" not in page
    assert parsed.tags["svg"] == 5 and "uploads that reach 10 exposures" in page
    for name in shown_figures(config).values():
        assert f">{name}<" in page


def test_the_table_shows_each_policy_pair_and_test() -> None:
    config = config_of(seeds=2)
    table = simulation_table(config, compare(config, days_of(2)))
    lines = [line.split("  ")[0].strip() for line in table.splitlines()]
    assert [line for line in lines if line in {"base", "nightly"}] == ["base", "nightly"]
    assert lines.count("nightly over base") == 1
    assert lines.count("co_diverted") == lines.count("user_diverted") == 3


def test_lines_over_days_have_gaps_where_a_day_has_no_figure() -> None:
    line = mean_line([[{"a": 1.0}, {"a": None}, {}], [{"a": 3.0}, {"a": 2.0}, {"a": 1.0}]], "a")
    assert line[0] == 2.0 and np.isnan(line[1:]).all()
