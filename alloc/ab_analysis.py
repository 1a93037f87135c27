"""Arms of an A/B test compared: one metric, or a table of many; and whether the arms have the units that they should."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from .ab_estimate import Estimate, Metric, Sides, bootstrap, delta, doubt, sides
from .errors import InputError
from .show import format_number, format_table

Method = Literal["delta", "bootstrap"]
COLUMNS = ("metric", "arm", "control", "treatment", "difference", "low", "high", "p", "note")
MISMATCH_P = 1e-3
"""Below this the arms' numbers of units are no chance, and nothing else in the table can be trusted."""


def estimate(
    values: np.ndarray,
    arm: np.ndarray,
    share: Sequence[float] | None = None,
    *,
    per: np.ndarray | None = None,
    before: np.ndarray | None = None,
    treatment: int = 1,
    method: Method = "delta",
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Arm ``treatment`` against arm 0, the control, in one metric.

    ``values`` float[n]: each unit's total, or float[arms, n] (see `Metric`, which has ``per`` and ``before`` too). ``arm``
    int[n], -1 for units outside. ``share`` float[arms]: totals divided by the arms' shares are compared; None: means of
    units, or sum of ``values`` / sum of ``per``. Raises InputError for columns that are unfit, fewer than 2 units in an arm
    and arms whose sum is not over 0.
    """
    one = sides(Metric(values, per, before), arm, (0, treatment), share)
    reason = doubt(one)
    if reason:
        raise InputError(f"{reason}: there is no relative difference")
    return delta(one) if _checked(method, resamples) == "delta" else bootstrap([one], resamples, seed)[0]


def analyse(
    metrics: Mapping[str, Metric],
    arm: np.ndarray,
    arms: Sequence[str],
    *,
    method: Method = "delta",
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """A row for each metric and treatment: the columns ``COLUMNS``, differences as fractions (0.117 is +11.7 %).

    ``arm`` int[n] of the units, all metrics' units being the same; ``arms``: names, the control first. What a design cannot
    tell, and arms whose sum is 0, are NaN with the reason as ``note``. Raises InputError as `estimate` does, naming the
    metric.
    """
    keys: list[tuple[str, str]] = []
    found: list[Estimate] = []
    asked: dict[int, Sides] = {}
    for number, name in enumerate(arms[1:], 1):
        for metric, column in metrics.items():
            keys.append((metric, name))
            one, figures = _prepared(metric, column, arm, number)
            if one is not None:
                asked[len(found)] = one
            found.append(figures)
    if _checked(method, resamples) == "bootstrap" and asked:
        found_now = bootstrap(list(asked.values()), resamples, seed)
    else:
        found_now = [delta(one) for one in asked.values()]
    for place, figures in zip(asked, found_now, strict=True):
        found[place] = figures
    rows = [(*key, *vars(figures).values()) for key, figures in zip(keys, found, strict=True)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def sample_ratio(arm: np.ndarray, shares: Sequence[float]) -> float:
    """p of the chi-square test that the units' arms int[n] came about by ``shares``; units outside (-1) are left out.

    1.0 without units. A p below ``MISMATCH_P`` is a sample ratio mismatch: units were lost or assigned by something else.
    """
    count = np.bincount(np.asarray(arm)[np.asarray(arm) >= 0], minlength=len(shares))
    if len(count) != len(shares):
        raise InputError(f"arm {len(count) - 1}, expected arms below {len(shares)}, as many as there are shares")
    expected = np.asarray(shares, np.float64) / np.sum(shares) * count.sum()
    if not count.sum():
        return 1.0
    return float(chdtrc(len(shares) - 1, ((count - expected) ** 2 / expected).sum()))


def analysis_table(frame: pd.DataFrame) -> str:
    """The table of `analyse` as plain text, differences in per cent."""
    rows: list[tuple[str, ...]] = [("metric", "arm", "control", "arm's", "difference", "95 % interval", "p")]
    notes = []
    for row in frame.to_dict("records"):
        low, high, p = (float(row[key]) for key in ("low", "high", "p"))
        sure = np.isfinite(p)
        rows.append(
            (
                str(row["metric"]),
                str(row["arm"]),
                *(_shown(float(row[key]), format_number) for key in ("control", "treatment")),
                _shown(float(row["difference"]), "{:+.2%}".format),
                f"{low:+.2%} to {high:+.2%}" if sure else "-",
                _shown(p, "{:.4f}".format),
            )
        )
        notes += [f"{row['metric']}, {row['arm']}: {row['note']}"] if row["note"] else []
    return "\n".join([format_table(rows), *notes])


def _shown(value: float, form: Callable[[float], str]) -> str:
    return form(value) if np.isfinite(value) else "-"


def _prepared(name: str, metric: Metric, arm: np.ndarray, number: int) -> tuple[Sides | None, Estimate]:
    """What to compare, or None and an estimate that says why not."""
    nothing = Estimate(float("nan"), float("nan"), note=metric.missing)
    if metric.missing:
        return None, nothing
    try:
        one = sides(metric, arm, (0, number), None)
    except InputError as error:
        raise InputError(f"metric {name!r}: {error}") from None
    control, treatment = one.figures(one.value.sum(1), one.per.sum(1)).tolist()
    reason = doubt(one)
    return None if reason else one, replace(nothing, control=control, treatment=treatment, note=reason)


def _checked(method: Method, resamples: int) -> Method:
    if method not in ("delta", "bootstrap") or resamples < 1:
        raise InputError(f"method {method!r}, {resamples} resamples; expected delta or bootstrap, and 1 or more")
    return method
