"""The models' view of the data: windows of days, strict cold, new items, rest days."""

import numpy as np
import pytest

from dualrec.models.log import Log


@pytest.fixture
def log() -> Log:
    return Log(
        user=np.array([0, 1, 1, 2, 0, 3], np.int32),
        item=np.array([0, 0, 1, 2, 3, 1], np.int32),
        day=np.array([0.0, 0.9, 1.0, 1.5, 2.0, 2.999]),
        kinds={"view": np.array([1, 0, 1, 0, 1, 0], bool), "skip": np.array([0, 1, 1, 0, 0, 1], bool)},
        context={"device": np.array([0, 1, -1, 2, 0, 1], np.int32)},
        users=5,
        items=5,
        upload=np.array([0.0, 0.5, 1.2, 1.2, 2.0]),
        token=np.arange(5, dtype=np.int32),
        tokens=5,
        content=np.zeros((5, 0), np.float32),
        rest_days=(3,),
        first_weekday=4,
    )


@pytest.mark.parametrize(("first", "last", "rows"), [(0, 0, [0, 1]), (1, 1, [2, 3]), (0, 2, range(6)), (3, 9, [])])
def test_between_takes_whole_days(log: Log, first: int, last: int, rows: list[int]) -> None:
    part, rows = log.between(first, last), list(rows)
    assert len(part) == len(rows)
    for name in ("user", "item", "day"):
        assert (getattr(part, name) == getattr(log, name)[rows]).all()
    assert (part.kinds["skip"] == log.kinds["skip"][rows]).all()
    assert (part.context["device"] == log.context["device"][rows]).all()
    assert not len(part) or np.shares_memory(part.user, log.user)


def test_strict_cold_hides_the_items_of_the_day_and_later(log: Log) -> None:
    assert log.without_new_items(1).item.tolist() == [0, 0, 1, 1]
    assert log.without_new_items(0).item.tolist() == []


def test_new_items_stand_in_upload_order_ties_by_row(log: Log) -> None:
    assert log.new_items(0).tolist() == [0, 1]
    assert log.new_items(1).tolist() == [2, 3]
    assert log.new_items(7).tolist() == []


def test_known_and_active_users(log: Log) -> None:
    assert log.known().tolist() == [True, True, True, True, False]
    assert log.active(1).tolist() == [False, True, True, False, False]


def test_a_skip_is_not_positive_whatever_else_the_row_says(log: Log) -> None:
    assert log.positive().tolist() == [True, False, False, False, True, False]
    assert not Log(**{**vars(log), "kinds": {}}).positive().any()


def test_rest_days_are_weekends_and_holidays(log: Log) -> None:
    # Day 0 is a Friday.
    assert log.is_rest(np.arange(8)).tolist() == [False, True, True, True, False, False, False, False]


def test_tokens_are_items_only_where_each_item_is_its_own(log: Log) -> None:
    assert log.tokens_are_items
    assert not Log(**{**vars(log), "token": log.token[::-1]}).tokens_are_items
    assert not Log(**{**vars(log), "tokens": 7}).tokens_are_items
