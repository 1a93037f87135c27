"""The second request of an item: who is proposed after its first feedback, by which retrieval."""

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from dualrec.models.history import user_history
from dualrec.models.log import Log
from dualrec.models.retrievals import Retrievals
from dualrec.models.similar_cf import collaborative_similarity
from dualrec.models.similarity import TwoHop, interactions
from dualrec.models.similarity_choice import similar_items, similar_users
from dualrec.models.top_up import TOP_UP_SOURCES, FirstFeedback, Proposals, top_up

DAY = 6


def services(log: Log) -> tuple[Retrievals, TwoHop]:
    """What a strict-cold night leaves to the stream."""
    past = log.without_new_items(DAY)
    liked = interactions(past, DAY)
    items = similar_items("auto", past, liked, user_history(past, DAY))
    return Retrievals(liked, items, similar_users("auto", past, liked)), collaborative_similarity(liked.users_of)


def named(found: Proposals) -> set[str]:
    return {TOP_UP_SOURCES[code] for code in found.source.tolist()}


def best(weights: np.ndarray, allowed: np.ndarray) -> list[int]:
    """Users of positive weight, largest first, ties by row."""
    wide = np.where(allowed, weights.astype(np.float32), 0)
    return [int(user) for user in np.lexsort((np.arange(len(wide)), -wide)) if wide[user] > 0]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 12), fans=st.integers(0, 4), held=st.integers(0, 6))
def test_the_lists_in_turn(logs: ModuleType, seed: int, count: int, fans: int, held: int) -> None:
    log = logs.random_log(seed, 3, 4)
    night, cf = services(log)
    generator = np.random.default_rng(seed)
    item = int(log.new_items(DAY)[0])
    who, has = generator.permutation(20)[:fans], generator.permutation(20)[:held]
    available = generator.random(20) < 0.7
    found = top_up(FirstFeedback(item, who, has), available, count, night, cf)
    allowed = available & ~np.isin(np.arange(20), np.concatenate([who, has]))
    likes = night.liked.users_of.toarray()
    near = cf.nearest_to(_indicator(who), 50).toarray()[0]
    lists = [
        best(night.users.of(np.unique(who)).toarray().sum(0), allowed)[:count],
        best(night.items.of(np.array([item])).toarray()[0] @ likes, allowed)[:count],
        best(near @ likes, allowed)[:count],
    ]
    expected: dict[int, int] = {}
    for place in range(count):
        for code, users in enumerate(lists):
            if place < len(users):
                expected.setdefault(users[place], code)
    assert list(zip(found.user.tolist(), found.source.tolist(), strict=True)) == list(expected.items())[:count]


def _indicator(who: np.ndarray) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(len(who)), (np.zeros(len(who), int), who)), shape=(1, 20))


def test_similar_users_are_found_only_after_feedback(logs: ModuleType) -> None:
    log = logs.random_log(4, 3, 4)
    night, cf = services(log)
    item, everybody, nobody = int(log.new_items(DAY)[0]), np.ones(20, bool), np.zeros(0, np.int64)
    before = top_up(FirstFeedback(item, nobody, nobody), everybody, 9, night, cf)
    assert named(before) == {"i2i2u"}
    after = top_up(FirstFeedback(item, np.array([3, 8]), nobody), everybody, 9, night, cf)
    assert "i2u2u" in named(after)
    again = top_up(FirstFeedback(item, np.array([8, 3, 3]), after.user), everybody, 9, night, cf)
    assert not set(again.user.tolist()) & {*after.user.tolist(), 3, 8}, "the next ones"


def test_bad_requests_are_refused(logs: ModuleType) -> None:
    night, cf = services(logs.random_log(4, 3, 4))
    none = np.zeros(0, np.int64)
    with pytest.raises(ValueError, match="count is -1"):
        top_up(FirstFeedback(0, none, none), np.ones(20, bool), -1, night, cf)
    with pytest.raises(ValueError, match="to 20 of 20"):
        top_up(FirstFeedback(0, np.array([20]), none), np.ones(20, bool), 3, night, cf)
    with pytest.raises(ValueError, match="expected bool"):
        top_up(FirstFeedback(0, none, none), np.ones(19, bool), 3, night, cf)
