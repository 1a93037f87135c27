"""Prices of places: the programme beside one in plain Python and beside simulated days, on both sides of what is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.place_values import PLACES, SHARES, bid_at, place_values, value_at

falling = st.lists(st.floats(0, 100, width=32), min_size=1, max_size=9).map(lambda bids: sorted(bids, reverse=True))


def twin(bids: list[float], most: int, share: float, steps: int = 20_000) -> list[float]:
    """V(share, k) - V(share, k - 1) for k from 1, by many small steps."""
    value = np.zeros(most + 1)
    for _ in range(steps):
        keep = np.diff(value)
        value[1:] += share / steps * np.maximum(np.array(bids)[:, None] - keep, 0).sum(axis=0)
    return np.diff(value).tolist()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.125, 0.75, 2.0])
def test_the_mean_of_the_programme_and_of_a_sure_number_of_bids(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    bids = np.sort(rng.lognormal(0, 1, int(rng.integers(1, 25))))[::-1].astype(np.float32)
    values, expected = place_values(bids[None], 6)[0, SHARES.tolist().index(share)], twin(bids.tolist(), 6, share)
    for k in range(1, 7):
        sure = bid_at(bids, (k - 0.5) / share)
        assert values[k - 1] == pytest.approx((sure + expected[k - 1]) / 2, rel=0.04, abs=0.03 * float(bids[0]))


@settings(deadline=None, max_examples=60)
@given(falling, st.integers(1, 70), st.floats(0.01, 6))
def test_a_price_is_between_nothing_and_the_largest_bid(bids: list[float], left: int, share: float) -> None:
    values = place_values(np.array([bids], np.float32), 64)[0]
    left = min(left, int(PLACES[-1]))
    price = value_at(values, left, share)
    assert 0 <= price <= bids[0] * 1.5
    assert value_at(values, left, min(share * 1.3, 4.0)) >= price * (1 - 1e-4) - 1e-6 or share >= 4
    if left > 1:
        assert value_at(values, left - 1, share) >= price * (1 - 1e-4) - 1e-6


def test_between_the_kept_values_stands_a_line() -> None:
    values = place_values(np.array([[9.0, 5, 4, 2, 1, 1]], np.float32), 12)[0]
    for level, share in enumerate(SHARES):
        for place, left in enumerate(PLACES[: values.shape[1]]):
            assert value_at(values, int(left), float(share)) == pytest.approx(values[level, place], rel=1e-6)
    half_way = (values[7, 8] + values[8, 8] + values[7, 7] + values[8, 7]) / 4  # 11 places, a day and a quarter
    assert value_at(values, 11, 1.25) == pytest.approx(half_way, rel=1e-6)
    assert value_at(values, 3, 0.0) == 0
    assert value_at(values, 3, 99.0) == values[-1, 2]


def test_threads_and_absent_bids_change_nothing() -> None:
    rng = np.random.default_rng(0)
    bids = np.sort(rng.lognormal(0, 1, (20_000, 5)).astype(np.float32), axis=1)[:, ::-1].copy()
    bids[::3] = 0
    one, two = place_values(bids, 4, 1), place_values(bids, 4, 3)
    assert one.tobytes() == two.tobytes()
    assert (one[::3] == 0).all() and (one[1::3] > 0).all()
    assert place_values(bids[:0], 4).shape == (0, SHARES.size, 4)
