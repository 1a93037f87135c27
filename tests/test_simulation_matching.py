"""Matching on the simulated platform: candidates, limits, the value against a linear programme, the stream."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import linprog

from dualrec.alloc.simulation import night_matching
from dualrec.alloc.simulation.assigning import Matched, Request, assign
from dualrec.alloc.simulation.designs import Design, Group
from dualrec.alloc.simulation.matching import I2I2U, I2U2U, TOWER, Pairs, Reactions, candidates, pair_scores
from dualrec.alloc.simulation.options import MatchOptions
from dualrec.alloc.simulation.platform import end_design, run_day
from dualrec.alloc.simulation.policies import POLICIES, policy
from dualrec.solvers.online import OnlineRule

MATCH = MatchOptions(candidates=12, more_candidates=6, similar_items=3, gap=1e-4)


def random_pairs(rng: np.random.Generator, items: int, users: int, dim: int = 4) -> Pairs:
    """Of vectors at random; a third of the users are not available."""
    item, user = rng.normal(size=(items, dim + 2)), rng.normal(size=(users, dim + 2))
    item[:, -1], user[:, -2] = 1, 1
    factor = np.where(rng.random(users) < 1 / 3, 0, rng.random(users))
    return Pairs(
        item.astype(np.float32), user.astype(np.float32), factor.astype(np.float32), rng.integers(0, users, items)
    )


def random_request(seed: int, items: int, users: int) -> Request:
    """Of a batch whose items are the last ones of an index of 30 more, with reactions at random."""
    rng = np.random.default_rng(seed)
    pairs = random_pairs(rng, items, users)
    tower = replace(random_pairs(rng, items, users), factor=pairs.factor, author=pairs.author)
    content = rng.normal(size=(items + 30, 4)).astype(np.float32)
    likes = sparse.csr_matrix((rng.random((items + 30, users)) < 0.06).astype(np.float32))
    seen = Reactions(index_of(content), likes, rng.normal(size=(users, 4)).astype(np.float32))
    capacity = np.where(pairs.factor > 0, rng.integers(0, 4, users), 0)
    return Request(np.arange(30, items + 30), rng.integers(0, 6, items), capacity, tower, pairs, seen)


def index_of(content: np.ndarray) -> Any:
    """Items of which nothing but the content is asked."""

    class Index:
        pass

    index: Any = Index()
    index.content = content
    return index


def score_of(pairs: Pairs, item: int, user: int) -> float:
    product = float(pairs.item[item].astype(float) @ pairs.user[user].astype(float))
    return 0.0 if pairs.author[item] == user else float(pairs.factor[user]) / (1 + np.exp(-product))


def scores_of(pairs: Pairs) -> np.ndarray:
    return np.array([[score_of(pairs, i, u) for u in range(len(pairs.user))] for i in range(len(pairs.item))])


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 30))
def test_scores_of_pairs_and_tiles_are_those_of_plain_python(seed: int, items: int, users: int) -> None:
    pairs = random_pairs(np.random.default_rng(seed), items, users)
    expected = scores_of(pairs)
    first, last = users // 3, users
    rows = np.arange(items)[::-1].copy()
    assert np.allclose(pairs.tile(rows, first, last), expected[rows][:, first:last], atol=1e-5)
    item, user = (each.ravel() for each in np.meshgrid(np.arange(items), np.arange(users), indexing="ij"))
    assert np.allclose(pairs.of(item, user), expected.ravel(), atol=1e-6)


def test_a_match_is_scored_as_the_formula_says() -> None:
    rng = np.random.default_rng(1)
    weights = rng.normal(size=5)
    batch = {
        "coarse": rng.normal(size=(3, 4)),
        "content": rng.normal(size=(3, 4)),
        "value": rng.normal(size=3),
        "author": np.array([0, 1, 2]),
    }
    users = {"vectors": rng.normal(size=(7, 4)), "value": rng.normal(size=7), "theta": rng.random(7) + 0.5}
    active = rng.random(7)
    pairs = pair_scores(policy("v5"), weights, batch, users, active)
    for i in range(3):
        for u in range(7):
            vector = users["vectors"][u]
            odds = weights[0] + weights[1] * batch["coarse"][i] @ vector + weights[2] * batch["content"][i] @ vector
            odds += weights[3] * batch["value"][i] + weights[4] * users["value"][u]
            expected = 0 if i == u else active[u] / (1 + np.exp(-odds)) / users["theta"][u]  # eq. 10, v5
            assert score_of(pairs, i, u) == pytest.approx(expected, rel=1e-4)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_candidates_are_those_of_three_retrievals_in_plain_python(seed: int) -> None:
    request = random_request(seed, 8, 40)
    found = candidates(MATCH, ("i2i2u", "i2u2u"), (request.tower, request.pairs), request.items, request.seen)
    expected: dict[tuple[int, int], int] = {}
    tower, likes = scores_of(request.tower), request.seen.likes.toarray()
    available = [u for u in range(40) if request.pairs.factor[u] > 0]
    unit = request.seen.vectors / np.linalg.norm(request.seen.vectors, axis=1, keepdims=True)
    content = request.seen.items.content
    for place, item in enumerate(request.items):
        best = sorted(range(40), key=lambda u: -tower[place, u])[: MATCH.candidates]
        lists = [(TOWER, [u for u in best if tower[place, u] > 0])]
        near = {j: float(content[item] @ content[j]) for j in range(len(content)) if likes[j].any()}
        nearest = sorted((j for j in near if near[j] > 0), key=lambda j: -near[j])[: MATCH.similar_items + 1]
        votes = {u: sum(near[j] * likes[j, u] for j in nearest if j != item) for u in available}
        voted = sorted((u for u in available if votes[u] > 0), key=lambda u: (-votes[u], u))
        lists.append((I2I2U, voted[: MATCH.more_candidates]))
        middle = likes[item] @ unit
        close = sorted(available, key=lambda u: -float(unit[u] @ middle))
        lists.append((I2U2U, [u for u in close if unit[u] @ middle > 0][: MATCH.more_candidates]))
        for source, users in lists:
            for user in users:
                expected.setdefault((place, user), source)
    pairs = list(zip(found.item.tolist(), found.user.tolist(), strict=True))
    assert pairs == sorted(expected)
    assert found.source.tolist() == [expected[pair] for pair in pairs]
    assert np.allclose(found.score, [score_of(request.pairs, *pair) for pair in pairs], atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(POLICIES) - {"base"}))
def test_every_policy_keeps_the_limits_of_any_request(name: str) -> None:
    matched_at_all = 0
    for seed in range(6):
        request = random_request(seed, 1 + 5 * seed, 25)
        matched = assign(MATCH, policy(name), request)
        matched_at_all += len(matched.item)
        pairs = list(zip(matched.item.tolist(), matched.user.tolist(), strict=True))
        assert len(pairs) == len(set(pairs))
        assert (np.bincount(matched.item, minlength=len(request.items)) <= request.demand).all()
        if name != "no_capacity":
            assert (np.bincount(matched.user, minlength=25) <= request.capacity).all()
        for (item, user), score in zip(pairs, matched.score, strict=True):
            assert user != request.pairs.author[item] and request.pairs.factor[user] > 0
            assert score == pytest.approx(score_of(request.pairs, item, user), rel=1e-4)
    assert matched_at_all > 50


def test_an_empty_request_and_base_match_nobody() -> None:
    request = random_request(1, 5, 20)
    nobody = replace(request, items=request.items[:0], demand=request.demand[:0])
    assert len(assign(MATCH, policy("nightly"), nobody).item) == 0
    assert len(assign(MATCH, policy("base"), request).item) == 0


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_one_assignment_is_within_its_gap_of_the_linear_programme(seed: int) -> None:
    request = random_request(seed, 9, 25)
    score = scores_of(request.pairs)
    items, users = score.shape
    rows = sparse.kron(sparse.eye(items), np.ones((1, users)))
    columns = sparse.kron(np.ones((1, items)), sparse.eye(users))
    best = -linprog(
        -score.ravel(),
        A_ub=sparse.vstack([rows, columns]),
        b_ub=np.concatenate([request.demand, request.capacity]),
        bounds=(0, 1),
    ).fun
    matched = assign(MATCH, policy("nightly"), request)
    value = matched.score.sum(dtype=float)
    assert matched.gap <= MATCH.gap
    assert best * (1 - matched.gap) - 1e-5 <= value <= best + 1e-5
    assert value >= assign(MATCH, policy("first_come"), request).score.sum(dtype=float) - 1e-5
    for name in ("floors", "max_min", "shortlist"):
        assert assign(MATCH, policy(name), request).score.sum(dtype=float) <= best + 1e-5


def view_of(small_platform: ModuleType, group: Group) -> night_matching.NightView:
    state: Any = small_platform.warmed()
    return night_matching.NightView(
        state.seed,
        state.day - 1,
        group,
        state.items,
        state.creators,
        state.known,
        state.forecast,
        {},
        state.reacted,
        night_matching.no_matches(),
    )


@pytest.mark.parametrize("treated", [1.0, 0.5])
def test_a_night_asks_for_the_days_uploads_and_the_short_ones_of_the_day_before(
    small_platform: ModuleType, treated: float
) -> None:
    options = small_platform.OPTIONS
    creators = len(small_platform.warmed().creators.skill)
    every = np.ones(creators, bool)
    users = np.arange(400) < 400 * treated
    view = view_of(small_platform, Group(policy("nightly"), users, every, every))
    items, demand = night_matching._asked(options, view)
    asked = dict(zip(items.tolist(), demand.tolist(), strict=True))
    again = 0
    for item in range(len(view.items)):
        shows, day = view.items.shows[item], view.items.day[item]
        if day == view.day:
            assert asked.pop(item) == round(max(treated * options.match.demand - shows, 0))
        elif day == view.day - 1 and shows < options.match.demand and view.items.likes[item]:
            assert asked.pop(item) == options.match.top_up
            again += 1
    assert not asked and len(items) > 20
    without = options.model_copy(update={"match": options.match.model_copy(update={"top_up": 0})})
    assert len(night_matching._asked(without, view)[0]) == len(items) - again


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Request, Matched]]:
    """What the stream is asked for and gives, by part of the day."""
    kept: list[tuple[Request, Matched]] = []
    stream = night_matching._stream

    def spy(options: Any, rule: Any, request: Request, gone: float) -> Matched:
        kept.append((request, stream(options, rule, request, gone)))
        return kept[-1][1]

    monkeypatch.setattr(night_matching, "_stream", spy)
    return kept


class Poisoned(OnlineRule):
    """A rule whose prices are NaN until they are set."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._now[:] = np.nan

    def net(self, user: np.ndarray, score: np.ndarray) -> np.ndarray:
        found = super().net(user, score)
        assert not np.isnan(found).any()
        return found


