"""What became of an allocation: hit rate, recall, precision and matches that came true."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..models.log import Log
from ..models.sparse_top import largest
from .night_view import NightView


@dataclass(frozen=True, eq=False)
class Truth:
    """What users did in the truth window. ``pairs`` int64: sorted item place * users + user place of known users who
    interacted with a new item. ``active`` bool[users]: who came. ``items``, ``users``: how many there are."""

    pairs: np.ndarray
    active: np.ndarray
    items: int
    users: int


def truth_of(view: NightView, users: np.ndarray, items: np.ndarray, early_users: bool) -> Truth:
    """The truth over known users and new items; ``early_users``: those who met an item on its upload day count too."""
    pairs = _pairs(view.truth, users, items)
    if not early_users:
        pairs = np.setdiff1d(pairs, _pairs(view.visits, users, items), assume_unique=True)
    return Truth(pairs, view.truth.known()[users], len(items), len(users))


def outcome(truth: Truth, item: np.ndarray, user: np.ndarray, wanted: int, min_truth: int) -> dict[str, float]:
    """Figures of the matches (item place, user place), as in metrics.json.

    hit_rate: share of matches whose user came. recall: |matched and truth| / min(wanted, |truth|), mean over the items with
    at least ``min_truth`` truth users; precision: |matched and truth| / wanted over the same items. came_true: matches
    whose user interacted with the item.
    """
    true = np.isin(item.astype(np.int64) * truth.users + user, truth.pairs)
    size = np.bincount(truth.pairs // truth.users, minlength=truth.items)
    got = np.bincount(item[true], minlength=truth.items)
    scored = (size >= max(min_truth, 1)) & (wanted > 0)
    return {
        "hit_rate": float(truth.active[user].mean()) if len(user) else 0.0,
        "recall": float((got[scored] / np.minimum(wanted, size[scored])).mean()) if scored.any() else float("nan"),
        "precision": float(got[scored].mean() / max(wanted, 1)) if scored.any() else float("nan"),
        "came_true": int(true.sum()),
        "items_scored": int(scored.sum()),
        "matches": len(item),
    }


def recall_without_cap(
    truth: Truth, rows: Callable[[np.ndarray], np.ndarray], wanted: int, min_truth: int
) -> float | None:
    """Recall, as in `outcome`, if every item got its ``wanted`` best users by ``rows``, however often a user is taken.

    ``rows`` gives scores float32[n, users] of item places, 0 for pairs that may not be matched. None without scored items.
    """
    size = np.bincount(truth.pairs // truth.users, minlength=truth.items)
    scored = np.flatnonzero(size >= max(min_truth, 1))
    shares = []
    for item in scored if wanted else ():
        row = rows(np.array([item]))[0]
        best = largest(np.arange(truth.users), row, wanted)
        low, high = np.searchsorted(truth.pairs, [item * truth.users, (item + 1) * truth.users])
        true = np.isin(truth.pairs[low:high] - item * truth.users, best)
        shares.append(true.sum() / min(wanted, high - low))
    return float(np.mean(shares)) if shares else None


def _pairs(log: Log, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    user_place, item_place = np.full(log.users, -1, np.int64), np.full(log.items, -1, np.int64)
    user_place[users], item_place[items] = np.arange(len(users)), np.arange(len(items))
    item, user = item_place[log.item], user_place[log.user]
    rows = np.flatnonzero((item >= 0) & (user >= 0) & log.positive())
    return np.unique(item[rows] * len(users) + user[rows])
