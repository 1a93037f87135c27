"""Features of the users who met items similar to a new one (EF of the paper), from what they have done."""

import numpy as np
import torch
from scipy import sparse

from .history import History
from .log import Log
from .torch_threads import one_thread

SIMILAR = 50
"""Items nearest by content that are looked at."""

HALF_LIFE_DAYS = 4.0
_BLOCK = 256


def similar_audience(log: Log, day: int, items: np.ndarray, history: History) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Mean history of the users who met the items most similar to each of ``items``, CSR float32[n, tokens], and their
    mean content, float32[n, d].

    Similar are the SIMILAR nearest by content (cosine), or where the data has no content those of the same category; a
    meeting counts half after HALF_LIFE_DAYS. Both are 0 where the data has neither. One pass over the log, and a product of
    the items met with their users' histories.
    """
    tokens = sparse.csr_matrix((len(items), log.tokens), dtype=np.float32)
    content = np.zeros((len(items), log.content.shape[1]), np.float32)
    if log.tokens_are_items and not log.content.shape[1]:
        return tokens, content
    met = meetings(log, day)
    if log.content.shape[1]:
        seen = np.flatnonzero(np.diff(met.indptr))
        near = nearest_by_content(log.content, seen, items)
        return _mean(near @ met, history)
    members = category_members(log)
    by_category, by_category_content = _mean(members @ met, history)
    place = np.where(log.token[items] >= 0, log.token[items], log.tokens)
    padded = sparse.vstack([by_category, sparse.csr_matrix((1, log.tokens), dtype=np.float32)], format="csr")
    return padded[place], np.append(by_category_content, np.zeros((1, content.shape[1]), np.float32), 0)[place]


def meetings(log: Log, day: int) -> sparse.csr_matrix:
    """CSR float64[items, users]: positive interactions, each half after HALF_LIFE_DAYS before the end of ``day``."""
    rows = np.flatnonzero(log.positive())
    weight = 0.5 ** ((day + 1 - log.day[rows]) / HALF_LIFE_DAYS)
    met = sparse.csr_matrix((weight, (log.item[rows], log.user[rows])), shape=(log.items, log.users))
    met.sum_duplicates()
    return met


@one_thread()
def nearest_by_content(content: np.ndarray, among: np.ndarray, items: np.ndarray) -> sparse.csr_matrix:
    """CSR float32[len(items), len(content)]: cosine with the SIMILAR nearest of the rows ``among``, none below 0.

    An item is not its own neighbour. On one thread, for the towers learn from these sums. 4 * len(among) bytes for each of _BLOCK items at a time.
    """
    shape = (len(items), len(content))
    if not len(among) or not len(items):
        return sparse.csr_matrix(shape, dtype=np.float32)
    base, most = torch.from_numpy(_unit(content[among])).T, min(SIMILAR, len(among))
    places, values = [], []
    for start in range(0, len(items), _BLOCK):
        block = items[start : start + _BLOCK]
        product = (torch.from_numpy(_unit(content[block])) @ base).numpy()
        product[among == block[:, None]] = 0
        best = np.sort(np.argpartition(-product, most - 1, axis=1)[:, :most], 1)
        places.append(best.ravel())
        values.append(np.maximum(np.take_along_axis(product, best, 1), 0).ravel())
    item = np.repeat(np.arange(len(items)), most)
    near = sparse.csr_matrix((np.concatenate(values), (item, among[np.concatenate(places)])), shape=shape)
    near.eliminate_zeros()
    return near


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


def _unit(vectors: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norm, 1e-9)).astype(np.float32)
