"""Logistic regression and Platt scaling: optimality conditions, known curves, inputs on which Newton's steps explode."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.models.calibration import Platt, fit_platt
from dualrec.models.logistic import fit_logistic, sigmoid


def slope_of_loss(x: np.ndarray, happened: np.ndarray, at: np.ndarray, prior: np.ndarray, ridge: float) -> np.ndarray:
    """Gradient of the penalised log loss, row by row."""
    gradient = ridge * (at - prior)
    for row, came in zip(x, happened, strict=True):
        gradient = gradient + row * (1 / (1 + np.exp(-row @ at)) - came)
    return gradient


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 1.0, 10.0, 100.0]), st.sampled_from([0.0, -20.0, 30.0]))
def test_the_gradient_vanishes_at_any_scale(seed: int, scale: float, shift: float) -> None:
    generator = np.random.default_rng(seed)
    x = np.stack([np.ones(60), generator.normal(shift, scale, 60)], 1)
    happened = generator.random(60) < generator.random()
    prior = np.array([0.0, 1.0])
    fitted = fit_logistic(x, happened, prior, 1.0)
    slope = slope_of_loss(x, happened, fitted, prior, 1.0)
    assert (np.abs(slope) < 1e-8 * (1 + np.abs(x).sum(0))).all()


def test_a_weight_of_two_is_a_row_twice() -> None:
    generator = np.random.default_rng(2)
    x, happened, times = generator.normal(size=(40, 2)), generator.random(40) < 0.5, generator.integers(0, 4, 40)
    weighted = fit_logistic(x, happened, np.zeros(2), 1.0, times.astype(float))
    repeated = fit_logistic(np.repeat(x, times, 0), np.repeat(happened, times), np.zeros(2), 1.0)
    np.testing.assert_allclose(weighted, repeated, atol=1e-8)


def test_without_rows_the_prior_is_kept() -> None:
    prior = np.array([0.5, -2.0])
    assert (fit_logistic(np.zeros((0, 2)), np.zeros(0, bool), prior, 1.0) == prior).all()


def test_sigmoid_does_not_overflow() -> None:
    assert (sigmoid(np.array([-1e300, 0.0, 1e300])) == [0, 0.5, 1]).all()
    middle = np.linspace(-20, 20, 101)
    np.testing.assert_allclose(sigmoid(middle), 1 / (1 + np.exp(-middle)), rtol=1e-7)


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.5, -1.0), (2.0, 0.7)])
def test_platt_recovers_a_curve(slope: float, offset: float) -> None:
    generator = np.random.default_rng(3)
    logit = generator.normal(-1, 2, 40_000)
    happened = generator.random(40_000) < sigmoid(slope * logit + offset)
    fitted = fit_platt(logit, happened)
    assert fitted.slope == pytest.approx(slope, abs=0.08)
    assert fitted.offset == pytest.approx(offset, abs=0.08)


def test_platt_makes_the_mean_right() -> None:
    generator = np.random.default_rng(4)
    logit, happened = generator.normal(-20, 1, 1000), generator.random(1000) < 0.4
    assert fit_platt(logit, happened)(logit).mean() == pytest.approx(happened.mean(), abs=1e-3)


@pytest.mark.parametrize("came", [True, False])
def test_platt_of_one_outcome_is_finite_and_on_its_side(came: bool) -> None:
    logit = np.random.default_rng(5).normal(-3, 1, 200)
    p = fit_platt(logit, np.full(200, came))(logit)
    assert np.abs(p - came).max() < 0.01


def test_platt_without_rows_is_the_identity() -> None:
    assert fit_platt(np.zeros(0), np.zeros(0, bool)) == Platt(1.0, 0.0)


def test_platt_gives_float32_and_keeps_the_order() -> None:
    p = Platt(0.5, 1.0)(np.array([-1e30, -1.0, 0.0, 1e30], np.float32))
    assert p.dtype == np.float32
    assert (np.diff(p) > 0).all()
    assert p[0] == 0 and p[-1] == 1
