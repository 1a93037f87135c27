"""i2i2u (paper eq. 5): users who interacted with items similar to the new one, by content or by category."""

from itertools import pairwise

import numpy as np
from scipy import sparse

from .log import Log
from .tower_inputs import ItemInputs

_SIMILAR = 50
_HALF_LIFE_DAYS = 4.0
_BLOCK = 256


def similar_item_users(log: Log, day: int, inputs: ItemInputs, count: int) -> tuple[np.ndarray, str]:
    """int64[items, count] user rows, the most involved with similar items first, -1 where there are fewer.

    Similar are the 50 items nearest by content (cosine) that were interacted with; where the data has no content, those
    of the same category; where it has neither, those that the same users interacted with. Also returns which it was.
    """
    rows = np.flatnonzero(log.positive())
    weight = 0.5 ** ((day + 1 - log.day[rows]) / _HALF_LIFE_DAYS)
    users_of = sparse.csr_matrix((weight, (log.item[rows], log.user[rows])), shape=(log.items, log.users))
    users_of.sum_duplicates()
    if log.content.shape[1]:
        return _best_users(_by_content(log, inputs, users_of), users_of, count), "content"
    if log.tokens_are_items:
        return _best_users(inputs.audience.astype(np.float64), users_of, count), "users"
    found = _best_users(_members(log), users_of, count)
    return np.append(found, np.full((1, count), -1), 0)[inputs.token], "category"


def _by_content(log: Log, inputs: ItemInputs, users_of: sparse.csr_matrix) -> sparse.csr_matrix:
    """float32 CSR [new items, items]: cosine with the nearest items that were interacted with, none below 0."""
    seen = np.flatnonzero(np.diff(users_of.indptr))
    shape = (len(inputs.rows), log.items)
    if not len(seen) or not len(inputs.rows):
        return sparse.csr_matrix(shape, dtype=np.float32)
    base, wanted, most = _unit(log.content[seen]), _unit(inputs.content), min(_SIMILAR, len(seen))
    places, values = [], []
    for start in range(0, len(wanted), _BLOCK):
        product = wanted[start : start + _BLOCK] @ base.T
        best = np.sort(np.argpartition(-product, most - 1, axis=1)[:, :most], 1)
        places.append(best.ravel())
        values.append(np.maximum(np.take_along_axis(product, best, 1), 0).ravel())
    item = np.repeat(np.arange(len(wanted)), most)
    return sparse.csr_matrix((np.concatenate(values), (item, seen[np.concatenate(places)])), shape=shape)


def _members(log: Log) -> sparse.csr_matrix:
    """1 where an item (column) is of a category (row)."""
    known = np.flatnonzero(log.token >= 0)
    return sparse.csr_matrix((np.ones(len(known)), (log.token[known], known)), shape=(log.tokens, log.items))


def _best_users(similar: sparse.csr_matrix, users_of: sparse.csr_matrix, count: int) -> np.ndarray:
    """int64[n, count]: the users with the largest sums of weight over each row's similar items, ties by user row."""
    out = np.full((similar.shape[0], count), -1, np.int64)
    for start in range(0, len(out), _BLOCK):
        involved = sparse.csr_matrix(similar[start : start + _BLOCK] @ users_of)
        for row, (low, high) in enumerate(pairwise(involved.indptr), start):
            weight = involved.data[low:high]
            user = involved.indices[low:high][weight > 0]
            order = np.lexsort((user, -weight[weight > 0]))[:count]
            out[row, : len(order)] = user[order]
    return out


def _unit(vectors: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norm, 1e-9)).astype(np.float32)
