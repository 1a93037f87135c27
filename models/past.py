"""Counts and sums over what came strictly before each row, by key: the features of a row never see its own outcome."""

from functools import cached_property

import numpy as np

# Sums of numbers on this grid are exact in int64, so that later rows cannot change earlier features by rounding.
GRID = 2.0**-16


class Past:
    """For each row, the rows of the same key at a strictly earlier time. Rows at the same time do not see each other.

    ``key`` int[n], -1 where there is none: such rows have no past. ``time`` float64[n], in any unit and any order.
    """

    def __init__(self, key: np.ndarray, time: np.ndarray) -> None:
        self.order = np.lexsort((time, key))
        self.key, self.time = np.asarray(key, np.int64)[self.order], np.asarray(time, np.float64)[self.order]
        other = np.r_[True, self.key[1:] != self.key[:-1]] if len(key) else np.zeros(0, bool)
        later = other.copy()
        later[1:] |= self.time[1:] > self.time[:-1]
        places = np.arange(len(key))
        self.start = np.maximum.accumulate(np.where(other, places, 0)) if len(key) else places
        self.stop = np.maximum.accumulate(np.where(later, places, 0)) if len(key) else places
        self.stop[self.key < 0] = self.start[self.key < 0]

    def counts(self, last: int | None = None) -> np.ndarray:
        """int64[n]: how many rows came before, at most ``last``."""
        return self._rows(self.stop - self._first(last))

    def sums(self, values: np.ndarray, last: int | None = None) -> np.ndarray:
        """float64[n, m]: sums of ``values`` (bool or float[n, m], taken to the grid) over the rows before, the ``last`` of
        them if given. Exact."""
        whole = np.zeros((len(values) + 1, values.shape[1]), np.int64)
        np.cumsum(_on_grid(values)[self.order], axis=0, out=whole[1:])
        return self._rows((whole[self.stop] - whole[self._first(last)]) * GRID)

    def within(self, span: float) -> np.ndarray:
        """int64[n]: how many of the rows before are at most ``span`` older."""
        # The edges are sorted in among the rows: how many rows stand before an edge, and in exact comparisons.
        size = len(self.key)
        edge = np.repeat([False, True], size)
        order = np.lexsort((~edge, np.r_[self.time, self.time - span], np.r_[self.key, self.key]))
        rows_before = np.cumsum(~edge[order])
        first = np.empty(2 * size, np.int64)
        first[order] = rows_before
        return self._rows(np.maximum(self.stop - np.maximum(first[size:], self.start), 0))

    def gap(self) -> np.ndarray:
        """float64[n]: time since the last row before, NaN where there is none."""
        return self._rows(np.where(self._none, np.nan, self.time - self.time[np.maximum(self.stop - 1, 0)]))

    def age(self) -> np.ndarray:
        """float64[n]: time since the first row of the key, NaN where none came before."""
        return self._rows(np.where(self._none, np.nan, self.time - self.time[self.start]))

    def since(self, flags: np.ndarray) -> np.ndarray:
        """float64[n, m]: time since the last row before with each of ``flags`` bool[n, m], NaN where there is none."""
        places = np.where(flags[self.order], np.arange(len(flags))[:, None], -1)
        last = np.full((len(flags) + 1, flags.shape[1]), -1)
        np.maximum.accumulate(places, axis=0, out=last[1:])
        last = last[self.stop]
        never = last < self.start[:, None]
        return self._rows(np.where(never, np.nan, self.time[:, None] - self.time[np.maximum(last, 0)]))

    def nearby(
        self,
        values: np.ndarray,
        place: np.ndarray,
        *,
        width: float,
        last: int,
        half_life: float | None = None,
        period: float | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weights float64[n] and weighted sums float64[n, m] of ``values`` float64[n, m] over the ``last`` rows before.

        A row before counts exp(-(distance / width)^2 / 2), the distance being that of ``place`` float64[n], and half as much
        for each ``half_life`` that it is older, if given. With a ``period``, places are near across its end too. Where
        either place is NaN it counts 0. Takes ``last`` passes.
        """
        # One pass for each step back, so that a row's sum has the same order whatever stands around it.
        values, place = np.asarray(values, np.float64)[self.order], np.asarray(place, np.float64)[self.order]
        weight, total = np.zeros(len(place)), np.zeros(values.shape)
        rows = np.flatnonzero(np.isfinite(place))
        for back in range(1, last + 1):
            rows = rows[self.stop[rows] - back >= self.start[rows]]
            if not len(rows):
                break
            before = self.stop[rows] - back
            distance = place[rows] - place[before]
            if period is not None:
                distance -= period * np.round(distance / period)
            exponent = -0.5 * (distance / width) ** 2
            if half_life is not None:
                exponent -= np.log(2.0) * (self.time[rows] - self.time[before]) / half_life
            near = np.where(np.isfinite(exponent), np.exp(exponent), 0.0)
            weight[rows] += near
            total[rows] += near[:, None] * values[before]
        return self._rows(weight), self._rows(total)

    @cached_property
    def _none(self) -> np.ndarray:
        return self.stop == self.start

    def _first(self, last: int | None) -> np.ndarray:
        return self.start if last is None else np.maximum(self.start, self.stop - last)

    def _rows(self, sorted_values: np.ndarray) -> np.ndarray:
        """From sorted places back to rows."""
        out = np.empty_like(sorted_values)
        out[self.order] = sorted_values
        return out


def _on_grid(values: np.ndarray) -> np.ndarray:
    return np.round(np.asarray(values, np.float64) / GRID).astype(np.int64)
