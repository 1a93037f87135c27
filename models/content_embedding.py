"""An embedding of items of at most 128 numbers: their content, or what their category or users say where there is none."""

import numpy as np
import torch
from scipy import sparse

from .log import Log
from .similarity import Interactions
from .torch_threads import one_thread

WIDTH = 128
_SPARE = 8
_PASSES = 4


def item_embedding(log: Log, liked: Interactions) -> tuple[np.ndarray, str]:
    """float32[items, d], d <= 128, and what it comes from: "content", "category" or "co-interaction".

    Content of more numbers is projected onto 128 directions drawn from a fixed seed. Without content, an item takes its
    category's place in the SVD of the likes of categories by users; without categories, its own in that of items by users.
    A row of zeros: nothing is known of the item.
    """
    if log.content.shape[1]:
        return _narrow(log.content), "content"
    if log.tokens_are_items:
        return row_embedding(liked.users_of), "co-interaction"
    known = np.flatnonzero(log.token >= 0)
    members = sparse.csr_matrix((np.ones(len(known)), (log.token[known], known)), shape=(log.tokens, log.items))
    vectors = row_embedding(sparse.csr_matrix(members @ liked.users_of))
    return np.append(vectors, np.zeros((1, vectors.shape[1]), np.float32), 0)[log.token], "category"


def user_embedding(vectors: np.ndarray, liked: Interactions) -> np.ndarray:
    """float32[users, d]: decayed sum of the embeddings of what each user liked; its direction is that of the mean."""
    return np.asarray(liked.items_of @ vectors, np.float32)


@one_thread()
def row_embedding(matrix: sparse.csr_matrix, width: int = WIDTH) -> np.ndarray:
    """float32[n, at most width]: U S of the truncated SVD of CSR [n, m], by subspace iteration from a fixed seed.

    Exact where a side has at most ``width`` + 8 rows. Needs 8 (n + m) (width + 8) bytes twice, and ten passes.
    """
    room = min(width + _SPARE, *matrix.shape)
    if not room or not matrix.nnz:
        return np.zeros((matrix.shape[0], max(min(width, *matrix.shape), 1)), np.float32)
    turned = matrix.T.tocsr()
    basis = _orthonormal(matrix @ np.random.default_rng(0).normal(size=(matrix.shape[1], room)))
    for _ in range(_PASSES):
        basis = _orthonormal(matrix @ (turned @ basis))
    small = torch.from_numpy(turned @ basis)
    value, vector = torch.linalg.eigh(small.T @ small)
    wide = torch.from_numpy(basis) @ (vector * value.clamp(min=0).sqrt())
    return wide.flip(1)[:, :width].numpy().astype(np.float32)


def _orthonormal(columns: np.ndarray) -> np.ndarray:
    basis: np.ndarray = torch.linalg.qr(torch.from_numpy(columns))[0].numpy()
    return basis


@one_thread()
def _narrow(content: np.ndarray) -> np.ndarray:
    if content.shape[1] <= WIDTH:
        return content
    directions = np.random.default_rng(0).normal(size=(content.shape[1], WIDTH))
    return (torch.from_numpy(content.astype(np.float64)) @ torch.from_numpy(directions)).numpy().astype(np.float32)
