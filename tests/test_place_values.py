"""Prices of places: the programme beside one in plain Python, on lines between what is kept, on any number of threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.place_values import PLACES, SHARES, bid_at, place_values, price_at, value_at

falling = st.lists(st.floats(0, 100, width=32), min_size=1, max_size=9).map(lambda bids: sorted(bids, reverse=True))


def twin(bids: np.ndarray, most: int, share: float, steps: int = 20_000) -> np.ndarray:
    """V(share, k) - V(share, k - 1) for k from 1, by many small steps."""
    value = np.zeros(most + 1)
    for _ in range(steps):
        value[1:] += share / steps * np.maximum(bids[:, None].astype(float) - np.diff(value), 0).sum(axis=0)
    return np.diff(value)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.125, 0.75, 2.0])
def test_values_are_those_of_the_programme(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    bids = np.sort(rng.lognormal(0, 1, int(rng.integers(1, 25))))[::-1].astype(np.float32)
    found = place_values(bids[None], 6)[0, SHARES.tolist().index(share)] * (bids[0] / 65_535)
    expected = twin(bids, 6, share)
    np.testing.assert_allclose(found, expected, atol=0.03 * bids[0], rtol=0.04)
    for left in range(1, 7):
        price = price_at(bids, place_values(bids[None], 6)[0], left, share)
        sure = bid_at(bids, (left - 0.5) / share)
        assert price == pytest.approx((sure + expected[left - 1]) / 2, abs=0.03 * float(bids[0]))


@settings(deadline=None, max_examples=60)
@given(falling, st.integers(1, 200), st.floats(0.01, 6))
def test_prices_fall_with_the_places_and_rise_with_the_bids_to_come(bids: list[float], left: int, share: float) -> None:
    given_bids = np.array(bids, np.float32)
    values = place_values(given_bids[None], 200)[0]
    price, slack = price_at(given_bids, values, left, share), 1e-3 * bids[0]
    assert 0 <= price <= 1.5 * bids[0]
    assert price_at(given_bids, values, left, 1.3 * share) >= price - slack
    if left != PLACES[-1] + 1:  # from here on the number of bids counts as sure
        assert price_at(given_bids, values, max(left - 1, 1), share) >= price - slack


def test_between_the_kept_values_stands_a_line() -> None:
    values = place_values(np.array([[9.0, 5, 4, 2, 1, 1]], np.float32), 12)[0]
    assert values.shape == (SHARES.size, 9)
    for level, share in enumerate(SHARES):
        for place, left in enumerate(PLACES[:9]):
            assert value_at(values, int(left), float(share)) == values[level, place]
    day, later = SHARES.tolist().index(1.0), SHARES.tolist().index(1.5)
    between = values[[[day], [later]], [PLACES.tolist().index(10), PLACES.tolist().index(12)]].mean()
    assert value_at(values, 11, 1.25) == pytest.approx(between)
    assert value_at(values, 3, 0.01) == values[0, 2] / 2
    assert value_at(values, 3, 99.0) == values[-1, 2]


def test_threads_change_nothing_and_without_bids_there_is_nothing() -> None:
    bids = np.sort(np.random.default_rng(0).lognormal(0, 1, (20_000, 5)).astype(np.float32), axis=1)[:, ::-1].copy()
    bids[::3] = 0
    one, three = place_values(bids, 4, 1), place_values(bids, 4, 3)
    assert one.tobytes() == three.tobytes()
    assert (one[::3] == 0).all() and (one[1::3, -1] > 0).all()
    assert place_values(bids[:0], 4).shape == (0, SHARES.size, 4)
