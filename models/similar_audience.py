"""Features of the users who met items similar to a new one (EF of the paper), from what they have done."""

import numpy as np
from scipy import sparse

from .history import History
from .log import Log
from .similar_content import content_similarity
from .similarity import interactions

SIMILAR = 50
"""Items nearest by content that are looked at."""


def similar_audience(log: Log, day: int, items: np.ndarray, history: History) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Mean history of the users who met the items most similar to each of ``items``, CSR float32[n, tokens], and their
    mean content, float32[n, d].

    Similar are the SIMILAR nearest by content (cosine), or where the data has no content those of the same category, and
    their users count by their decayed likes. Both are 0 where the data has neither. One pass over the log, and a product of
    the users met with their histories.
    """
    if log.tokens_are_items and not log.content.shape[1]:
        return nobody(log, len(items))
    met = interactions(log, day).users_of
    if log.content.shape[1]:
        service = content_similarity(log.content, "content", np.diff(met.indptr) > 0)
        return _mean(service.nearest(items, SIMILAR) @ met, history)
    members = category_members(log)
    by_category, by_category_content = _mean(members @ met, history)
    place = np.where(log.token[items] >= 0, log.token[items], log.tokens)
    padded = sparse.vstack([by_category, sparse.csr_matrix((1, log.tokens), dtype=np.float32)], format="csr")
    return padded[place], np.append(by_category_content, np.zeros((1, log.content.shape[1]), np.float32), 0)[place]


def nobody(log: Log, items: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """As `similar_audience` of so many items that nobody met."""
    return sparse.csr_matrix((items, log.tokens), dtype=np.float32), np.zeros((items, log.content.shape[1]), np.float32)


def category_members(log: Log) -> sparse.csr_matrix:
    """1 where an item (column) is of a category (row)."""
    known = np.flatnonzero(log.token >= 0)
    return sparse.csr_matrix((np.ones(len(known)), (log.token[known], known)), shape=(log.tokens, log.items))


def _mean(met: sparse.csr_matrix, history: History) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Means of the users' histories and contents, weighted by float[n, users]."""
    total = np.asarray(met.sum(1)).ravel()
    share = sparse.csr_matrix(sparse.diags_array(1.0 / np.maximum(total, 1e-12)) @ met)
    tokens = sparse.csr_matrix(share @ history.weights[-1])
    tokens.data = tokens.data.astype(np.float32)
    return tokens, np.asarray(share @ history.content, np.float32)
