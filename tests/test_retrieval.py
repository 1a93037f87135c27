"""Retrieval: the user index against brute force, and users of similar items against a slow twin."""

from collections.abc import Callable

import numpy as np
import pytest

from dualrec.models.history import user_history
from dualrec.models.log import Log
from dualrec.models.similar_items import similar_item_users
from dualrec.models.tower_inputs import ItemInputs, item_inputs
from dualrec.models.user_index import build_user_index, nearest_users

DAY = 6


def vectors(seed: int, users: int, items: int, width: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    user, bias = generator.normal(size=(users, width)), generator.normal(size=users)
    return user.astype(np.float32), bias.astype(np.float32), generator.normal(size=(items, width)).astype(np.float32)


def test_index_finds_the_users_of_largest_product_plus_bias() -> None:
    user, bias, item = vectors(1, 300, 150)
    found = nearest_users(build_user_index(user, bias), item, 20, threads=2)
    exact = item.astype(float) @ user.T.astype(float) + bias
    assert found.shape == (150, 20) and found.dtype == np.int64
    for row, users in zip(exact, found, strict=True):
        assert len(set(users)) == 20
        assert (np.diff(row[users]) <= 1e-5).all(), "best first"
        assert row[users].min() >= np.delete(row, users).max() - 1e-5


def test_index_does_not_depend_on_threads_and_reports_every_item() -> None:
    user, bias, item = vectors(2, 200, 333)
    index, seen = build_user_index(user, bias), []
    one = nearest_users(index, item, 10, threads=1)
    many = nearest_users(index, item, 10, threads=3, done=seen.append)
    assert (one == many).all()
    assert sum(seen) == 333


def test_index_pads_where_there_are_fewer_users_than_asked() -> None:
    user, bias, item = vectors(3, 4, 2)
    found = nearest_users(build_user_index(user, bias), item, 6, threads=1)
    assert (np.sort(found[:, :4], 1) == np.arange(4)).all()
    assert (found[:, 4:] == -1).all()


@pytest.mark.parametrize(("users", "items", "count"), [(0, 3, 2), (3, 0, 2), (3, 2, 0)])
def test_index_of_nothing(users: int, items: int, count: int) -> None:
    user, bias, item = vectors(4, users, items)
    found = nearest_users(build_user_index(user, bias), item, count, threads=1)
    assert found.shape == (items, count)
    assert (found == -1).all()


def random_log(seed: int, categories: int, width: int) -> Log:
    """30 items of days 0 to 6, 20 users; the items of day 6 are new. ``categories`` 0: every item is its own token."""
    generator = np.random.default_rng(seed)
    upload = np.sort(np.append(generator.uniform(0, DAY + 1, 29), DAY + 0.5))
    item = generator.integers(0, 30, 150).astype(np.int32)
    day = np.minimum(upload[item] + generator.exponential(1.0, 150), DAY + 0.99)
    order = np.argsort(day, kind="stable")
    click = generator.random(150) < 0.8
    token = generator.integers(-1, categories, 30) if categories else np.arange(30)
    return Log(
        user=generator.integers(0, 20, 150).astype(np.int32)[order],
        item=item[order],
        day=day[order],
        kinds={"click": click, "skip": ~click},
        users=20,
        items=30,
        upload=upload,
        token=token.astype(np.int32),
        tokens=categories or 30,
        content=generator.normal(size=(30, width)).astype(np.float32),
    )


def slow_users(log: Log, likeness: Callable[[int], dict[int, float]], inputs: ItemInputs, count: int) -> np.ndarray:
    """One item and one interaction at a time; ``likeness``: place of a new item -> item row -> how similar it is."""
    out = np.full((len(inputs.rows), count), -1)
    for place in range(len(inputs.rows)):
        likes, weight = likeness(place), dict[int, float]()
        for user, item, day, click in zip(log.user, log.item, log.day, log.kinds["click"], strict=True):
            if click and likes.get(item, 0) > 0:
                weight[user] = weight.get(user, 0) + likes[item] * 0.5 ** ((DAY + 1 - day) / 4)
        best = sorted(weight, key=lambda user: (-weight[user], user))[:count]
        out[place, : len(best)] = best
    return out


def inputs_of(log: Log) -> ItemInputs:
    return item_inputs(log, DAY, log.new_items(DAY), user_history(log, DAY))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 4, 25])
