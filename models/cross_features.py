"""Columns of user and item together for the feedback heads, each from interactions strictly before its row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .log import Log
from .past import Past
from .past_rates import PastRates, log_odds

_USER, _CROSS, _ITEM = 15.0, 8.0, 10.0  # rows' worth of the rate above that is added to a rate of its own
_LATELY = (3, 12)
_SPANS = {"10min": 1 / 144, "2h": 1 / 12, "1d": 1.0, "3d": 3.0}
_BUCKETS_PER_DOUBLING = 2
# Spread of what is near, in log(1 + number) or in days of the hour, and how many days halve it.
_NEAR: dict[str, dict[str, float]] = {"": {"width": 0.6}, ", lately": {"width": 0.25, "half_life": 2.0}}
_NEAR_HOUR = {"width": 0.08, "period": 1.0}


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureSources:
    """A log and what else is known of its users, items and rows.

    ``creator`` int32[items], -1 unknown. ``item_numbers``, ``user_numbers``: name -> float32[items] or [users], NaN
    unknown, known before any interaction. ``crossed``: the names of item numbers, such as a duration, whose buckets (two
    for each doubling) are crossed with the user. ``user_codes``: name -> int32[users], -1 unknown. ``measured``: name ->
    float64[n], what was measured **in** an interaction, such as its watch time; only later rows see it.
    """

    log: Log
    creator: np.ndarray | None = None
    item_numbers: Mapping[str, np.ndarray] = field(default_factory=dict)
    user_numbers: Mapping[str, np.ndarray] = field(default_factory=dict)
    crossed: tuple[str, ...] = ()
    user_codes: Mapping[str, np.ndarray] = field(default_factory=dict)
    measured: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Features:
    """``values`` float32[n, features], NaN unknown, and the ``names`` of the features."""

    values: np.ndarray
    names: tuple[str, ...]

    def take(self, rows: np.ndarray) -> "Features":
        """Some of the rows."""
        return Features(self.values[rows], self.names)


def cross_features(sources: FeatureSources, known: Literal["row", "day"] = "row") -> Features:
    """One row for each interaction of the log, from those at a strictly earlier time (``known`` "row") or on earlier days
    ("day"), and what is static.

    Rates of every kind of feedback in the log are smoothed log-odds less those of the level above: the user's own less
    everybody's, the user's on a bucket, category, creator, the same item, about the same number or hour less the user's,
    the item's less everybody's. About 60 passes over the log, and at most 256 over the rows of busy users for each of the
    columns "near".
    """
    log = sources.log
    time = log.day if known == "row" else np.floor(log.day)
    columns: dict[str, np.ndarray] = {}
    outcome = np.stack([*log.kinds.values()], 1)
    table = PastRates(log.kinds, sources.measured)
    everybody = Past(np.zeros(len(log), np.int64), time)
    overall = (everybody.sums(outcome) + 1.0) / (everybody.counts() + 4.0)[:, None]
    user = Past(log.user, time)
    own = table.add(columns, "user", user, overall, _USER)
    item = table.add(columns, "item", Past(log.item, time), overall, _ITEM)
    keys = _crosses(sources)
    for name, key in keys.items():
        table.add(columns, name, Past(key, time), overall, _ITEM)
        pair = np.where(key < 0, -1, log.user * (np.int64(key.max(initial=0)) + 1) + key)
        table.add(columns, f"user x {name}", Past(pair, time), own, _CROSS)
    again = Past(log.user * np.int64(log.items) + log.item, time)
    table.add(columns, "user x item", again, own, _CROSS)
    columns["user x item: gap"] = again.gap()
    table.add_near(columns, "user near hour", user, own, log.day % 1, _NEAR_HOUR)
    for name in sources.crossed:
        place = np.log1p(np.maximum(sources.item_numbers[name], 0.0))[log.item]
        for when, spread in _NEAR.items():
            table.add_near(columns, f"user near {name}{when}", user, own, place, spread)
    _lately(columns, user, outcome, own, tuple(log.kinds))
    _lift(columns, log, time, outcome, own, item)
    _moments(columns, log, time, user)
    _static(columns, sources)
    values = np.stack([*columns.values()], 1).astype(np.float32) if columns else np.zeros((len(log), 0), np.float32)
    return Features(values, tuple(columns))


def _crosses(sources: FeatureSources) -> dict[str, np.ndarray]:
    """int64[n] keys of each row's item that are crossed with its user, -1 unknown."""
    log = sources.log
    keys = {}
    if not log.tokens_are_items:
        keys["category"] = log.token[log.item].astype(np.int64)
    if sources.creator is not None:
        keys["creator"] = sources.creator[log.item].astype(np.int64)
    for name in sources.crossed:
        keys[name] = bucket(sources.item_numbers[name])[log.item]
    return keys


