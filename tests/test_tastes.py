"""Users' tastes against one pair of users at a time."""

from itertools import product
from types import ModuleType

import numpy as np
import pytest
import torch

from dualrec.models.log import Log
from dualrec.models.tastes import common_items, first_users, user_tastes

DAY = 6


def slow_products(log: Log, day: int) -> np.ndarray:
    """float64[users, users]: what each two users have in common, one pair of users at a time."""
    rows = [row for row in range(len(log)) if log.kinds["click"][row] and log.upload[log.item[row]] < day]
    met = [{int(log.item[row]) for row in rows if log.user[row] == user} for user in range(log.users)]
    worth = {item: 1 / (sum(item in mine for mine in met) + 1) for item in set().union(*met)}
    squared = np.array([sum(worth[item] for item in mine) for mine in met])
    typical = np.median([square for square in squared if square > 0])
    found = np.zeros((log.users, log.users))
    for one, two in product(range(log.users), repeat=2):
        length = np.sqrt((squared[one] + 0.3 * typical) * (squared[two] + 0.3 * typical))
        found[one, two] = sum(worth[item] for item in met[one] & met[two]) / length
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("day", [2, 4, DAY])
def test_products_of_tastes_are_the_items_in_common(logs: ModuleType, seed: int, day: int) -> None:
    log = logs.random_log(seed, 0, 0).between(0, day)
    expected = slow_products(log, day)
    met = common_items(log, day)
    np.testing.assert_allclose((met @ met.T).toarray(), expected, atol=1e-12)
    tastes = user_tastes(log, day, 40)
    assert tastes.dtype == np.float32 and tastes.shape == (log.users, 40)
    assert not tastes[:, log.users :].any(), "there are no more directions than users"
    np.testing.assert_allclose(tastes @ tastes.T, expected, atol=1e-5)


def test_few_directions_keep_what_differs_most(logs: ModuleType) -> None:
    """No projection on so many directions is nearer than that of the largest eigenvalues, and this one nearly is it."""
    log = logs.random_log(9, 0, 0)
    expected = slow_products(log, DAY)
    largest = np.linalg.eigvalsh(expected)[::-1]
    for size in (1, 4, 12):
        tastes = user_tastes(log, DAY, size).astype(np.float64)
        assert 0.95 * largest[:size].sum() <= (tastes**2).sum() <= largest[:size].sum() + 1e-4
        assert np.linalg.eigvalsh(expected - tastes @ tastes.T).min() > -1e-4


def test_tastes_of_nobody_and_of_no_size(logs: ModuleType) -> None:
    log = logs.random_log(1, 0, 0)
    assert user_tastes(log, DAY, 0).shape == (log.users, 0)
    assert not user_tastes(log, 0, 5).any(), "no item was uploaded before day 0"
    empty = log.take(slice(0, 0))
    assert user_tastes(empty, DAY, 5).shape == (log.users, 5) and not user_tastes(empty, DAY, 5).any()


def test_tastes_know_nothing_of_the_days_uploads_and_are_the_same_on_any_threads(logs: ModuleType) -> None:
    log = logs.random_log(2, 0, 0)
    threads = torch.get_num_threads()
    once = user_tastes(log, DAY, 8)
    try:
        torch.set_num_threads(2)
        assert user_tastes(log, DAY, 8).tobytes() == once.tobytes()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert user_tastes(log.without_new_items(DAY), DAY, 8).tobytes() == once.tobytes()


@pytest.mark.parametrize("seed", range(3))
def test_first_users_are_those_of_the_day_of_upload(logs: ModuleType, seed: int) -> None:
    log, items = logs.random_log(seed, 0, 0, 600), np.array([29, 4, 17, 9])
    found = first_users(log, items)
    assert found.dtype == np.float32 and found.shape == (4, log.users) and set(found.data) == {1.0}
    for place, item in enumerate(items):
        rows = [row for row in range(len(log)) if log.item[row] == item and log.kinds["click"][row]]
        expected = {int(log.user[row]) for row in rows if np.floor(log.day[row]) == np.floor(log.upload[item])}
        assert set(np.flatnonzero(found[[place]].toarray()[0]).tolist()) == expected
    assert first_users(log.without_new_items(DAY), np.array([29])).nnz == 0, "strict cold hides them"
