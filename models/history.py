"""What users have done lately, as vectors: weights on item tokens (categories or items) and mean content."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .log import Log

HALF_LIVES = (1.5, 6.0)


@dataclass(frozen=True, eq=False)
class History:
    """Both sides' histories at the end of a day.

    ``weights``: for each half-life a float32 CSR matrix [users, tokens], log(1 + decayed count of the token) as a part of
    log(1 + decayed count of all). ``totals``: float32[users, half-lives], log(1 + decayed count of all). ``content``:
    float32[users, d], decayed mean of the content of the items interacted with.
    """

    weights: tuple[sparse.csr_matrix, ...]
    totals: np.ndarray
    content: np.ndarray


def user_history(log: Log, day: int) -> History:
    """Histories from all positive interactions in ``log``, which must end with ``day``. Three passes over the log."""
    rows = np.flatnonzero(log.positive() & (log.token[log.item] >= 0))
    user, item, age = log.user[rows], log.item[rows], day + 1 - log.day[rows]
    weights, totals = [], []
    for life in HALF_LIVES:
        counts = _counts(user, log.token[item], 0.5 ** (age / life), (log.users, log.tokens))
        total = np.asarray(counts.sum(1)).ravel()
        whole = np.repeat(np.log1p(total), np.diff(counts.indptr))
        counts.data = (np.log1p(counts.data) / np.maximum(whole, 1e-9)).astype(np.float32)
        weights.append(counts)
        totals.append(np.log1p(total).astype(np.float32))
    return History(tuple(weights), np.stack(totals, 1), _mean_content(log, day))


def audience(log: Log, items: np.ndarray, history: History) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Who has already interacted with each of ``items`` in ``log``: the paper's features of recent users (EF).

    Returns the users' mean token weights, CSR float32 [len(items), tokens]; their mean content float32
    [len(items), d]; and the number of users, int64.
    """
    place = np.full(log.items, -1)
    place[items] = np.arange(len(items))
    rows = np.flatnonzero((place[log.item] >= 0) & log.positive())
    pairs = np.unique(place[log.item[rows]] * np.int64(log.users) + log.user[rows])
    who = _counts(pairs // log.users, pairs % log.users, np.ones(len(pairs)), (len(items), log.users))
    count = np.asarray(who.sum(1)).ravel().astype(np.int64)
    mean = sparse.diags_array(1.0 / np.maximum(count, 1)) @ who
    tokens = sparse.csr_matrix(mean @ history.weights[-1])
    tokens.data = tokens.data.astype(np.float32)
    return tokens, np.asarray(mean @ history.content, np.float32), count


def _counts(row: np.ndarray, column: np.ndarray, value: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    matrix = sparse.csr_matrix((value, (row, column)), shape=shape)
    matrix.sum_duplicates()
    return matrix


def _mean_content(log: Log, day: int) -> np.ndarray:
    width = log.content.shape[1]
    if not width:
        return np.zeros((log.users, 0), np.float32)
    rows = np.flatnonzero(log.positive())
    weight = 0.5 ** ((day + 1 - log.day[rows]) / HALF_LIVES[-1])
    counts = _counts(log.user[rows], log.item[rows], weight, (log.users, log.items))
    total = np.asarray(counts.sum(1)).ravel()
    return np.asarray(counts @ log.content, np.float32) / np.maximum(total, 1e-9)[:, None].astype(np.float32)
