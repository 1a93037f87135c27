"""Breadth against one user at a time, and what it makes of the order of users."""

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from dualrec.models.breadth import HALF_LIFE_DAYS, breadth

DAY = 6


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("day", [1, 4, DAY])
def test_each_item_counts_once_from_the_day_it_was_met(logs: ModuleType, seed: int, day: int) -> None:
    whole = logs.random_log(seed, 0, 0)
    log = whole.between(0, day)
    expected = np.full(log.users, 0.02)
    for user in range(log.users):
        first: dict[int, float] = {}
        for row in range(len(log)):
            if log.user[row] == user and log.kinds["click"][row]:
                first.setdefault(int(log.item[row]), float(log.day[row]))
        expected[user] += sum(0.5 ** ((day + 1 - met) / HALF_LIFE_DAYS) for met in first.values())
    found = breadth(log, day)
    np.testing.assert_allclose(found, expected / expected[log.known()].mean(), rtol=1e-12)
    assert found.min() > 0 and found[log.known()].mean() == pytest.approx(1)


def test_meeting_the_same_item_again_changes_nothing(logs: ModuleType) -> None:
    log = logs.random_log(3, 0, 0)
    again = log.take(np.sort(np.append(np.arange(len(log)), np.arange(0, len(log), 3))))
    np.testing.assert_allclose(breadth(again, DAY), breadth(log, DAY))


def test_without_interactions_all_users_are_alike(logs: ModuleType) -> None:
    log = logs.random_log(1, 0, 0)
    assert (breadth(log.take(slice(0, 0)), DAY) == 1).all()
    nobody = replace(log.take(slice(0, 0)), users=0)
    assert breadth(nobody, DAY).shape == (0,)
