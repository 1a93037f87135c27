"""Similarity services: which rows are most like these? One interface for items and for users."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from scipy import sparse

from .log import Log
from .sparse_top import top_of_product

HALF_LIFE_DAYS = 4.0


class Similarity(Protocol):
    """A service over n rows, all items or all users. ``how`` says by what it judges."""

    @property
    def how(self) -> str:
        """Such as "cf", "graph", "content"."""
        ...

    def nearest(self, rows: np.ndarray, count: int, threads: int = 1) -> sparse.csr_matrix:
        """float32 CSR [len(rows), n]: weights > 0 of the ``count`` most similar rows of each of ``rows``.

        Never the row itself; ties by row; columns ascending. The same bytes for any ``threads`` and any grouping of rows.
        """
        ...


@dataclass(frozen=True, eq=False)
class Interactions:
    """Who liked what: CSR float64 ``users_of`` [items, users] and, the same turned, ``items_of`` [users, items].

    A weight is the sum of 0.5 ** (age / 4 days) over the pair's positive interactions.
    """

    users_of: sparse.csr_matrix
    items_of: sparse.csr_matrix


def interactions(log: Log, day: int) -> Interactions:
    """At the end of ``day``, with which ``log`` must end. Two passes over the log, 24 bytes a pair."""
    rows = np.flatnonzero(log.positive())
    weight = 0.5 ** ((day + 1 - log.day[rows]) / HALF_LIFE_DAYS)
    users_of = sparse.csr_matrix((weight, (log.item[rows], log.user[rows])), shape=(log.items, log.users))
    users_of.sum_duplicates()
    return Interactions(users_of, users_of.T.tocsr())


@dataclass(frozen=True, eq=False)
class TwoHop:
    """Similarity as a product: from a row to what it has (``left`` CSR [n, m]), from there to rows (``right`` [m, n])."""

    how: str
    left: sparse.csr_matrix
    right: sparse.csr_matrix

    def nearest(self, rows: np.ndarray, count: int, threads: int = 1) -> sparse.csr_matrix:
        """See ``Similarity``."""
        return top_of_product(self.left[rows], self.right, count, threads, own=rows)

    def nearest_to(self, having: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
        """The same for rows that are not among the n, from what they have: CSR [k, m], up to a factor of each row."""
        return top_of_product(having, self.right, count)


@dataclass(eq=False)
class SimilarLists:
    """The ``count`` most similar rows of each row that was ever asked for: no list is computed twice.

    Keeps 12 bytes for each similar pair, and 8 for each of the ``size`` rows.
    """

    service: Similarity
    count: int
    size: int
    threads: int = 1
    _lists: sparse.csr_matrix = field(init=False, repr=False)
    _place: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._lists = sparse.csr_matrix((0, self.size), dtype=np.float32)
        self._place = np.full(self.size, -1, np.int64)

    def of(self, rows: np.ndarray) -> sparse.csr_matrix:
        """float32 CSR [len(rows), size], as ``Similarity.nearest``."""
        new = np.unique(rows[self._place[rows] < 0]).astype(np.int64)
        if len(new):
            found = self.service.nearest(new, self.count, self.threads)
            self._place[new] = self._lists.shape[0] + np.arange(len(new))
            self._lists = sparse.csr_matrix(sparse.vstack([self._lists, found], format="csr"))
        return self._lists[self._place[rows]]
