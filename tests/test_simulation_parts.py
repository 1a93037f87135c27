"""Parts of the simulated platform against plain twins: draws, lists, sessions, waiting matches, figures."""

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dualrec.alloc.errors import InputError
from dualrec.alloc.simulation.comparison import difference, interval, mean_figures, percent
from dualrec.alloc.simulation.day_metrics import gini
from dualrec.alloc.simulation.designs import Design, arms, groups
from dualrec.alloc.simulation.draws import Purpose, choice, normal, poisson, uniform
from dualrec.alloc.simulation.exposures import Exposures
from dualrec.alloc.simulation.learned_models import visit_forecast
from dualrec.alloc.simulation.night_matching import visit_factor
from dualrec.alloc.simulation.policies import POLICIES, policy
from dualrec.alloc.simulation.serving import Extra, Visits, best_of_index, merged, user_side_scores
from dualrec.alloc.simulation.serving_kernels import drop_seen
from dualrec.alloc.simulation.session import sessions
from dualrec.alloc.simulation.waiting import MOST_WAITING, added, matches_of, no_matches

rows = st.integers(1, 60)


def test_draws_are_uniform_and_of_their_names_alone() -> None:
    users, items = np.arange(300)[:, None], np.arange(200)[None, :]
    drawn = uniform(1, Purpose.WATCH, users, items)
    assert drawn.shape == (300, 200) and drawn.min() > 0 and drawn.max() < 1
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 1e-3
    assert np.array_equal(drawn[7, 9], uniform(1, Purpose.WATCH, 7, 9))
    others = [uniform(2, Purpose.WATCH, users, items), uniform(1, Purpose.LIKE, users, items), drawn.T[:200, :200]]
    for other in others:
        assert abs(np.corrcoef(drawn[:200].ravel(), other[:200, :200].ravel())[0, 1]) < 0.02
    assert stats.kstest(normal(1, Purpose.MOOD, np.arange(20_000)), "norm").pvalue > 1e-3


@given(st.floats(0, 8), st.integers(0, 2**20))
def test_poisson_and_choice_invert_their_distributions(mean: float, key: int) -> None:
    at = uniform(3, Purpose.UPLOAD, np.arange(50), key)
    expected = np.minimum(stats.poisson.ppf(at, mean), 30)
    near = np.abs(stats.poisson.cdf(expected, mean) - at) < 1e-12  # on an edge either side is right
    assert (near | (poisson(np.full(50, mean), at, 30) == np.maximum(expected, 0))).all()
    weights = uniform(3, Purpose.TOPIC, np.arange(7), key)
    place = choice(weights, at)
    edges = np.concatenate([[0], np.cumsum(weights)]) / weights.sum()
    assert ((edges[place] <= at + 1e-12) & (at <= edges[place + 1] + 1e-12)).all()


@given(rows, rows, st.integers(0, 100))
def test_the_best_of_the_index_are_the_best(users: int, items: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-3, 4, (users, 4)).astype(np.float32)
    content, bias = rng.integers(-3, 4, (items, 4)).astype(np.float32), rng.integers(-9, 9, items).astype(float)
    place, _ = best_of_index(vectors, content, bias, 5)
    score = vectors @ content.T + bias
    for user in range(users):
        expected = np.lexsort((np.arange(items), -score[user]))[:5]
        assert place[user][place[user] >= 0].tolist() == expected.tolist()


