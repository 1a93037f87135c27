"""AUC, Brier score, calibration and the decayed count against slow twins."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.models.metrics import auc, brier, calibration_table, decayed_count, expected_calibration_error

ROWS = st.lists(st.tuples(st.booleans(), st.integers(-3, 3), st.integers(0, 3)), max_size=25)


def slow_auc(positive: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float:
    """Every pair of a positive and a negative."""
    won = total = 0.0
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive):
            total += weight[i] * weight[j]
            won += weight[i] * weight[j] * (1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0)
    return won / total if total else math.nan


@settings(deadline=None, max_examples=200)
@given(ROWS)
def test_auc_counts_pairs_with_ties_and_weights(rows: list[tuple[bool, int, int]]) -> None:
    positive = np.array([row[0] for row in rows], bool)
    score = np.array([row[1] / 3 for row in rows], np.float32)
    weight = np.array([row[2] for row in rows], float)
    assert auc(positive, score, weight) == pytest.approx(slow_auc(positive, score, weight), nan_ok=True)
    ones = np.ones(len(rows))
    assert auc(positive, score) == pytest.approx(slow_auc(positive, score, ones), nan_ok=True)


def test_auc_of_a_perfect_a_reversed_and_a_constant_score() -> None:
    positive = np.array([False, False, True, True])
    assert auc(positive, np.arange(4.0)) == 1
    assert auc(positive, -np.arange(4.0)) == 0
    assert auc(positive, np.zeros(4)) == 0.5
    assert math.isnan(auc(np.ones(3, bool), np.arange(3.0)))


def test_brier() -> None:
    assert brier(np.array([True, False]), np.array([1.0, 0.0])) == 0
    assert brier(np.array([True, False, True]), np.array([0.5, 0.2, 0.9])) == pytest.approx((0.25 + 0.04 + 0.01) / 3)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=32)), max_size=40), st.integers(1, 12))
def test_calibration_table_partitions_the_rows_in_order(rows: list[tuple[bool, float]], bins: int) -> None:
    happened = np.array([row[0] for row in rows], bool)
    p = np.array([row[1] for row in rows], np.float32)
    table = calibration_table(happened, p, bins)
    counts = [row["count"] for row in table]
    assert sum(counts) == len(rows) and len(table) == min(bins, len(rows))
    assert not counts or max(counts) - min(counts) <= 1
    for row, after in pairwise(table):
        assert row["high"] <= after["low"]
    for row in table:
        assert row["low"] - 1e-6 <= row["predicted"] <= row["high"] + 1e-6
    assert sum(row["count"] * row["predicted"] for row in table) == pytest.approx(p.sum(dtype=float))
    assert sum(row["count"] * row["observed"] for row in table) == pytest.approx(happened.sum())


def test_calibration_error_by_hand() -> None:
    happened = np.array([False, True, True, True])
    p = np.array([0.1, 0.3, 0.8, 0.6])
    table = calibration_table(happened, p, 2)
    assert [row["observed"] for row in table] == [0.5, 1.0]
    assert expected_calibration_error(table) == pytest.approx((2 * 0.3 + 2 * 0.3) / 4)
    assert expected_calibration_error([]) == 0


def test_decayed_count() -> None:
    count = decayed_count(np.array([0, 2, 2], np.int32), np.array([2.0, 0.0, 4.0]), 4)
    np.testing.assert_allclose(count, [0.5, 0, 1.25, 0])
    np.testing.assert_allclose(decayed_count(np.array([1]), np.array([3.0]), 2, half_life=1.0), [0, 0.125])
