"""Lists and sessions of the simulated platform against plain Python: who is shown what, once, and when they leave."""

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.alloc.simulation.draws import Purpose, poisson, uniform
from dualrec.alloc.simulation.exposures import COLD
from dualrec.alloc.simulation.items import no_items
from dualrec.alloc.simulation.serving import (
    Extra,
    Share,
    Visits,
    cold_items,
    merged,
    organic_lists,
    unseen,
    user_side_scores,
)
from dualrec.alloc.simulation.session import sessions, wanted

VISITORS = np.arange(0, 400, 9)
MATCH = 2


@pytest.fixture(scope="module")
def visits(small_platform: ModuleType) -> Visits:
    """Visitors of a warm platform, to whom the items of the last days are live."""
    state = small_platform.warmed()
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(400, 16)).astype(np.float32)
    scores = user_side_scores(state.known, vectors, rng.normal(size=len(state.items)))
    live = np.flatnonzero(state.items.day >= state.day - 3)
    return Visits(small_platform.OPTIONS, 1, state.day, state.items, state.known, scores, VISITORS, live)


def best_unseen(visits: Visits, user: int, index: np.ndarray, count: int) -> list[int]:
    """The ``count`` best of an index, then without what the user has seen."""
    score = {
        int(item): float(visits.scores.user[user] @ visits.items.content[item] + visits.scores.of_item[item])
        for item in index
    }
    best = sorted(score, key=lambda item: -score[item])[:count]
    return [item for item in best if item not in visits.known.seen[user]]


def test_organic_lists_are_the_best_unseen(visits: Visits) -> None:
    lists = organic_lists(visits)
    count = visits.options.people.longest + visits.options.recommender.spare
    for row, user in enumerate(VISITORS):
        assert lists[row][lists[row] >= 0].tolist() == best_unseen(visits, user, visits.live, count)
    assert (lists < 0).any()  # something had been seen


def test_only_items_of_enough_exposures_are_in_a_large_index(visits: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualrec.alloc.simulation.serving._ALL_COLD", 5)
    lists = organic_lists(visits)
    shows = visits.items.shows[lists[lists >= 0]]
    assert shows.min() >= visits.options.recommender.index_least > visits.items.shows[visits.live].min()


def test_cold_items_are_the_best_of_few_exposures(visits: Visits) -> None:
    extra = cold_items(visits, 0.07)
    cold = visits.live[visits.items.shows[visits.live] < visits.options.recommender.index_least]
    assert len(cold) > 20 and extra.aim == 0.07 and (extra.source == COLD).all() and (extra.gain == 1).all()
    for row, user in enumerate(VISITORS):
        assert extra.item[row][extra.item[row] >= 0].tolist() == best_unseen(visits, user, cold, extra.item.shape[1])


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), aims=st.tuples(st.floats(0, 0.6), st.floats(0, 0.6)))
def test_an_item_stands_in_a_list_once_whoever_brings_it(visits: Visits, seed: int, aims: tuple[float, float]) -> None:
    rng = np.random.default_rng(seed)
    rows = len(VISITORS)

    def lists(width: int) -> np.ndarray:
        found = np.stack([rng.permutation(30)[:width] for _ in range(rows)])
        found[rng.random(found.shape) < 0.2] = -1
        return found

    organic, match, cold = lists(20), lists(5), lists(8)
    extras = [
        Extra(match, rng.random(match.shape) + 0.1, np.full(match.shape, MATCH, np.int8), aims[0]),
        Extra(cold, np.ones(cold.shape), np.full(cold.shape, COLD, np.int8), aims[1]),
    ]
    item, source = merged(visits, organic, extras, np.full(rows, 30))
    for row in range(rows):
        shown = item[row][item[row] >= 0].tolist()
        matches, others = set(match[row]) - {-1}, set(cold[row]) - {-1}
        assert len(shown) == len(set(shown)) and set(shown) == matches | others | set(organic[row]) - {-1}
        for what, brought in zip(shown, source[row], strict=False):
            assert brought == (MATCH if what in matches else COLD if what in others else 0)