@given(st.integers(0, 1000))
def test_seen_items_are_dropped(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lists, seen = rng.integers(-1, 12, (6, 8)).astype(np.int32), rng.integers(-1, 12, (9, 5)).astype(np.int32)
    visitor = rng.integers(0, 9, 6)
    expected = [[-1 if item in seen[user] else item for item in row] for user, row in zip(visitor, lists, strict=True)]
    drop_seen(lists, visitor, seen)
    assert lists.tolist() == expected


def visits_of(small_platform: ModuleType, visitor: np.ndarray) -> Visits:
    """Visits on a warm platform; all items are live."""
    state = small_platform.warmed()
    scores = user_side_scores(state.known, np.ones((400, 16), np.float32), np.zeros(len(state.items)))
    return Visits(
        small_platform.OPTIONS, 1, state.day, state.items, state.known, scores, visitor, np.arange(len(state.items))
    )


@given(seed=st.integers(0, 200), aim=st.floats(0.02, 0.5))
def test_lists_hold_nothing_twice_and_extras_take_their_share(
    small_platform: ModuleType, seed: int, aim: float
) -> None:
    rng = np.random.default_rng(seed)
    visits = visits_of(small_platform, np.arange(60))
    organic = np.stack([rng.permutation(100)[:60] for _ in range(60)])
    extra = np.stack([rng.permutation(150)[:4] for _ in range(60)])
    extra[rng.random(extra.shape) < 0.2] = -1
    count = rng.integers(1, 40, 60)
    of_match = Extra(extra, rng.random(extra.shape) + 0.1, np.full(extra.shape, 2, np.int8), aim)
    item, source = merged(visits, organic, [of_match], count)
    for row in range(60):
        shown = item[row][item[row] >= 0]
        assert len(shown) == len(set(shown.tolist())) == min(count[row], len({*organic[row], *extra[row]} - {-1}))
        assert (item[row][: len(shown)] >= 0).all()
        assert set(shown[source[row][: len(shown)] == 2]) <= set(extra[row])
        assert not set(shown[source[row][: len(shown)] == 0]) & set(extra[row])
    taken, wanted = int(((source == 2) & (item >= 0)).sum()), int(aim * count.sum())
    assert taken <= (extra >= 0).sum()
    if wanted < (extra >= 0).sum():  # counted each by itself, they push each other a little
        assert abs(taken - wanted) <= 0.2 * wanted + 15


def test_a_session_ends_when_patience_does_and_luck_is_of_the_pair(small_platform: ModuleType) -> None:
    visits, state = visits_of(small_platform, np.arange(50)), small_platform.warmed()
    rng = np.random.default_rng(1)
    item = np.stack([rng.permutation(len(state.items))[:50] for _ in range(50)])
    item[np.arange(50) > rng.integers(1, 50, 50)[:, None]] = -1
    shown = sessions(visits, state.users, item, np.zeros(item.shape, np.int8))
    assert (shown.like | shown.comment | shown.follow).sum() < len(shown)
    seen = {(user, what): watched for user, what, watched in zip(shown.user, shown.item, shown.watched, strict=True)}
    patience = []
    for user in range(50):
        mine, whole = shown.item[shown.user == user], item[user][item[user] >= 0]
        assert mine.tolist() == whole[: len(mine)].tolist()
        unwatched = sum(not seen[user, what] for what in mine)
        if len(mine) < len(whole):  # left after the last one, which was not watched
            assert not seen[user, mine[-1]]
            patience.append(unwatched)
    assert patience and min(patience) >= 1
    again = sessions(visits, state.users, item[:, ::-1].copy(), np.zeros(item.shape, np.int8))
    both = [pair for pair in zip(again.user, again.item, strict=True) if pair in seen]
    watched = dict(zip(zip(again.user, again.item, strict=True), again.watched, strict=True))
    assert both and all(watched[pair] == seen[pair] for pair in both)


def exposures(user: list[int], item: list[int], source: list[int]) -> Exposures:
    none = np.zeros(len(user), bool)
    return Exposures(
        np.array(user),
        np.array(item),
        np.array(source, np.int8),
        none,
        none,
        none,
        none,
        np.zeros(len(user), np.float32),
    )


@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=60), st.integers(0, 50))
def test_matches_wait_for_their_user_until_seen(pairs: set[tuple[int, int]], seed: int) -> None:
    rng, listed = np.random.default_rng(seed), sorted(pairs)
    user, item = (np.array([pair[k] for pair in listed], np.int64) for k in (0, 1))
    cut = len(listed) // 2
    gain = rng.random(len(listed))
    parts = [
        matches_of(user[part], item[part], gain[part], np.full(len(user[part]), 2, np.int8))
        for part in (slice(cut), slice(cut, None))
    ]
    matches = added(*parts)
    seen = [pair for pair in listed if rng.random() < 0.3]
    matches.note(exposures([u for u, _ in seen], [i for _, i in seen], [2] * len(seen)))
    matches.note(
        exposures([u for u, _ in listed], [i for _, i in listed], [0] * len(listed))
    )  # found by itself: waits on
    visitor = np.arange(0, 10, 2)
    extra = matches.extra(visitor, 0.1)
    for row, one in enumerate(visitor):
        waiting = {
            (what, round(g, 12))
            for (who, what), g in zip(listed, gain, strict=True)
            if who == one and (who, what) not in seen
        }
        there = extra.item[row] >= 0
        found = {(what, round(g, 12)) for what, g in zip(extra.item[row][there], extra.gain[row][there], strict=True)}
        assert found == waiting
    assert matches.sizes(10).tolist() == np.bincount(user, minlength=10).tolist()


