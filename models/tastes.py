"""Users' tastes: vectors whose inner product says how much the items that two users met have in common."""

import numpy as np
import torch
from scipy import sparse

from .log import Log
from .torch_threads import one_thread

_SHRINKAGE = 0.3
"""Of a user's length: this share of the median squared length is added, lest two who met one item be as one."""

_PASSES, _SEED = 4, 5


@one_thread()
def user_tastes(log: Log, day: int, size: int) -> np.ndarray:
    """float32[users, size]: rows whose products approximate those of ``common_items``; 0 for users without any.

    The rows are projected on the ``size`` directions in which they differ most, found by ``_PASSES`` passes of subspace
    iteration (Halko, Martinsson and Tropp 2011) from a fixed start. Columns beyond the number of items are 0. A pass reads
    the matrix twice for each direction and orthonormalises float64[items, size]. The same bytes on any number of threads.
    """
    met = common_items(log, day)
    width = min(size, *met.shape)
    tastes = np.zeros((log.users, size), np.float32)
    if not width or not met.nnz:
        return tastes
    turned = met.T.tocsr()
    basis = np.random.default_rng(_SEED).standard_normal((log.items, width))
    for _ in range(_PASSES):
        basis = torch.linalg.qr(torch.from_numpy(np.asarray(turned @ (met @ basis))))[0].numpy()
    tastes[:, :width] = met @ basis
    return tastes


def common_items(log: Log, day: int) -> sparse.csr_matrix:
    """CSR float64[users, items]: which items uploaded before ``day`` each user met, those that few met weigh more.

    The weight is 1 / sqrt(users of the item + 1), so that a common item adds 1 / (its users + 1) to the product of two
    users; each row is divided by the square root of its squared length and _SHRINKAGE times the median one.
    """
    rows = np.flatnonzero(log.positive() & (log.upload[log.item] < day))
    place = (log.user[rows], log.item[rows])
    met = sparse.csr_matrix((np.ones(len(rows)), place), shape=(log.users, log.items))
    met.sum_duplicates()
    met.data[:] = (1.0 / np.sqrt(np.bincount(met.indices, minlength=log.items) + 1.0))[met.indices]
    squared = np.asarray(met.multiply(met).sum(1)).ravel()
    typical = float(np.median(squared[squared > 0])) if met.nnz else 1.0
    return sparse.csr_matrix(sparse.diags_array(1.0 / np.sqrt(squared + _SHRINKAGE * typical)) @ met)


def fan_tastes(log: Log, items: np.ndarray, tastes: np.ndarray) -> np.ndarray:
    """float32[len(items), size]: the tastes float32[users, size] of the users who met each of ``items`` on the day of its
    upload, their sum over the square root of how many they are. A mean would forget that more users are more evidence; a
    sum would count the same evidence again and again, for first users are alike. 0 without any."""
    early = first_users(log, items)
    count = np.asarray(early.sum(1), np.float32)
    return np.asarray(early @ tastes / np.sqrt(np.maximum(count, 1)).reshape(-1, 1), np.float32)


def first_users(log: Log, items: np.ndarray) -> sparse.csr_matrix:
    """CSR float32[len(items), users]: 1 for the users who met each of ``items`` on the day of its upload."""
    place = np.full(log.items, -1)
    place[items] = np.arange(len(items))
    early = np.floor(log.day) == np.floor(log.upload[log.item])
    rows = np.flatnonzero((place[log.item] >= 0) & early & log.positive())
    pairs = np.unique(place[log.item[rows]] * np.int64(log.users) + log.user[rows])
    there = (pairs // log.users, pairs % log.users)
    return sparse.csr_matrix((np.ones(len(pairs), np.float32), there), shape=(len(items), log.users))