def test_matches_that_were_seen_are_not_shown(visits: Visits) -> None:
    seen = visits.known.seen[VISITORS, :1].astype(np.int64)
    other = np.array([[next(i for i in range(400) if i not in visits.known.seen[user])] for user in VISITORS])
    item = np.concatenate([seen, other], 1)
    extra = unseen(visits, Extra(item, np.ones(item.shape), np.full(item.shape, MATCH, np.int8), 0.1))
    assert (extra.item[:, 0] == -1).all() and np.array_equal(extra.item[:, 1:], other) and (seen >= 0).any()


def test_a_platform_without_items_shows_nothing(small_platform: ModuleType, visits: Visits) -> None:
    none = no_items(small_platform.OPTIONS)
    empty = replace(visits, items=none, live=np.zeros(0, np.int64), scores=replace(visits.scores, of_item=np.zeros(0)))
    item, source = merged(empty, organic_lists(empty), [cold_items(empty, 0.1)], np.full(len(VISITORS), 9))
    assert (item == -1).all()
    assert len(sessions(empty, small_platform.warmed().users, item, source)) == 0


@pytest.mark.parametrize("leaves", [0.3, 1.0, 2.5])
def test_shares_come_to_their_target(leaves: float) -> None:
    share = Share(0.04, 0.04)
    for _ in range(30):
        share.note(10_000, round(10_000 * min(share.aim * leaves, 1)))
    assert share.aim * leaves == pytest.approx(0.04, rel=0.05)
    share.note(10_000, 0)  # nothing to show is no reason to ask for more
    assert share.aim * leaves == pytest.approx(0.04, rel=0.05)


def chance(log_odds: float) -> float:
    return 1 / (1 + np.exp(-log_odds))


def test_sessions_are_those_of_plain_python(small_platform: ModuleType, visits: Visits) -> None:
    options, users, items = visits.options, small_platform.warmed().users, visits.items
    rng = np.random.default_rng(2)
    item = np.stack([rng.permutation(len(items))[:60] for _ in VISITORS])
    item[np.arange(60) >= rng.integers(1, 61, len(VISITORS))[:, None]] = -1
    source = rng.integers(0, 5, item.shape).astype(np.int8)
    expected, ended = [], 0
    for row, user in enumerate(VISITORS):
        at = uniform(1, Purpose.PATIENCE, np.array([user]), visits.day)
        patience = 1 + poisson(np.array([options.people.patience - 1]), at, 500)[0]
        for place, what in enumerate(item[row][item[row] >= 0]):
            if not patience:
                ended += 1
                break
            odds = (
                options.feedback.affinity * float(users.taste[user] @ items.appeal[what])
                + options.feedback.quality * items.quality[what]
                + users.habit[user]
                - options.feedback.ageing * (visits.day - items.day[what])
            )
            watched = uniform(1, Purpose.WATCH, user, what) < chance(options.feedback.watch + odds)
            shift = 0 if watched else options.feedback.unwatched
            reactions = [
                uniform(1, purpose, user, what) < chance(level + odds + shift)
                for purpose, level in (
                    (Purpose.LIKE, options.feedback.like),
                    (Purpose.COMMENT, options.feedback.comment),
                    (Purpose.FOLLOW, options.feedback.follow),
                )
            ]
            seconds = options.feedback.view_seconds if watched else options.feedback.skip_seconds
            expected.append((user, what, source[row, place], watched, *reactions, seconds))
            patience -= not watched
    shown = sessions(visits, users, item, source)
    found = list(zip(*(column.tolist() for column in vars(shown).values()), strict=True))
    assert found == [tuple(np.array(part).item() for part in row) for row in expected]
    assert ended > 3 and shown.like.any()


def test_visitors_want_what_their_appetite_says(small_platform: ModuleType) -> None:
    options, users = small_platform.OPTIONS, small_platform.warmed().users
    days = np.stack([wanted(options, users, 1, day, np.arange(400)) for day in range(200)])
    assert days.min() >= 1 and days.max() <= options.people.longest
    calm = users.appetite < options.people.longest / 4  # whom the longest session does not bind
    assert days[:, calm].mean(0).sum() == pytest.approx((users.appetite[calm] - 0.5).sum(), rel=0.05)
