"""How much higher a metric is in one arm than in another, with an interval: the delta method and the bootstrap over units.

A unit is what was assigned: a creator or a user. All that a unit did is summed first, so that its days and items are not
taken for independent ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from .errors import InputError

LEVEL = 0.95
_STAGE = 41  # of the seed: resampling
_CELLS = 1 << 22  # weights that are drawn at a time


@dataclass(frozen=True, eq=False)
class Metric:
    """A column to compare.

    ``values`` float[n]: each unit's total; or float[arms, n] where every unit has a total in every arm, as an item has
    exposures among the users of both. ``per`` of the same shape: what the totals are divided by once they are summed; None:
    1 for each unit, the mean. ``before`` float[n]: the same from before the test (CUPED). ``missing``: why this design
    cannot tell the metric; the values are then not looked at.
    """

    values: np.ndarray
    per: np.ndarray | None = None
    before: np.ndarray | None = None
    missing: str = ""


@dataclass(frozen=True)
class Estimate:
    """``control`` and ``treatment``: the figures compared. ``difference``: treatment / control - 1, with its 95 % interval
    ``low`` to ``high`` and two-sided ``p``. ``note``: why they are NaN, or what to be careful about."""

    control: float
    treatment: float
    difference: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")
    note: str = ""


@dataclass(frozen=True, eq=False)
class Sides:
    """Control and treatment as rows. ``value``, ``per`` float64[2, n], 0 where a unit is not in the arm; ``units`` int[2]
    in each; ``share`` float[2]: what totals are divided by in place of ``per``, None for means and ratios; ``paired``: all
    units are in both."""

    value: np.ndarray
    per: np.ndarray
    units: np.ndarray
    share: np.ndarray | None
    paired: bool

    def figures(self, value: np.ndarray, per: np.ndarray) -> np.ndarray:
        """float[2, ...]: the arms' figures from sums of both columns."""
        if self.share is not None:
            per = self.share.reshape(2, *[1] * (value.ndim - 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(value / per)


def sides(metric: Metric, arm: np.ndarray, pair: tuple[int, int], share: Sequence[float] | None) -> Sides:
    """The two arms' columns, checked. Raises InputError for shapes that differ, values that are not finite, empty arms."""
    values = np.asarray(metric.values, np.float64)
    paired, places = values.ndim == 2, list(pair)
    per = np.ones_like(values) if metric.per is None else np.asarray(metric.per, np.float64)
    if per.shape != values.shape or (not paired and values.shape != np.shape(arm)):
        raise InputError(f"values {values.shape}, per {per.shape}, arm {np.shape(arm)}: expected one for each unit")
    for name, column in (("value", values), ("per", per)):
        if not np.isfinite(column).all():
            place = np.argwhere(~np.isfinite(column))[0]
            raise InputError(f"{name} {column[tuple(place)]} of unit {place[-1]}, expected finite numbers")
    if (per < 0).any():
        raise InputError(f"per {per.min():g}, expected numbers not below 0")
    inside = np.ones((2, values.shape[-1]), bool) if paired else np.asarray(arm) == np.array(places)[:, None]
    units = inside.sum(1)
    if (units < 2).any():
        side = int(np.argmin(units))
        raise InputError(f"{units[side]} units in the {('control', 'treatment')[side]} arm, expected 2 or more")
    if metric.before is not None:
        values = _adjusted(values, metric, inside, share)
    cut = (
        np.where(inside, values[places] if paired else values, 0.0),
        np.where(inside, per[places] if paired else per, 0.0),
    )
    return Sides(*cut, units, None if share is None else np.asarray(share, np.float64)[places], paired)


def doubt(one: Sides) -> str:
    """Why there is no relative difference, or an empty string."""
    for side, name in enumerate(("control", "treatment")):
        if one.value[side].sum() <= 0 or (one.share is None and one.per[side].sum() <= 0):
            return f"the sum over the {name} arm is {one.value[side].sum():g}, not over 0"
    return ""


def delta(one: Sides) -> Estimate:
    """By the delta method on the logarithm of the ratio of the arms' figures; `doubt` must be empty.

    A figure r = sum y / sum d has the relative variance sum (y - r d)^2 / (sum y)^2 over units, times n / (n - 1) (Deng,
    Knoblich and Lu 2018); where totals are divided by known shares, sum y^2 / (sum y)^2, since it is also chance how many
    units an arm has. Student's t, by Welch and Satterthwaite.
    """
    total = one.value.sum(1)
    figure = one.figures(total, one.per.sum(1))
    rest = one.value - (0.0 if one.share is not None else figure[:, None] * one.per)
    influence = rest / total[:, None]
    grow = np.ones(2) if one.share is not None else one.units / (one.units - 1)
    each = grow * (influence**2).sum(1)
    variance = grow[0] * ((influence[1] - influence[0]) ** 2).sum() if one.paired else each.sum()
    if one.paired or not variance:
        freedom = float(one.units.min() - 1)
    else:
        freedom = float(variance**2 / (each**2 / (one.units - 1)).sum())
    middle, error = float(np.log(figure[1] / figure[0])), float(np.sqrt(variance))
    reach = float(stdtrit(freedom, 0.5 + LEVEL / 2)) * error
    p = 2 * float(stdtr(freedom, -abs(middle) / error)) if error else float(abs(middle) < 1e-12)
    low, high = np.expm1([middle - reach, middle + reach]).tolist()
    return Estimate(float(figure[0]), float(figure[1]), float(np.expm1(middle)), low, high, p, _few(one))


def bootstrap(many: Sequence[Sides], resamples: int, seed: int) -> list[Estimate]:
    """Percentile intervals from Poisson(1) weights on the units, the same weights for all columns, of one number of units.

    One draw from (seed, stage), in rows of units: the same bytes on any number of threads.
    """
    stack = np.concatenate([np.concatenate([one.value, one.per]) for one in many])
    sums = _weighted_sums(stack, resamples, seed).reshape(resamples, len(many), 4)
    found = []
    for place, one in enumerate(many):
        drawn = sums[:, place].T
        figures = one.figures(drawn[:2], drawn[2:])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = figures[1] / figures[0]
        control, treatment = one.figures(one.value.sum(1), one.per.sum(1)).tolist()
        middle = treatment / control - 1
        if np.isnan(ratio).any():
            note = "both arms are 0 in a resample: too few units have any"
            found.append(Estimate(control, treatment, middle, note=note))
            continue
        low, high = np.quantile(ratio, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], method="inverted_cdf") - 1
        tail = min(int((ratio <= 1).sum()), int((ratio >= 1).sum()))
        p = min(1.0, 2 * (tail + 1) / (resamples + 1))
        found.append(Estimate(control, treatment, middle, float(low), float(high), p, _few(one)))
    return found


def _weighted_sums(columns: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """float64[resamples, k] of columns float64[k, n]."""
    rng, units = np.random.default_rng([seed, _STAGE]), columns.shape[1]
    rows = max(1, _CELLS // max(units, 1))
    parts = []
    for first in range(0, resamples, rows):
        weight = rng.poisson(1.0, (min(rows, resamples - first), units)).astype(np.float64)
        # einsum, not a matrix product: its result does not depend on the number of threads.
        parts.append(np.einsum("rn,kn->rk", weight, columns))
    return np.concatenate(parts)


def _adjusted(values: np.ndarray, metric: Metric, inside: np.ndarray, share: Sequence[float] | None) -> np.ndarray:
    """Values less what the time before the test explains (CUPED; Deng, Xu, Kohavi and Walker 2013)."""
    before = np.asarray(metric.before, np.float64)
    if values.ndim == 2 or metric.per is not None or share is not None:
        raise InputError("an adjustment by the time before is for means of units that are in one arm")
    if before.shape != values.shape or not np.isfinite(before).all():
        raise InputError(f"before has shape {before.shape}, expected {len(values)} finite numbers, one for each unit")
    units, part = inside.sum(1), inside.astype(np.float64)
    left_x, left_y = (column - ((part * column).sum(1) / units)[:, None] for column in (before, values))
    spread = float((part * left_x**2).sum())
    slope = float((part * left_x * left_y).sum()) / spread if spread > 0 else 0.0
    return np.asarray(values - slope * (before - before[inside.any(0)].mean()))


def _few(one: Sides) -> str:
    least = int((one.value != 0).sum(1).min())
    return f"only {least} units of an arm are not 0" if least < 10 else ""
