"""What the platform has learnt from its own exposures: vectors of users, rates of items and creators, visits, models."""

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from .exposures import Exposures
from .items import Items
from .options import PlatformOptions

VALUE = {"watches": 0.25, "likes": 1.0, "comments": 1.0, "follows": 1.0}
"""Weight of each kind of feedback in the value that matching predicts: explicit ones count more (paper, section 3.3.2)."""

MOST_VALUE = sum(VALUE.values())
HISTORY_DAYS = 28
_CREATOR_PRIOR = 60.0
_USER_PRIOR = 40.0
_GRID = 2.0**-20


@dataclass(eq=False)
class Knowledge:
    """Columns: ``taste_sum`` float64[users, dim] and ``taste_weight`` float64[users], decayed; of users ``shows``,
    ``watches``, ``values`` and ``explicit`` float64; ``visited`` bool[users, 28], yesterday first; ``seen`` int32[users, n],
    the items seen last, and where the next goes, ``seen_at``. ``models``: weights by name. ``rows``: of recent exposures,
    by day."""

    taste_sum: np.ndarray
    taste_weight: np.ndarray
    shows: np.ndarray
    watches: np.ndarray
    values: np.ndarray
    explicit: np.ndarray
    visited: np.ndarray
    seen: np.ndarray
    seen_at: np.ndarray
    models: dict[str, np.ndarray] = field(default_factory=dict)
    rows: list[dict[str, np.ndarray]] = field(default_factory=list)


def nothing_known(options: PlatformOptions) -> Knowledge:
    """Before the first day."""
    users, dim = options.people.users, options.people.dim
    return Knowledge(
        taste_sum=np.zeros((users, dim)),
        taste_weight=np.zeros(users),
        shows=np.zeros(users),
        watches=np.zeros(users),
        values=np.zeros(users),
        explicit=np.zeros(users),
        visited=np.zeros((users, HISTORY_DAYS), bool),
        seen=np.full((users, options.recommender.seen_remembered), -1, np.int32),
        seen_at=np.zeros(users, np.int64),
    )


def user_vectors(options: PlatformOptions, known: Knowledge) -> np.ndarray:
    """float32[users, dim]: the mean content of what a user watched, less what it did not, shrunk where little is known."""
    weight = known.taste_weight + options.recommender.taste_prior
    # To a grid: the sums behind it may be of another order on another machine.
    return np.asarray(np.round(known.taste_sum / weight[:, None] / _GRID) * _GRID, np.float32)


def learn(known: Knowledge, items: Items, shown: Exposures) -> None:
    """Takes in exposures, in any order, and counts them for the items too."""
    users = len(known.taste_weight)
    usual = known.watches.sum() / max(known.shows.sum(), 1.0)
    explicit = shown.like.astype(np.float64) + shown.comment + shown.follow
    liked = shown.watched - usual + explicit
    exposures = sparse.csr_matrix((liked, (shown.user, np.arange(len(shown)))), shape=(users, len(shown)))
    known.taste_sum += exposures @ items.content[shown.item].astype(np.float64)
    count = np.bincount(shown.user, minlength=users).astype(np.float64)
    known.taste_weight += count
    known.shows += count
    known.watches += np.bincount(shown.user, shown.watched, users)
    known.values += np.bincount(shown.user, value_of(shown), users)
    known.explicit += np.bincount(shown.user, explicit, users)
    size = len(items)
    items.shows += np.bincount(shown.item, minlength=size)
    for name, happened in (
        ("watches", shown.watched),
        ("likes", shown.like),
        ("comments", shown.comment),
        ("follows", shown.follow),
    ):
        counted = getattr(items, name)
        counted += np.bincount(shown.item[happened], minlength=size)


def remember_seen(known: Knowledge, shown: Exposures) -> None:
    """Notes what users saw, so that it is not shown to them again; ``shown`` by user."""
    width = known.seen.shape[1]
    first = np.searchsorted(shown.user, shown.user)
    at = (known.seen_at[shown.user] + np.arange(len(shown)) - first) % width
    known.seen[shown.user, at] = shown.item
    known.seen_at = (known.seen_at + np.bincount(shown.user, minlength=len(known.seen_at))) % width