def test_the_stream_knows_who_came_and_not_who_will(
    small_platform: ModuleType, streamed: list[tuple[Request, Matched]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(night_matching, "OnlineRule", Poisoned)
    days: list[np.ndarray] = []
    visitors: Callable[..., np.ndarray] = small_platform.run_day.__globals__["visitors"]

    def spy(*arguments: Any) -> np.ndarray:
        days.append(visitors(*arguments))
        return days[-1]

    monkeypatch.setitem(small_platform.run_day.__globals__, "visitors", spy)
    options, state = small_platform.OPTIONS, small_platform.warmed()
    end_design(state)
    design = Design("whole", policy("night_stream"))
    run_day(options, state, design)
    assert not streamed  # before the first night
    hopeless = 0
    for _ in range(3):
        begin = len(streamed)
        run_day(options, state, design)
        parts = np.unique(state.items.period[state.items.day == state.day - 1])
        parts = parts[parts < options.periods - 1]  # what comes last is for the night
        assert len(streamed) - begin == len(parts)
        for period, (request, matched) in zip(parts, streamed[begin:], strict=True):
            been = (days[-1] >= 0) & (days[-1] <= period)
            assert np.array_equal(request.pairs.factor > 0, ~been)
            assert not been[matched.user].any()
            assert (np.bincount(matched.item, minlength=len(request.items)) <= options.match.demand).all()
            hopeless += int((days[-1][matched.user] < 0).sum())
    assert hopeless > 0  # it does match users who do not come: it cannot know


def test_who_likes_nothing_yet_is_found_by_the_towers_alone() -> None:
    request = random_request(3, 4, 20)
    options = MATCH.model_copy(update={"more_candidates": 5})
    nobody = replace(request.seen, likes=sparse.csr_matrix(request.seen.likes.shape, dtype=np.float32))
    found = candidates(options, ("i2i2u", "i2u2u"), (request.tower, request.pairs), request.items, nobody)
    assert len(found.item) and set(found.source) == {TOWER}
