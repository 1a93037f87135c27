"""The retrievals by similarity (paper eqs. 3 to 5), both directions from the same likes and the same similar lists."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .similarity import Interactions, SimilarLists
from .sparse_top import only_columns, top_of_product


@dataclass(frozen=True, eq=False)
class Retrievals:
    """Each method answers with a float32 CSR matrix: for each row asked for, the ``count`` columns of the largest sums of
    weight, ties by column, columns ascending. ``available`` (bool, one for each column; None = all) is applied first.

    A sum runs over similar rows of (similarity x decayed like). What a user has seen is left to the caller.
    Memory is bounded by blocks, see ``top_of_product``. Raises ValueError for an ``available`` of another shape.
    """

    liked: Interactions
    items: SimilarLists
    users: SimilarLists
    threads: int = 1

    def i2i2u(self, items: np.ndarray, count: int, available: np.ndarray | None = None) -> sparse.csr_matrix:
        """Users who liked items similar to each of ``items`` (eq. 5): [len(items), users]."""
        return self._top(self.items.of(items), self.liked.users_of, count, available)

    def i2u2u(self, items: np.ndarray, count: int, available: np.ndarray | None = None) -> sparse.csr_matrix:
        """Users similar to those who liked each of ``items`` (eq. 5): [len(items), users]. Empty for untouched items."""
        return self._top(*_through(self.liked.users_of[items], self.users), count, available)

    def u2u2i(self, users: np.ndarray, count: int, available: np.ndarray | None = None) -> sparse.csr_matrix:
        """Items that users similar to each of ``users`` liked (eq. 3): [len(users), items]."""
        return self._top(self.users.of(users), self.liked.items_of, count, available)

    def u2i2i(self, users: np.ndarray, count: int, available: np.ndarray | None = None) -> sparse.csr_matrix:
        """Items similar to those that each of ``users`` liked (eq. 4): [len(users), items]."""
        return self._top(*_through(self.liked.items_of[users], self.items), count, available)

    def _top(
        self, left: sparse.csr_matrix, right: sparse.csr_matrix, count: int, available: np.ndarray | None
    ) -> sparse.csr_matrix:
        return top_of_product(left, only_columns(right, available), count, self.threads)


def _through(likes: sparse.csr_matrix, lists: SimilarLists) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """``likes`` over the columns that occur in it, and these columns' similar lists: no other list is computed."""
    there, place = np.unique(likes.indices, return_inverse=True)
    left = sparse.csr_matrix((likes.data, place, likes.indptr), shape=(likes.shape[0], len(there)))
    return left, lists.of(there)
