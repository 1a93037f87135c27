"""The retrievals by similarity against plain loops over eqs. 3 to 5, and the item index against brute force."""

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from dualrec.models import sparse_top
from dualrec.models.history import user_history
from dualrec.models.item_index import nearest_items
from dualrec.models.log import Log
from dualrec.models.retrievals import Retrievals
from dualrec.models.similarity import interactions
from dualrec.models.similarity_choice import similar_items, similar_users
from dualrec.models.sparse_top import ranked

DAY = 6
SIDES = {"i2i2u": "items", "i2u2u": "items", "u2u2i": "users", "u2i2i": "users"}
Rows = list[dict[int, float]]


def rows_of(matrix: sparse.csr_matrix) -> Rows:
    bounds = zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)
    return [dict(zip(matrix.indices[a:b].tolist(), matrix.data[a:b].tolist(), strict=True)) for a, b in bounds]


def make(log: Log, choice: str = "auto", users: str = "cf", threads: int = 1) -> Retrievals:
    liked = interactions(log, DAY)
    items = similar_items(choice, log, liked, user_history(log, DAY), threads)
    return Retrievals(liked, items, similar_users(users, log, liked, threads), threads)


def slow(name: str, row: int, retrievals: Retrievals, likes: dict[tuple[int, int], float]) -> dict[int, float]:
    """The sum over the union that the equation names, from the similar lists and (item, user) -> weight."""
    similar = {"items": retrievals.items, "users": retrievals.users}
    by_user: dict[int, float] = {}
    if name in ("i2i2u", "u2u2i"):
        near = rows_of(similar[SIDES[name]].of(np.array([row])))[0]
        for (item, user), weight in likes.items():
            through, end = (item, user) if name == "i2i2u" else (user, item)
            if through in near:
                by_user[end] = by_user.get(end, 0) + near[through] * weight
        return by_user
    other = similar["users" if name == "i2u2u" else "items"]
    for (item, user), weight in likes.items():
        start, through = (item, user) if name == "i2u2u" else (user, item)
        if start == row:
            for end, likeness in rows_of(other.of(np.array([through])))[0].items():
                by_user[end] = by_user.get(end, 0) + weight * likeness
    return by_user


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(0, 25),
    choice=st.sampled_from(["auto", "content", "cf", "graph"]),
    shape=st.sampled_from([(3, 4), (3, 0), (0, 0)]),
    masked=st.booleans(),
)
@pytest.mark.parametrize("name", SIDES)
def test_each_retrieval(
    logs: ModuleType, name: str, *, seed: int, count: int, choice: str, shape: tuple[int, int], masked: bool
) -> None:
    log = logs.random_log(seed, *shape)
    retrievals, likes = make(log, choice, choice), logs.slow_likes(log)
    asked, ends = (log.items, log.users) if SIDES[name] == "items" else (log.users, log.items)
    rows = np.random.default_rng(seed).permutation(asked)[:9]
    available = np.random.default_rng(seed).random(ends) < 0.5
    found = getattr(retrievals, name)(rows, count, available if masked else None)
    assert found.shape == (9, ends) and found.dtype == np.float32
    for row, got in zip(rows.tolist(), rows_of(found), strict=True):
        exact = slow(name, row, retrievals, likes)
        exact = {end: value for end, value in exact.items() if available[end] or not masked}
        assert len(got) == min(count, len(exact)), "the mask comes before the quota"
        assert all(value == pytest.approx(exact[end], rel=1e-5) for end, value in got.items())
        rest = max((value for end, value in exact.items() if end not in got), default=0)
        assert not got or rest <= min(got.values()) * (1 + 1e-5)


def test_users_of_equal_weight_come_by_row() -> None:
    """Two items of one category, liked by everybody at the same moment."""
    users = np.array([4, 2, 5, 0, 1, 3], np.int32)
    log = Log(
        user=users,
        item=np.zeros(6, np.int32),
        day=np.full(6, 5.5),
        kinds={"click": np.ones(6, bool)},
        users=6,
        items=2,
        upload=np.array([5.0, 6.0]),
        token=np.zeros(2, np.int32),
        tokens=1,
        content=np.zeros((2, 0), np.float32),
    )
    found = ranked(make(log).i2i2u(np.array([1]), 4), 4)
    assert found.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("name", SIDES)
def test_neither_threads_nor_blocks_change_a_byte(logs: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logs.random_log(11, 4, 5)
    one = getattr(make(log), name)(np.arange(20), 6)
    monkeypatch.setattr(sparse_top, "_BLOCK_PRODUCTS", 30)
    many = getattr(make(log, threads=3), name)(np.arange(20), 6)
    assert (one.data == many.data).all() and (one.indices == many.indices).all() and (one.indptr == many.indptr).all()


@pytest.mark.parametrize("shape", [(3, 4), (3, 0), (0, 0)])
@pytest.mark.parametrize("name", SIDES)
def test_nothing_comes_of_nothing(logs: ModuleType, name: str, shape: tuple[int, int]) -> None:
    log = logs.random_log(2, *shape)
    ends = log.users if SIDES[name] == "items" else log.items
    assert getattr(make(log), name)(np.zeros(0, np.int64), 3).shape == (0, ends)
    empty = make(log.take(slice(0, 0)))
    assert getattr(empty, name)(np.arange(4), 3).nnz == 0
    assert getattr(make(log), name)(np.arange(4), 3, np.zeros(ends, bool)).nnz == 0


def test_strictly_cold_items_have_no_i2u2u_and_warm_ones_do(logs: ModuleType) -> None:
    log = logs.random_log(6, 3, 4)
    new = log.new_items(DAY)
    assert make(log.without_new_items(DAY)).i2u2u(new, 5).nnz == 0
    assert make(log.without_new_items(DAY)).i2i2u(new, 5).nnz > 0
    assert make(log).i2u2u(new, 5).nnz > 0


def test_only_the_lists_that_are_needed_are_computed(logs: ModuleType) -> None:
    log = logs.random_log(7, 3, 4)
    retrievals = make(log)
    item = log.new_items(DAY)[:1]
    retrievals.i2u2u(item, 5)
    touched = set(retrievals.liked.users_of[item].indices.tolist())
    assert set(np.flatnonzero(retrievals.users._place >= 0).tolist()) == touched


@pytest.mark.parametrize("masked", [False, True])
def test_the_item_index(masked: bool) -> None:
    generator = np.random.default_rng(3)
    items, users = (generator.normal(size=(n, 5)).astype(np.float32) for n in (80, 150))
    available = generator.random(80) < 0.5 if masked else None
    found = nearest_items(items, users, 60, 2, available)
    product = users.astype(float) @ items.T.astype(float)
    if available is not None:
        product[:, ~available] = -np.inf
    there = min(60, 80 if available is None else int(available.sum()))
    assert (found == nearest_items(items, users, 60, 1, available)).all()
    assert (found[:, there:] == -1).all()
    best = np.take_along_axis(product, found[:, :there], 1)
    assert (np.diff(best, axis=1) <= 1e-5).all()
    assert np.allclose(best, -np.sort(-product, 1)[:, :there], atol=1e-5)
