"""Columns of rates and means over the past of each row: of a key, or of the rows of a key that are near in some number."""

from collections.abc import Mapping

import numpy as np

from .past import Past

_NEAR_ROWS, _NEAR_LAST = 4.0, 256  # rows' worth of the rate above that is added to a rate of near rows; rows looked at
_LEAST = 1e-6  # of the rows before: below this weight nothing is known


class PastRates:
    """Columns of rates and means over some rows of the past: of every kind of feedback, of everything measured."""

    def __init__(self, kinds: Mapping[str, np.ndarray], measured: Mapping[str, np.ndarray]) -> None:
        """``kinds``: name -> bool[n], at least one; ``measured``: name -> float[n], NaN unknown."""
        self.kinds, self.measured = tuple(kinds), tuple(measured)
        parts = [flags.astype(np.float64) for flags in kinds.values()]
        for values in measured.values():
            known = np.isfinite(values)
            parts += [np.where(known, values, 0.0), known.astype(np.float64)]
        self.values = np.stack(parts, 1)

    def add(
        self, columns: dict[str, np.ndarray], name: str, past: Past, above: np.ndarray, smoothing: float
    ) -> np.ndarray:
        """Columns of one key: count, rates, means of what was measured. Returns the rates float64[n, kinds]."""
        return self._write(columns, name, past.counts(), past.sums(self.values), above, smoothing)

    def add_near(
        self,
        columns: dict[str, np.ndarray],
        name: str,
        past: Past,
        above: np.ndarray,
        place: np.ndarray,
        spread: Mapping[str, float],
    ) -> None:
        """The same over rows at about the same ``place`` float[n]: no edge parts 9.9 from 10, as between buckets."""
        weight, total = past.nearby(self.values, place, last=_NEAR_LAST, **spread)
        self._write(columns, name, weight, total, above, _NEAR_ROWS)

    def _write(
        self,
        columns: dict[str, np.ndarray],
        name: str,
        weight: np.ndarray,
        total: np.ndarray,
        above: np.ndarray,
        smoothing: float,
    ) -> np.ndarray:
        columns[f"{name}: rows"] = np.log1p(weight)
        kinds = len(self.kinds)
        rates = (total[:, :kinds] + smoothing * above) / (weight + smoothing)[:, None]
        for place, kind in enumerate(self.kinds):
            columns[f"{name}: {kind}"] = log_odds(rates[:, place]) - log_odds(above[:, place])
        for place, title in enumerate(self.measured):
            value, known = total[:, kinds + 2 * place], total[:, kinds + 2 * place + 1]
            columns[f"{name}: mean {title}"] = np.where(known > _LEAST, value, np.nan) / np.maximum(known, _LEAST)
        return rates


def log_odds(rate: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of rates kept within 1e-6 of 0 and 1."""
    kept = np.clip(rate, 1e-6, 1 - 1e-6)
    return np.log(kept / (1 - kept))
