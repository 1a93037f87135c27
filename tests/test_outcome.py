"""Recall without a cap and the rule of early users, each against a plain loop over pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.alloc.baselines import early_user_rows
from dualrec.alloc.outcome import Truth, outcome, recall_without_cap
from dualrec.models.log import Log


def log_of(user: list[int], item: list[int], users: int, items: int, skip: list[bool]) -> Log:
    count = len(user)
    return Log(
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        day=np.linspace(0, 3, count) if count else np.zeros(0),
        kinds={"view": np.ones(count, bool), "skip": np.array(skip, bool)},
        users=users,
        items=items,
        upload=np.zeros(items),
        token=np.arange(items, dtype=np.int32),
        tokens=items,
        content=np.zeros((items, 0), np.float32),
    )


@st.composite
def logs(draw: st.DrawFn) -> Log:
    count = draw(st.integers(0, 40))
    user = draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
    item = draw(st.lists(st.integers(0, 8), min_size=count, max_size=count))
    skip = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    return log_of(user, item, 7, 9, skip)


def naive_early_users(log: Log, user: int, item: int) -> float:
    """Mean over the item's early users of the sum over items that both met, other than the item."""
    good = log.positive()
    met = {(int(u), int(i)) for u, i in zip(log.user[good], log.item[good], strict=True)}
    of_item = {i: [u for u in range(log.users) if (u, i) in met] for i in range(log.items)}
    if not of_item[item]:
        return 0.0
    shared = [
        1 / (len(of_item[j]) + 1)
        for e in of_item[item]
        for j in range(log.items)
        if j != item and (e, j) in met and (user, j) in met
    ]
    return sum(shared) / len(of_item[item])


@settings(deadline=None, max_examples=60)
@given(logs())
def test_early_user_rows_are_the_formula(log: Log) -> None:
    users, items = np.array([0, 2, 3, 6]), np.array([1, 4, 8])
    rows = early_user_rows(log, users, items)(np.array([2, 0, 1, 0]))
    expected = [[naive_early_users(log, int(u), int(i)) for u in users] for i in (8, 1, 4, 1)]
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-7)


TRUTH = Truth(np.array([0, 1, 2, 3, 10 + 1, 10 + 4, 20 + 9]), np.ones(10, bool), 3, 10)


def test_every_item_gets_its_best_users_without_a_cap() -> None:
    scores = np.zeros((3, 10), np.float32)
    scores[:, :3] = [3, 2, 1]
    # Of item 0 two of the best two are true, of as many as could be; of item 1 one of two. Item 2 has too few truth users.
    assert recall_without_cap(TRUTH, lambda items: scores[items], 2, 2) == pytest.approx((2 / 2 + 1 / 2) / 2)
    # The same users for every item, which a cap would not allow: as the outcome of such matches says.
    item, user = np.repeat(np.arange(3), 2), np.tile([0, 1], 3)
    assert outcome(TRUTH, item, user, 2, 2)["recall"] == pytest.approx(0.75)


def test_a_pair_of_score_0_is_nobodys() -> None:
    assert recall_without_cap(TRUTH, lambda items: np.zeros((len(items), 10), np.float32), 10, 1) == 0


@pytest.mark.parametrize(("wanted", "least"), [(2, 5), (0, 1)])
def test_nothing_to_score_is_no_recall(wanted: int, least: int) -> None:
    assert recall_without_cap(TRUTH, lambda items: np.ones((len(items), 10), np.float32), wanted, least) is None
