"""Users in lists by the direction of their vectors, and the lists nearest to an item: an inverted file (faiss k-means)."""

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

_faiss: Any = faiss  # its type stubs know neither keyword arguments nor arrays in place of pointers

TRAINED_ON = 64
"""Users for each list that the lists' centres are learnt from."""

ITERATIONS = 8
"""Of k-means."""


@dataclass(frozen=True, eq=False)
class UserLists:
    """Every user in one list.

    order   int32[users], user rows list after list, ascending within each
    bounds  int64[lists + 1], where the lists begin and end in `order`
    centres float32[lists, k] of length 1
    """

    order: np.ndarray
    bounds: np.ndarray
    centres: np.ndarray

    def nearest(self, item_vector: np.ndarray, probes: int) -> np.ndarray:
        """int32[items, probes]: the lists whose centres have the largest products with float32[items, k], ascending.

        Fewer columns where there are fewer lists. Raises ValueError for vectors of another length.
        """
        if item_vector.ndim != 2 or item_vector.shape[1] != self.centres.shape[1]:
            raise ValueError(f"item vectors have shape {item_vector.shape}, expected (items, {self.centres.shape[1]})")
        found = _index(self.centres).search(
            np.ascontiguousarray(item_vector, np.float32), min(probes, len(self.centres))
        )[1]
        return np.sort(found, axis=1).astype(np.int32)


def user_lists(user_vector: np.ndarray, lists: int = 1024, seed: int = 0) -> UserLists:
    """The lists of float32[users, k], fewer than `lists` where there are not TRAINED_ON users for each.

    k-means on a sample of TRAINED_ON users a list, on one thread, then every user to the nearest centre: the same lists
    always. Time: users x lists x k multiplications; memory 4 (k + 2) bytes a user beside the vectors. Raises ValueError
    without users.
    """
    if user_vector.ndim != 2 or not len(user_vector) or lists < 1:
        raise ValueError(f"user vectors have shape {user_vector.shape} and lists is {lists}, expected some of both")
    lists = min(lists, max(1, len(user_vector) // TRAINED_ON))
    length = np.linalg.norm(user_vector, axis=1, keepdims=True)
    direction = np.ascontiguousarray(user_vector / np.maximum(length, 1e-12), np.float32)
    sample = np.random.default_rng([seed, 3]).permutation(len(direction))[: lists * TRAINED_ON]
    _faiss.omp_set_num_threads(1)  # sums of k-means depend on it; counts for this thread only
    means = _faiss.Kmeans(direction.shape[1], lists, niter=ITERATIONS, spherical=True, seed=seed)
    means.cp.min_points_per_centroid = 1
    means.train(np.ascontiguousarray(direction[np.sort(sample)]))
    centres = np.array(means.centroids, np.float32)
    nearest = _index(centres).search(direction, 1)[1].ravel()
    bounds = np.concatenate([[0], np.cumsum(np.bincount(nearest, minlength=lists))])
    return UserLists(np.argsort(nearest, kind="stable").astype(np.int32), bounds, centres)


def _index(centres: np.ndarray) -> Any:
    index = _faiss.IndexFlatIP(centres.shape[1])
    index.add(centres)
    return index
