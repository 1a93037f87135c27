"""Matches among user-side candidates: eq. 14 by hand, and the share of exposures that the control holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualrec.alloc.combined import BoostControl, FeedItem, combine
from dualrec.alloc.errors import InputError
from dualrec.alloc.match_store import Match

MATCHES = [Match("b", 0.5, False), Match("new", 0.3, False), Match("seen", 9.0, True)]


def test_eq_14_by_hand() -> None:
    found = combine(["a", "b", "seen"], [1.0, 0.4, 0.2], MATCHES, 2.0, 9)
    assert found == [
        FeedItem("b", 1.4, True),
        FeedItem("a", 1.0, False),
        FeedItem("new", 0.6, True),
        FeedItem("seen", 0.2, False),
    ]
    assert combine(["a", "b"], [1.0, 0.4], MATCHES, 0.0, 2) == [FeedItem("a", 1.0, False), FeedItem("b", 0.4, True)]
    assert combine([], [], [], 1.0, 5) == [] == combine(["a"], [1.0], MATCHES, 1.0, 0)


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-5, 5)),
    st.dictionaries(st.sampled_from("efghijkl"), st.floats(0, 5)),
    st.floats(0, 10),
    st.integers(0, 20),
)
def test_a_list_is_the_best_of_all_in_order(candidates: dict, matched: dict, boost: float, count: int) -> None:
    matches = [Match(item, score, False) for item, score in matched.items()]
    found = combine(list(candidates), list(candidates.values()), matches, boost, count)
    whole = {i: candidates.get(i, 0.0) + boost * matched.get(i, 0.0) for i in candidates.keys() | matched.keys()}
    assert [one.score for one in found] == sorted(whole.values(), reverse=True)[:count]
    assert all(one.score == whole[one.item] and one.match == (one.item in matched) for one in found)
    assert len({one.item for one in found}) == len(found)


@pytest.mark.parametrize(
    ("items", "scores", "boost", "count", "message"),
    [
        (["a"], [1.0, 2.0], 1.0, 1, "as many"),
        (["a", "a"], [1.0, 2.0], 1.0, 1, "twice"),
        (["a"], [np.nan], 1.0, 1, "finite"),
        (["a"], [1.0], -1.0, 1, "boost"),
        (["a"], [1.0], np.inf, 1, "boost"),
        (["a"], [1.0], 1.0, -1, "count"),
    ],
)
def test_what_is_unfit_is_refused(items: list, scores: list, boost: float, count: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        combine(items, scores, [], boost, count)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_the_share_of_exposures_settles_at_the_target(scale: float) -> None:
    """Whatever the unit of the item-side score; matches are rare and ten of fifty candidates are shown."""
    rng, control, shown = np.random.default_rng(4), BoostControl(), []
    for _ in range(6_000):
        items = [f"c{k}" for k in range(50)]
        matches = [Match(f"m{k}", scale * rng.random(), False) for k in range(rng.integers(0, 4))]
        found = combine(items, rng.lognormal(size=50).tolist(), matches, control.boost, 10)
        count = sum(one.match for one in found)
        control.note(len(found), count)
        shown.append(count / 10)
    assert np.mean(shown[3_000:]) == pytest.approx(0.02, rel=0.05)


def test_a_share_that_cannot_be_had_ends_at_the_bound() -> None:
    control = BoostControl()
    for _ in range(1_000):
        control.note(10_000, 0)
    assert control.boost == 1e6
    control.note(10**9, 10**9)
    assert control.boost == 1e-6
    with pytest.raises(InputError, match="no more"):
        control.note(1, 2)
    for wrong in ({"target": 0.0}, {"target": 1.0}, {"boost": 0.0}, {"step": 1.0}):
        with pytest.raises(InputError, match="expected 0 < target"):
            BoostControl(**wrong)