def value_of(shown: Exposures) -> np.ndarray:
    """float64[n] from 0 to 1: the weighted feedback of each exposure."""
    parts = (shown.watched, shown.like, shown.comment, shown.follow)
    total = sum(weight * part for weight, part in zip(VALUE.values(), parts, strict=True))
    return np.asarray(total / MOST_VALUE)


def item_rates(options: PlatformOptions, items: Items, creators: int) -> dict[str, np.ndarray]:
    """Log-odds float64[items]: ``watch`` and ``value``, the items' smoothed rates; ``watch_prior`` and ``value_prior``, what
    they are smoothed towards: the rate of the creator, itself smoothed towards the rate of all."""
    value = sum(weight * getattr(items, name) for name, weight in VALUE.items()) / MOST_VALUE
    found = {}
    for name, good in (("watch", items.watches.astype(np.float64)), ("value", np.asarray(value, np.float64))):
        of_all = (good.sum() + 1.0) / (items.shows.sum() + 10.0)
        shows = np.bincount(items.creator, items.shows, creators)
        of_creator = (np.bincount(items.creator, good, creators) + _CREATOR_PRIOR * of_all) / (shows + _CREATOR_PRIOR)
        expected = of_creator[items.creator]
        weight = options.recommender.rate_prior
        found[name] = _logit((good + weight * expected) / (items.shows + weight))
        found[f"{name}_prior"] = _logit(expected)
    return found


def user_rates(known: Knowledge) -> dict[str, np.ndarray]:
    """``watch`` and ``value``: log-odds float64[users] of the users' smoothed rates; ``theta``: the smoothed rate of
    explicit feedback (eq. 10), as a multiple of that of all."""
    found = {}
    total = max(known.shows.sum(), 1.0)
    for name, good in (("watch", known.watches), ("value", known.values)):
        of_all = (good.sum() + 1.0) / (total + 10.0)
        found[name] = _logit((good + _USER_PRIOR * of_all) / (known.shows + _USER_PRIOR))
    of_all = (known.explicit.sum() + 1.0) / (total + 10.0)
    theta = (known.explicit + _USER_PRIOR * of_all) / (known.shows + _USER_PRIOR)
    found["theta"] = theta / of_all
    return found


def coarse_vectors(items: Items, topics: int, creators: int) -> np.ndarray:
    """float32[items, dim]: what topic and creator alone say of an item: the mean content of the topic's items and of the
    creator's others. The two-tower model of v1 knows no more (the paper adds content understanding in v3)."""
    content = items.content.astype(np.float64)
    of_topic, of_creator = _sums(items.topic, content, topics), _sums(items.creator, content, creators)
    count = np.bincount(items.topic, minlength=topics)[items.topic]
    topic = of_topic[items.topic] / np.maximum(count, 1)[:, None]
    others = np.bincount(items.creator, minlength=creators)[items.creator] - 1
    creator = (of_creator[items.creator] - content + topic) / (others + 1)[:, None]
    return np.asarray(np.round((topic + creator) / 2 / _GRID) * _GRID, np.float32)


def forget(options: PlatformOptions, known: Knowledge, came: np.ndarray) -> None:
    """The end of a day: ``came`` bool[users]; what was learnt fades."""
    memory = options.recommender.taste_memory
    for fading in (known.taste_sum, known.taste_weight, known.shows, known.watches, known.values, known.explicit):
        np.multiply(fading, memory, out=fading)
    known.visited = np.concatenate([came[:, None], known.visited[:, :-1]], 1)


def _sums(row: np.ndarray, values: np.ndarray, rows: int) -> np.ndarray:
    matrix = sparse.csr_matrix((np.ones(len(row)), (row, np.arange(len(row)))), shape=(rows, len(row)))
    return np.asarray(matrix @ values)


def _logit(rate: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(rate / (1.0 - rate)))
