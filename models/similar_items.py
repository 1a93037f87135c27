"""i2i2u (paper eq. 5): users who interacted with items similar to the new one, by content or by category."""

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
        return _best(_by_content(log, inputs, users_of) @ users_of, count), "content"
    by_category = log.tokens != log.items
    similar = _by_category(log, inputs) if by_category else _by_users(inputs)
    return _best(similar @ users_of, count), "category" if by_category else "users"


def _by_content(log: Log, inputs: ItemInputs, users_of: sparse.csr_matrix) -> sparse.csr_matrix:
    seen = np.flatnonzero(np.diff(users_of.indptr))
    base, wanted = _unit(log.content[seen]), _unit(inputs.content)
    most = min(_SIMILAR, len(seen))
    places, values = [], []
    for start in range(0, len(wanted), _BLOCK):
        product = wanted[start : start + _BLOCK] @ base.T
        best = np.argpartition(-product, most - 1, axis=1)[:, :most] if most else np.zeros((len(product), 0), int)
        best.sort(axis=1)
        places.append(best)
        values.append(np.maximum(np.take_along_axis(product, best, 1), 0))
    if not places:
        return sparse.csr_matrix((0, log.items))
    item = np.repeat(np.arange(len(wanted)), most)
    return sparse.csr_matrix(
        (np.concatenate(values).ravel(), (item, seen[np.concatenate(places).ravel()])), shape=(len(wanted), log.items)
    )


def _by_category(log: Log, inputs: ItemInputs) -> sparse.csr_matrix:
    known = np.flatnonzero(log.token >= 0)
    member = sparse.csr_matrix((np.ones(len(known)), (log.token[known], known)), shape=(log.tokens, log.items))
    wanted = np.flatnonzero(inputs.token >= 0)
    pick = sparse.csr_matrix(
        (np.ones(len(wanted)), (wanted, inputs.token[wanted])), shape=(len(inputs.rows), log.tokens)
    )
    return sparse.csr_matrix(pick @ member)


def _by_users(inputs: ItemInputs) -> sparse.csr_matrix:
    """Where tokens are items, the audience's mean history is a weight on each item."""
    return inputs.audience.astype(np.float64)


def _best(involved: sparse.csr_matrix, count: int) -> np.ndarray:
    """The users with the largest weights in each row, ties by user row."""
    involved = sparse.csr_matrix(involved)
    out = np.full((involved.shape[0], count), -1, np.int64)
    for row in range(involved.shape[0]):
        part = slice(involved.indptr[row], involved.indptr[row + 1])
        user, weight = involved.indices[part], involved.data[part]
        order = np.lexsort((user, -weight))[:count]
        out[row, : len(order)] = user[order]
    return out


def _unit(vectors: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norm, 1e-9)).astype(np.float32)