def bucket(values: np.ndarray) -> np.ndarray:
    """int64[n]: two buckets for each doubling of 1 + value, from fixed edges; -1 where unknown or negative."""
    with np.errstate(invalid="ignore"):
        place = np.floor(_BUCKETS_PER_DOUBLING * np.log2(1.0 + np.maximum(values, 0.0)))
        return np.where(values >= 0, place, -1).astype(np.int64)


def _lately(
    columns: dict[str, np.ndarray], user: Past, outcome: np.ndarray, own: np.ndarray, kinds: tuple[str, ...]
) -> None:
    """The user's last row, and rates over the last few."""
    for last in _LATELY:
        count = user.counts(last)
        rate = (user.sums(outcome, last) + 2.0 * own) / (count + 2.0)[:, None]
        for place, kind in enumerate(kinds):
            columns[f"user, last {last}: {kind}"] = log_odds(rate[:, place]) - log_odds(own[:, place])
    since = user.since(outcome)
    for place, kind in enumerate(kinds):
        columns[f"user: since {kind}"] = np.log(since[:, place] + 1e-5)


def _lift(
    columns: dict[str, np.ndarray], log: Log, time: np.ndarray, outcome: np.ndarray, own: np.ndarray, item: np.ndarray
) -> None:
    """Whether the item did better than its users' own rates promised, and the user better than the items' rates."""
    for name, key, promised in (("item", log.item, own), ("user", log.user, item)):
        past = Past(key, time)
        excess = past.sums(outcome - promised) / (past.counts() + _ITEM)[:, None]
        for place, kind in enumerate(log.kinds):
            columns[f"{name}, beyond its rows: {kind}"] = excess[:, place]


def _moments(columns: dict[str, np.ndarray], log: Log, time: np.ndarray, user: Past) -> None:
    """When the row is, how busy the user and the item have been, and since when they are known."""
    hour, item = log.day % 1, Past(log.item, time)
    columns["hour, sine"], columns["hour, cosine"] = np.sin(2 * np.pi * hour), np.cos(2 * np.pi * hour)
    columns["rest day"] = log.is_rest(np.floor(log.day)).astype(float)
    for name, span in _SPANS.items():
        columns[f"user, last {name}: rows"] = np.log1p(user.within(span))
        if span >= 1:
            columns[f"item, last {name}: rows"] = np.log1p(item.within(span))
    columns["user: gap"], columns["item: gap"] = np.log(user.gap() + 1e-5), np.log(item.gap() + 1e-5)
    columns["user: known for"], columns["item: known for"] = user.age(), item.age()
    columns["item: age"] = np.maximum(log.day - log.upload[log.item], 0.0)


def _static(columns: dict[str, np.ndarray], sources: FeatureSources) -> None:
    log = sources.log
    for name, values in sources.item_numbers.items():
        columns[f"item's {name}"] = _signed_log(values)[log.item]
    for name, values in sources.user_numbers.items():
        columns[f"user's {name}"] = _signed_log(values)[log.user]
    for name, codes in sources.user_codes.items():
        columns[f"user's {name}"] = np.where(codes < 0, np.nan, codes)[log.user]


def _signed_log(values: np.ndarray) -> np.ndarray:
    """A monotone scale that keeps large numbers near small ones."""
    return np.sign(values) * np.log1p(np.abs(values))
