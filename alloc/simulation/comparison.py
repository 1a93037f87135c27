"""From days to figures: means over the days that count, differences with intervals over worlds, and what tests estimate."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from ..show import format_table
from .simulation_config import SimulationConfig

Days = Mapping[str, Sequence[Sequence[Mapping[str, float]]]]
LEVEL = 0.95


def compare(config: SimulationConfig, days: Days) -> dict[str, Any]:
    """``means``: figure of each policy, its mean and spread over seeds; ``differences``: of each pair of `compare`,
    relative, paired by seed, with a 95 % Student interval; ``tests``: of each design beside the truth."""
    figures = creator_figures(config)
    per_seed = {name: [mean_figures(run[config.settle_days :]) for run in runs] for name, runs in days.items()}
    names = sorted({key for runs in per_seed.values() for run in runs for key in run})
    means = {
        name: {
            key: _mean([run[key] for run in per_seed[name]])
            for key in names
            if all(key in run for run in per_seed[name])
        }
        for name in config.policies
    }
    differences = {}
    for pair in config.compare:
        better, than = (per_seed[name] for name in pair.split("/"))
        keys = [key for key in names if all(key in run for run in (*better, *than))]
        differences[pair] = {key: difference([run[key] for run in better], [run[key] for run in than]) for key in keys}
    tests = {name: _test(config, per_seed, name, figures) for name in config.test.designs}
    return {"means": means, "differences": differences, "tests": tests}


def creator_figures(config: SimulationConfig) -> tuple[str, ...]:
    """The creators' figures that tests estimate."""
    return ("dac", *(f"reach_{least}" for least in config.platform.reach))


def mean_figures(days: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means over days, of the days that have the figure and where it is a number."""
    keys = {key for day in days for key in day}
    values = {key: np.array([day[key] for day in days if key in day], np.float64) for key in sorted(keys)}
    return {key: float(np.nanmean(one)) for key, one in values.items() if np.isfinite(one).any()}


def difference(better: Sequence[float], than: Sequence[float]) -> dict[str, float]:
    """Relative ``difference`` of paired figures, ``low`` and ``high`` of its interval: NaN with one pair, or over zeros."""
    return interval(np.array([_ratio(a, b) for a, b in zip(better, than, strict=True)]))


def interval(values: np.ndarray) -> dict[str, float]:
    """Mean of values with its 95 % Student interval; NaN where a value is."""
    mean = float(values.mean())
    if len(values) < 2 or not np.isfinite(values).all():
        return {"difference": mean, "low": float("nan"), "high": float("nan")}
    half = float(student.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return {"difference": mean, "low": mean - half, "high": mean + half}


def _test(
    config: SimulationConfig,
    per_seed: Mapping[str, Sequence[Mapping[str, float]]],
    design: str,
    figures: tuple[str, ...],
) -> dict[str, dict[str, float]]:
    """Of each figure: the ``truth``, both worlds whole; the test's ``estimate`` with its interval; ``error``, the mean
    distance of the two by seed, with its interval. A user-diverted test cannot tell active creators apart: 0 by design."""
    control, treatment = per_seed[config.test.control], per_seed[config.test.treatment]
    found = {}
    for key in figures:
        truth = np.array([_ratio(b[key], a[key]) for a, b in zip(control, treatment, strict=True)])
        estimate = np.array([_estimate(run, design, key) for run in per_seed[design]])
        error = interval(np.abs(estimate - truth))
        one = interval(estimate)
        found[key] = {
            "truth": float(truth.mean()),
            "estimate": one["difference"],
            "low": one["low"],
            "high": one["high"],
            "error": error["difference"],
            "error_low": error["low"],
            "error_high": error["high"],
        }
    return found


def _estimate(run: Mapping[str, float], design: str, key: str) -> float:
    """Treated over control, each over its own week before the test; of a user-diverted test by arm of the users, and of
    active creators nothing: they are the same in both arms."""
    if design == "user_diverted":
        return _ratio(run[f"{key}_by_treated_users"], run[f"{key}_by_control_users"]) if key != "dac" else 0.0
    treated, control = (1.0 + _ratio(run[f"{key}_{arm}"], run[f"{key}_{arm}_before"]) for arm in ("treated", "control"))
    return _ratio(treated, control)


def _ratio(value: float, over: float) -> float:
    """How much more, relative; NaN over 0."""
    return value / over - 1.0 if over else float("nan")


def _mean(values: Sequence[float]) -> dict[str, float]:
    numbers = np.array(values)
    return {"mean": float(numbers.mean()), "spread": float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0}


def shown_figures(config: SimulationConfig) -> dict[str, str]:
    """Figure -> its name in tables."""
    reach = {f"reach_{least}": f"reach-{least}" for least in config.platform.reach}
    return {
        "dac": "DAC",
        **reach,
        "coverage": "coverage",
        "short": "short",
        "hit_rate": "hit rate",
        "match_like_rate": "match likes",
        "match_follow_rate": "match follows",
        "auc_v1": "AUC none",
        "auc_ef": "AUC EF",
        "auc_sa": "AUC SA",
        "auc_sa_ef": "AUC SA+EF",
        "dau": "DAU",
        "watch_hours": "watch hours",
        "gini": "Gini",
    }


def simulation_table(config: SimulationConfig, found: Mapping[str, Any]) -> str:
    """Plain text: means of each policy; differences with intervals, in %; tests beside the truth."""
    names = shown_figures(config)
    rows = [("policy", *names.values())]
    for name, one in found["means"].items():
        rows.append((name, *(_number(one.get(key)) for key in names)))
    parts = [format_table(rows)]
    if found["differences"]:
        rows = [("difference, %", *names.values())]
        for pair, one in found["differences"].items():
            rows.append((pair.replace("/", " over "), *(percent(one.get(key)) for key in names)))
        parts.append(format_table(rows))
    if found["tests"]:
        rows = [("test", "figure", "truth, %", "estimate, %", "error, points")]
        for design, one in found["tests"].items():
            for key, figure in one.items():
                rows.append((design, names[key], *estimate_cells(figure)))
        parts.append(format_table(rows))
    return "\n\n".join(parts)


def percent(figure: Mapping[str, float] | None, key: str = "difference") -> str:
    """A difference in % with its interval."""
    if figure is None or not np.isfinite(figure[key]):
        return "-"
    low, high = figure["low"], figure["high"]
    around = f" [{100 * low:+.1f}, {100 * high:+.1f}]" if np.isfinite(low) else ""
    return f"{100 * figure[key]:+.1f}{around}"


def estimate_cells(figure: Mapping[str, float]) -> tuple[str, str, str]:
    """A test's truth, estimate and error in %, as text."""
    truth, error = 100 * figure["truth"], 100 * figure["error"]
    return (
        f"{truth:+.2f}" if np.isfinite(truth) else "-",
        percent(figure, "estimate"),
        f"{error:.2f}" if np.isfinite(error) else "-",
    )


def _number(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "-"
    value = figure["mean"]
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4f}" if abs(value) < 1 else f"{value:.1f}"
