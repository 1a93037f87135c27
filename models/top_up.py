"""The second request for an item (top-up): more users, once its first feedback says who likes it.

i2u2u (eq. 5) proposes nobody for an item that nobody has touched; after the first likes it does.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .retrievals import Retrievals
from .similarity import SimilarLists, TwoHop
from .sparse_top import only_columns, ranked, top_of_product

TOP_UP_SOURCES = ("i2u2u", "i2i2u", "cf")
"""In turn each of them names its next best user; a user whom several name counts for the one that did so first."""


@dataclass(frozen=True, eq=False)
class FirstFeedback:
    """``item`` row; ``fans``: user rows who have liked it since the night; ``held``: user rows that it has or had."""

    item: int
    fans: np.ndarray
    held: np.ndarray


@dataclass(frozen=True, eq=False)
class Proposals:
    """``user`` int64[n] rows, best first, each once; ``source`` int8[n], places in TOP_UP_SOURCES."""

    user: np.ndarray
    source: np.ndarray


def top_up(feedback: FirstFeedback, available: np.ndarray, count: int, night: Retrievals, cf: TwoHop) -> Proposals:
    """The next users, at most ``count``, of an item after its first feedback; no fan, and nobody who holds it.

    ``available`` bool[users]: who has
    a place left. ``cf``: collaborative similarity of items. Pure but for lists that ``night`` keeps.
    Reads the fans' similar users, the item's similar items, and the items that these fans make similar to it.
    Raises ValueError for a negative ``count``, rows that do not exist or an ``available`` of another shape.
    """
    users = night.liked.users_of.shape[1]
    who = np.unique(np.asarray(feedback.fans, np.int64))
    out = np.concatenate([who, np.asarray(feedback.held, np.int64)])
    if count < 0 or (len(out) and not 0 <= out.min() <= out.max() < users):
        raise ValueError(f"count is {count}, users go from {out.min(initial=0)} to {out.max(initial=0)} of {users}")
    open_ = only_columns(sparse.csr_matrix(np.ones((1, users))), available).toarray()[0] > 0
    open_[out] = False
    having = sparse.csr_matrix((np.ones(len(who)), (np.zeros(len(who), np.int64), who)), shape=(1, users))
    likes = only_columns(night.liked.users_of, open_)
    found = (
        top_of_product(having, only_columns(_all(night.users, who, users), open_), count),
        top_of_product(night.items.of(np.array([feedback.item])), likes, count),
        top_of_product(cf.nearest_to(having, night.items.count), likes, count),
    )
    return _in_turn([ranked(part, count)[0] for part in found], count)


def _all(lists: SimilarLists, rows: np.ndarray, size: int) -> sparse.csr_matrix:
    """The similar lists of ``rows`` at their own rows of a matrix [size, size] that is else empty."""
    found = lists.of(rows)
    length = np.zeros(size, np.int64)
    length[rows] = np.diff(found.indptr)
    return sparse.csr_matrix((found.data, found.indices, np.concatenate([[0], np.cumsum(length)])), shape=(size, size))


def _in_turn(lists: list[np.ndarray], count: int) -> Proposals:
    """The lists (padded with -1) merged, one of each in turn, each user at the first place where they stand."""
    user = np.stack(lists, 1).ravel()
    source = np.tile(np.arange(len(lists), dtype=np.int8), len(user) // len(lists))
    user, source = user[user >= 0], source[user >= 0]
    first = np.sort(np.unique(user, return_index=True)[1])[:count]
    return Proposals(user[first], source[first])
