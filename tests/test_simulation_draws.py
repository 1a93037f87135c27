"""Draws by name against splitmix64 in Python's own integers: a change of any of them would change every world."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dualrec.alloc.simulation.draws import Purpose, between_0_and_1, choice, normals, poisson, uniform

WORD = 2**64
KEYS = st.lists(st.integers(0, 2**63 - 1), max_size=3)


def mixed(value: int) -> int:
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % WORD
    return value ^ (value >> 31)


@given(st.integers(0, 2**32 - 1), st.sampled_from(Purpose), KEYS)
def test_a_number_is_a_function_of_its_names(seed: int, purpose: Purpose, keys: list[int]) -> None:
    state = mixed((seed * 0x9E3779B97F4A7C15 + purpose) % WORD)
    for key in keys:
        state = mixed((state + 0x9E3779B97F4A7C15 + key * 0xBF58476D1CE4E5B9) % WORD)
    expected = min(((state >> 11) + 0.5) / 2.0**53, 1 - 2.0**-53)
    assert uniform(seed, purpose, *keys) == expected
    if keys:
        whole = uniform(seed, purpose, *(np.array([[key], [0]]) for key in keys))
        assert whole.shape == (2, 1) and whole[0, 0] == expected


def test_neighbouring_keys_give_unrelated_numbers() -> None:
    rows = normals(1, Purpose.CONTENT, np.arange(20_000), 8)
    related = np.corrcoef(np.concatenate([rows[:-1].T, rows[1:].T]))
    assert np.abs(related - np.eye(16)).max() < 0.05
    assert not np.isin(uniform(1, Purpose.WATCH, 3, 5), uniform(1, Purpose.WATCH, 5, 3))


def test_a_large_mean_and_weights_of_nothing() -> None:
    at = uniform(1, Purpose.PATIENCE, np.arange(4_000))
    drawn = poisson(np.full(4_000, 499.0), at, 2_008)
    assert abs(drawn.mean() - 499) < 2 and abs(drawn.std() - 499**0.5) < 1
    assert set(choice(np.array([0.0, 2.0, 0.0]), at)) == {1}


def test_numbers_drawn_are_never_0_or_1() -> None:
    bits = np.array([0, 2**64 - 1, 2**64 - 2**11, 2**63], np.uint64)
    value = between_0_and_1(bits)
    assert (value > 0).all() and (value < 1).all() and abs(value[3] - 0.5) < 1e-15
