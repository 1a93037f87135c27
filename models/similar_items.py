"""i2i2u (paper eq. 5): users who interacted with items similar to the new one, by content or by category."""

from itertools import pairwise

import numpy as np
from scipy import sparse

from .log import Log
from .similar_audience import category_members, meetings, nearest_by_content
from .tower_inputs import ItemInputs

_BLOCK = 256


def similar_item_users(log: Log, day: int, inputs: ItemInputs, count: int) -> tuple[np.ndarray, str]:
    """int64[items, count] user rows, the most involved with similar items first, -1 where there are fewer.

    Similar are the 50 items nearest by content (cosine) that were interacted with; where the data has no content, those
    of the same category; where it has neither, those that the same users interacted with. Also returns which it was.
    """
    users_of = meetings(log, day)
    if log.content.shape[1]:
        near = nearest_by_content(log.content, np.flatnonzero(np.diff(users_of.indptr)), inputs.rows)
        return _best_users(near, users_of, count), "content"
    if log.tokens_are_items:
        return _best_users(inputs.audience.astype(np.float64), users_of, count), "users"
    found = _best_users(category_members(log), users_of, count)
    return np.append(found, np.full((1, count), -1), 0)[inputs.token], "category"


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
