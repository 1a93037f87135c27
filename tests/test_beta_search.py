"""Weights of the heads sought on past exposures: the choice against a loop, a planted gain, guards, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.alloc.config import load_config
from dualrec.alloc.errors import InputError
from dualrec.alloc.progress import NullProgress
from dualrec.alloc.tune_beta import read_outcome, tune
from dualrec.models.beta_search import Replay, chosen, tune_beta

HEADS = ("like", "follow", "skip")
ALL = {"like": 1.0, "follow": 1.0, "skip": -0.5}


def exposures(seed: int, count: int = 6000, items: int = 60) -> Replay:
    """Every kind happens as predicted; what is liked, and what is followed, are independent."""
    rng = np.random.default_rng(seed)
    p = rng.beta([2.0, 2.0, 1.0], [6.0, 6.0, 6.0], (count, 3))
    return Replay(p, rng.random((count, 3)) < p, rng.integers(0, items, count), HEADS)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=30), st.sampled_from([0.05, 0.2, 0.5, 0.99]))
def test_the_best_share_of_each_item_is_chosen(rows: list[tuple[int, int]], share: float) -> None:
    item = np.array([one for one, _ in rows], np.int64)
    score = np.array([value for _, value in rows], float)
    expected = np.zeros(len(rows), bool)
    for one in set(item.tolist()):
        own = [row for row in range(len(rows)) if item[row] == one]
        best = sorted(own, key=lambda row: (-score[row], row))
        expected[best[: max(1, round(share * len(own)))]] = True
    np.testing.assert_array_equal(chosen(score, item, share), expected)


def test_the_weight_of_what_counts_is_found_and_judged_on_other_items() -> None:
    found = tune_beta(exposures(1), {"like": 1.0, "follow": 1.0}, {"follow": 1.0}, {}, 0.2, 60, 3)
    assert found.best["follow"] > 3 * found.best["like"]
    assert found.gains and 0 < found.low < found.after - found.before < found.high
    assert found.tried == 60 and found.refused == 0
    assert max(found.best.values()) == max(found.start.values()), "only ratios matter"


def test_the_same_seed_finds_the_same_and_steps_are_told() -> None:
    calls: list[int] = []
    found = [tune_beta(exposures(2), ALL, {"like": 1.0}, {}, 0.3, 20, 5, lambda: calls.append(1)) for _ in range(2)]
    assert found[0] == found[1] and len(calls) == 40
    assert found[0] != tune_beta(exposures(2), ALL, {"like": 1.0}, {}, 0.3, 20, 6)


def test_no_gain_is_said_as_such() -> None:
    """Weights that are the outcome's own are as good as any."""
    found = tune_beta(exposures(3), {"like": 1.0, "follow": 1.0}, {"like": 1.0, "follow": 1.0}, {}, 0.2, 30, 1)
    assert not found.gains


def test_guards_keep_what_the_users_get() -> None:
    """Where those who like also skip, weights that find likes are refused."""
    plain = exposures(4)
    p = plain.p.copy()
    p[:, 2] = p[:, 0]
    both = Replay(p, np.random.default_rng(4).random(p.shape) < p, plain.item, HEADS)
    start = {"like": 0.1, "follow": 1.0, "skip": -0.5}
    free = tune_beta(both, start, {"like": 1.0}, {}, 0.2, 60, 1)
    kept = tune_beta(both, start, {"like": 1.0}, {"skip": -1.0}, 0.2, 60, 1)
    assert free.refused == 0 and kept.refused > 20
    assert free.after - free.before > 0.02 > kept.after - kept.before, "likes cannot be had without skips"
    before, after = kept.guards["skip"]
    assert after < before + 0.02, "the guard holds on the items that were searched, and nearly on the others"


def test_signs_and_zeros_stay() -> None:
    found = tune_beta(exposures(5), {"like": 1.0, "skip": -0.5}, {"like": 1.0}, {}, 0.2, 20, 1)
    assert set(found.best) == {"like", "skip"} and found.best["skip"] < 0


def test_one_item_cannot_be_split() -> None:
    one = exposures(6, items=1)
    with pytest.raises(ValueError, match="1 items, expected two or more"):
        tune_beta(one, ALL, {"like": 1.0}, {}, 0.2, 5, 1)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "expected what feedback counts"),
        ("like=0", "expected what feedback counts"),
        ("likes=1", "nearest is 'like'"),
        ("like", "expected a number"),
        ("like=much", "expected a number"),
        ("like=nan", "expected a finite number"),
    ],
)
def test_an_outcome_that_cannot_be_read_is_refused(text: str, line: str) -> None:
    with pytest.raises(InputError, match=line):
        read_outcome(text)


def test_an_outcome_is_read() -> None:
    assert read_outcome("like=1, comment=2.5,") == {"like": 1.0, "comment": 2.5}


@pytest.mark.slow
def test_the_command_on_a_small_world(small_night: tuple[str, ...], tmp_path: Path) -> None:
    config = load_config("nightly", [*small_night, "data.regime=warm", f"out={tmp_path}"])
    table = tune(config, {"like": 1.0}, 0.3, 15, NullProgress())
    about = json.loads((tmp_path / "tuning" / "beta.json").read_text())
    assert about["tried"] == 15 and about["exposures"] > 100 and about["outcome"] == {"like": 1.0}
    assert set(about["guards"]) == {"effective_view", "skip"}
    assert "beta like" in table and "on items not searched" in table
    assert ("keep the weights" in table) != about["gains"]
    for wrong, line in (({"bookmark": 1.0}, "'bookmark', which the data lacks"),):
        with pytest.raises(InputError, match=line):
            tune(config, wrong, 0.3, 15, NullProgress())
    for share, tries, line in ((0.0, 5, "--share is 0"), (1.0, 5, "--share is 1"), (0.2, 0, "--tries is 0")):
        with pytest.raises(InputError, match=line):
            tune(config, {"like": 1.0}, share, tries, NullProgress())


@pytest.mark.slow
def test_rates_cannot_be_judged(small_night: tuple[str, ...], tmp_path: Path) -> None:
    config = load_config("nightly", [*small_night, "heads.model=rates", f"out={tmp_path}"])
    with pytest.raises(InputError, match="smoothed rates"):
        tune(config, {"like": 1.0}, 0.3, 5, NullProgress())
