"""Retrieval: the user index against brute force."""

import numpy as np
import pytest

from dualrec.models.user_index import build_user_index, nearest_users


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