def test_a_list_considers_the_best_of_many_matches() -> None:
    count = 3 * MOST_WAITING
    gain = np.random.default_rng(1).random(count)
    matches = matches_of(np.zeros(count, np.int64), np.arange(count), gain, np.full(count, 2, np.int8))
    extra = matches.extra(np.array([0, 1]), 0.1)
    assert sorted(extra.item[0]) == sorted(np.argsort(-gain)[:MOST_WAITING].tolist())
    assert (extra.item[1] == -1).all() and no_matches().extra(np.array([3]), 0.1).item.shape == (1, 0)


@pytest.mark.parametrize("name", ["co_diverted", "user_diverted", "creator_only"])
def test_groups_of_a_design(name: str) -> None:
    design = Design(name, policy("nightly"), policy("base"), share=0.3)
    user, creator = arms(design, 5, 2_000, 500)
    assert abs(user.mean() - 0.3) < 0.05 and abs(creator.mean() - 0.3) < 0.08
    more = arms(design, 5, 2_000, 800)
    assert np.array_equal(more[0], user) and np.array_equal(more[1][:500], creator)
    here = groups(design, user, creator)
    assert np.array_equal(sum(group.users.astype(int) for group in here), np.ones(2_000, int))  # each user in one group
    for group in here:
        assert not (group.matched & ~group.visible).any()
        if group.policy.name == "base":
            assert not group.matched.any()
    if name == "co_diverted":
        assert not (here[0].visible & here[1].visible).any()
        assert np.array_equal(here[1].visible, creator) and np.array_equal(here[1].users, user)
    if name == "creator_only":
        assert np.array_equal(here[0].matched, creator) and here[0].visible.all()


def test_designs_that_make_no_sense_are_refused() -> None:
    for arguments in (
        ("sideways", policy("base")),
        ("whole", policy("base"), policy("base")),
        ("co_diverted", policy("v1")),
    ):
        with pytest.raises(InputError, match="expected one of"):
            Design(*arguments)
    with pytest.raises(InputError, match="unknown policy"):
        policy("v6")


@given(forecast=st.lists(st.floats(0, 1), min_size=1, max_size=200), target=st.floats(0.1, 0.9))
def test_the_threshold_keeps_the_hit_rate(small_platform: ModuleType, forecast: list[float], target: float) -> None:
    whole = small_platform.OPTIONS
    match = whole.match.model_copy(update={"threshold_hit_rate": target})
    options, chance = whole.model_copy(update={"match": match}), np.array(forecast)
    chosen = visit_factor(options, POLICIES["v1"], chance) > 0
    if chosen.any():
        assert chance[chosen].mean() >= target - 1e-9 and chance[chosen].min() >= chance[~chosen].max(initial=0)
    rest = np.sort(chance[~chosen])[::-1]
    if rest.size:  # one more would fall below it
        assert np.concatenate([chance[chosen], rest[:1]]).mean() < target + 1e-9


def test_the_forecast_knows_who_comes(small_platform: ModuleType) -> None:
    state = small_platform.warmed()
    rng = np.random.default_rng(1)
    habit = rng.random(400)
    state.known.visited = rng.random((400, 28)) < habit[:, None]
    forecast = visit_forecast(state.known, 40)
    assert np.corrcoef(forecast, habit)[0, 1] > 0.9 and abs(forecast.mean() - habit.mean()) < 0.05


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
def test_gini(amounts: list[int]) -> None:
    values = np.array(amounts, float)
    pairs = np.abs(values[:, None] - values[None, :]).sum()
    expected = pairs / (2 * len(values) ** 2 * values.mean()) if values.sum() else 0.0
    assert gini(values) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_intervals_are_students(values: list[float]) -> None:
    found, numbers = interval(np.array(values)), np.array(values)
    if numbers.std() > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, numbers.mean(), stats.sem(numbers))
        assert (found["low"], found["high"]) == pytest.approx((low, high))
    assert found["difference"] == pytest.approx(numbers.mean())


def test_what_cannot_be_told_is_not_a_number() -> None:
    assert np.isnan(difference([1.0, 2.0], [1.0, 0.0])["difference"]) and np.isnan(interval(np.array([0.1]))["low"])
    assert difference([3.0], [2.0])["difference"] == 0.5
    assert percent(None) == "-" and percent({"difference": float("nan"), "low": 0.0, "high": 0.0}) == "-"
    assert percent({"difference": 0.05, "low": 0.01, "high": 0.09}) == "+5.0 [+1.0, +9.0]"
    days = [{"a": 1.0, "b": float("nan")}, {"a": 3.0}, {"a": 2.0, "c": 4.0}]
    assert mean_figures(days) == {"a": 2.0, "c": 4.0}
