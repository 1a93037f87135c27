"""Simple scores without a trained ranking: how much a user likes the item's category, times the chance to come."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from ..models.log import Log
from .artifacts import load_array, save_arrays
from .errors import InputError
from .night_view import NightView, load_view
from .scorer import excluded_pairs
from .stage import StageContext

CATEGORY_PRIOR = 0.1
"""Interactions added to each user's count in every category, so that nobody's affinity is 0."""

TOTAL_PRIOR = 5.0
"""Interactions added to each user's total: one click alone does not make a share of 1."""

_FIELDS = ("indptr", "user", "affinity", "base")


@dataclass(frozen=True, eq=False)
class CategoryAffinity:
    """(interactions in the category + CATEGORY_PRIOR) / (interactions + TOTAL_PRIOR), by category and user.

    ``indptr`` int64[categories + 1], ``user`` int32[n], ``affinity`` float32[n]: the users with interactions in each
    category. ``base`` float32[users]: each user's affinity to any other category.
    """

    indptr: np.ndarray
    user: np.ndarray
    affinity: np.ndarray
    base: np.ndarray

    def row(self, category: int) -> np.ndarray:
        """float32[users] > 0: affinity of every user to a category, -1 where it is not known."""
        row = self.base.copy()
        if category >= 0:
            part = slice(self.indptr[category], self.indptr[category + 1])
            row[self.user[part]] = self.affinity[part]
        return row


def category_affinity(past: Log, users: np.ndarray) -> CategoryAffinity:
    """The affinities of ``users`` from the interactions of ``past``; int64 rows, every user of ``past`` among them.

    Interactions that are no positives and those with items without a category count nothing.
    """
    place = np.full(past.users, -1, np.int64)
    place[users] = np.arange(len(users))
    rows = np.flatnonzero(past.positive() & (past.token[past.item] >= 0))
    pairs = (place[past.user[rows]], past.token[past.item[rows]])
    counts = sparse.coo_matrix((np.ones(len(rows)), pairs), shape=(len(users), past.tokens)).tocsc()
    total = np.bincount(pairs[0], minlength=len(users)) + TOTAL_PRIOR
    affinity = (counts.data + CATEGORY_PRIOR) / total[counts.indices]
    return CategoryAffinity(
        counts.indptr.astype(np.int64),
        counts.indices.astype(np.int32),
        affinity.astype(np.float32),
        (CATEGORY_PRIOR / total).astype(np.float32),
    )


@dataclass(frozen=True, eq=False)
class CategoryScores:
    """score(item, user) = the user's affinity to the item's category * P(user comes tomorrow).

    ``category`` int[items], -1 unknown. ``p_active`` float32[users]. ``excluded`` int64: sorted item * users + user of
    the pairs that may not be matched.
    """

    affinity: CategoryAffinity
    category: np.ndarray
    p_active: np.ndarray
    excluded: np.ndarray

    @property
    def items(self) -> int:
        """Number of items."""
        return len(self.category)

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.p_active)

    def rows(self, items: np.ndarray) -> np.ndarray:
        """Scores float32[len(items), users] >= 0 of these item places, 0 for pairs that may not be matched."""
        categories, which = np.unique(self.category[items], return_inverse=True)
        scores: np.ndarray = np.stack([self.affinity.row(int(one)) * self.p_active for one in categories])[which]
        starts = np.asarray(items, np.int64) * self.users
        parts = zip(*np.searchsorted(self.excluded, [starts, starts + self.users]), strict=True)
        for row, start, (low, high) in zip(scores, starts, parts, strict=True):
            row[self.excluded[low:high] - start] = 0.0
        return scores


def run(context: StageContext) -> None:
    """Stage `affinity`: `users` int64 rows of the known users, `items` int64 rows of the new ones in upload order, and
    the fields of `CategoryAffinity`. Raises InputError where the data has no categories."""
    view = load_view(context.input("tables"))
    if view.tables.item_category is None:
        raise InputError(
            f"{view.tables.name} has no categories, which --scores category needs; "
            "give the items a category, or use --scores model"
        )
    users = np.flatnonzero(view.visits.known())
    made = category_affinity(view.past, users)
    save_arrays(
        context.out, users=users, items=view.new_items, **{name: np.asarray(getattr(made, name)) for name in _FIELDS}
    )


def load_category_scores(view: NightView, affinity: Path, activity: Path) -> CategoryScores:
    """The scores over the users and items of the stage `affinity`, with P(active) of the stage `activity`."""
    users, items = load_array(affinity / "users.npy"), load_array(affinity / "items.npy")
    return CategoryScores(
        CategoryAffinity(*(np.array(load_array(affinity / f"{name}.npy")) for name in _FIELDS)),
        view.log.token[items],
        np.array(load_array(activity / "p_active.npy")[users]),
        excluded_pairs(view, users, items),
    )
