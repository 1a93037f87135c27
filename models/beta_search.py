"""The weights of the heads (beta of eq. 10) sought on past exposures: whom they would have chosen, and what those did.

For each item the exposures with the best scores are chosen, a given share of them, and the outcome is what these brought.
Everything is judged on exposures that happened: nothing is supposed about pairs that nobody saw, and nothing said of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

_STAGE = 41
_RESAMPLES = 1000
_SPREAD = 1.0  # standard deviation of the logarithm of a tried weight over the one that it starts from


@dataclass(frozen=True, eq=False)
class Replay:
    """Past exposures: ``p`` float[n, heads] as predicted before, ``happened`` bool[n, heads], ``item`` int64[n]."""

    p: np.ndarray
    happened: np.ndarray
    item: np.ndarray
    heads: tuple[str, ...]

    def take(self, rows: np.ndarray) -> "Replay":
        """Some of the exposures."""
        return Replay(self.p[rows], self.happened[rows], self.item[rows], self.heads)


@dataclass(frozen=True)
class Tuned:
    """``start`` and ``best``: weights by head. Of the exposures that the search did not see: ``before`` and ``after``, the
    mean outcome of the chosen ones; ``low`` and ``high``: 95 % interval of the difference over items; ``guards``: the share
    of the chosen with each guarded kind, before and after. ``tried``, and how many of them the guards ``refused``."""

    start: dict[str, float]
    best: dict[str, float]
    before: float
    after: float
    low: float
    high: float
    guards: dict[str, tuple[float, float]]
    tried: int
    refused: int

    @property
    def gains(self) -> bool:
        """Whether the difference is surely above zero."""
        return self.low > 0


def chosen(score: np.ndarray, item: np.ndarray, share: float) -> np.ndarray:
    """bool[n]: the best ``share`` of each item's exposures by score, one at least; ties go to the earlier row."""
    order = np.lexsort((np.arange(len(item)), -score, item))
    _, first, count = np.unique(item[order], return_index=True, return_counts=True)
    place = np.arange(len(item)) - np.repeat(first, count)
    kept = np.zeros(len(item), bool)
    kept[order] = place < np.maximum(1, np.round(share * np.repeat(count, count)))
    return kept


def tune_beta(  # noqa: PLR0917
    replay: Replay,
    start: Mapping[str, float],
    outcome: Mapping[str, float],
    guards: Mapping[str, float],
    share: float,
    tries: int,
    seed: int,
    done: Callable[[], None] = lambda: None,
) -> Tuned:
    """The best of ``tries`` random weights around ``start`` on half of the items, judged on the other half.

    ``outcome``: what a kind of feedback counts. ``guards``: kinds of which the chosen may not show less (+1) or more (-1)
    than those of ``start`` do on the same half. A weight of 0 stays 0, and a sign is kept. Raises ValueError without two
    items.
    """
    items = np.unique(replay.item)
    if len(items) < 2:
        raise ValueError(f"there are exposures of {len(items)} items, expected two or more to search on one half")
    rng = np.random.default_rng([seed, _STAGE])
    searched = np.isin(replay.item, rng.permutation(items)[: len(items) // 2])
    half, rest = replay.take(np.flatnonzero(searched)), replay.take(np.flatnonzero(~searched))
    first = np.array([start.get(kind, 0.0) for kind in replay.heads])
    best, value, refused = first, _mean(half, first, outcome, share), 0
    at_start = _shares(half, first, guards, share)
    for _ in range(tries):
        tried = first * np.exp(_SPREAD * rng.standard_normal(len(first)))
        shares = _shares(half, tried, guards, share)
        found = _mean(half, tried, outcome, share)
        if any(sign * (shares[kind] - at_start[kind]) < 0 for kind, sign in guards.items()):
            refused += 1
        elif found > value:
            best, value = tried, found
        done()
    low, high = _interval(_by_item(rest, first, outcome, share), _by_item(rest, best, outcome, share), rng)
    old, new = (_shares(rest, beta, guards, share) for beta in (first, best))
    scale = np.abs(first).max() / max(np.abs(best).max(), 1e-12)  # only ratios matter
    return Tuned(
        start=_named(replay.heads, first),
        best=_named(replay.heads, best * scale),
        before=_mean(rest, first, outcome, share),
        after=_mean(rest, best, outcome, share),
        low=low,
        high=high,
        guards={kind: (old[kind], new[kind]) for kind in guards},
        tried=tries,
        refused=refused,
    )


def _named(heads: tuple[str, ...], beta: np.ndarray) -> dict[str, float]:
    return {kind: float(f"{weight:.3g}") for kind, weight in zip(heads, beta, strict=True) if weight}


def _worth(replay: Replay, outcome: Mapping[str, float]) -> np.ndarray:
    weights = np.array([outcome.get(kind, 0.0) for kind in replay.heads])
    return np.asarray(replay.happened @ weights)


def _mean(replay: Replay, beta: np.ndarray, outcome: Mapping[str, float], share: float) -> float:
    return float(_worth(replay, outcome)[chosen(replay.p @ beta, replay.item, share)].mean())


def _shares(replay: Replay, beta: np.ndarray, guards: Mapping[str, float], share: float) -> dict[str, float]:
    kept = chosen(replay.p @ beta, replay.item, share)
    return {kind: float(replay.happened[kept, replay.heads.index(kind)].mean()) for kind in guards}


def _by_item(replay: Replay, beta: np.ndarray, outcome: Mapping[str, float], share: float) -> np.ndarray:
    """float64[2, items]: outcome and number of each item's chosen exposures; the number does not depend on the weights."""
    kept = chosen(replay.p @ beta, replay.item, share)
    _, place = np.unique(replay.item, return_inverse=True)
    return np.stack([np.bincount(place, np.where(kept, _worth(replay, outcome), 0.0)), np.bincount(place, kept)])


def _interval(before: np.ndarray, after: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % of the difference of the mean outcomes, over resampled items."""
    items = before.shape[1]
    drawn = rng.multinomial(items, np.full(items, 1 / items), _RESAMPLES)
    differences = drawn @ (after[0] - before[0]) / (drawn @ before[1])
    low, high = np.quantile(differences, [0.025, 0.975])
    return float(low), float(high)