def test_similar_by_content(seed: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualrec.models.similar_audience.SIMILAR", 7)
    monkeypatch.setattr("dualrec.models.similar_audience._BLOCK", 2)
    monkeypatch.setattr("dualrec.models.similar_items._BLOCK", 2)
    log = random_log(seed, 3, 4)
    inputs = inputs_of(log)

    def likeness(place: int) -> dict[int, float]:
        seen = {int(item) for item in log.item[log.kinds["click"]]} - {int(inputs.rows[place])}
        one = inputs.content[place].astype(float)
        cosine = {i: one @ log.content[i] / np.linalg.norm(one) / np.linalg.norm(log.content[i]) for i in seen}
        return {item: cosine[item] for item in sorted(cosine, key=lambda i: -cosine[i])[:7]}

    found, how = similar_item_users(log, DAY, inputs, count)
    assert how == "content" and found.dtype == np.int64
    assert (found == slow_users(log, likeness, inputs, count)).all()


@pytest.mark.parametrize("seed", range(5))
def test_similar_by_category(seed: int) -> None:
    log = random_log(seed, 4, 0)
    inputs = inputs_of(log)
    found, how = similar_item_users(log, DAY, inputs, 6)

    def likeness(place: int) -> dict[int, float]:
        own = log.token[inputs.rows[place]]
        return {item: 1.0 for item in range(log.items) if log.token[item] == own >= 0}

    assert how == "category"
    assert (found == slow_users(log, likeness, inputs, 6)).all()


def test_as_many_categories_as_items_are_still_categories() -> None:
    log = random_log(1, 30, 0)
    assert similar_item_users(log, DAY, inputs_of(log), 3)[1] == "category"


@pytest.mark.parametrize("seed", range(5))
def test_similar_by_users(seed: int) -> None:
    log = random_log(seed, 0, 0)
    inputs = inputs_of(log)
    found, how = similar_item_users(log, DAY, inputs, 6)

    def likeness(place: int) -> dict[int, float]:
        """Mean over the item's own users of log(1 + decayed count of an item) / log(1 + decayed count of all)."""
        liked = [row for row in range(len(log)) if log.kinds["click"][row]]
        audience = {log.user[row] for row in liked if log.item[row] == inputs.rows[place]}
        total: dict[int, float] = {}
        for user in audience:
            counts: dict[int, float] = {}
            for row in liked:
                if log.user[row] == user:
                    counts[log.item[row]] = counts.get(log.item[row], 0) + 0.5 ** ((DAY + 1 - log.day[row]) / 6)
            for item, count in counts.items():
                share = np.log1p(count) / np.log1p(sum(counts.values()))
                total[item] = total.get(item, 0) + share / len(audience)
        return total

    assert how == "users"
    assert (found == slow_users(log, likeness, inputs, 6)).all()


def test_nobody_is_similar_where_nothing_is_known() -> None:
    for categories, width in [(3, 4), (3, 0), (0, 0)]:
        log = random_log(2, categories, width)
        empty = log.take(slice(0, 0))
        found, _ = similar_item_users(empty, DAY, inputs_of(empty), 3)
        assert found.shape == (len(log.new_items(DAY)), 3)
        assert (found == -1).all()


def test_an_item_without_content_proposes_nobody() -> None:
    log = random_log(3, 3, 4)
    log.content[log.new_items(DAY)[0]] = 0
    found, _ = similar_item_users(log, DAY, inputs_of(log), 3)
    assert (found[0] == -1).all()


def test_no_new_items() -> None:
    for categories, width in [(3, 4), (3, 0), (0, 0)]:
        log = random_log(4, categories, width)
        inputs = item_inputs(log, DAY, np.zeros(0, np.int64), user_history(log, DAY))
        assert similar_item_users(log, DAY, inputs, 3)[0].shape == (0, 3)
