"""Content similarity: cosine of embeddings."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from .sparse_top import largest
from .torch_threads import one_thread

_BLOCK_NUMBERS = 1 << 23


@dataclass(frozen=True, eq=False)
class ContentSimilarity:
    """Cosine of ``vectors`` float64[n, d] of length 1 or 0, with the rows ``among`` (int64, ascending) only."""

    how: str
    vectors: np.ndarray
    among: np.ndarray

    @one_thread()
    def nearest(self, rows: np.ndarray, count: int, threads: int = 1) -> sparse.csr_matrix:
        """See ``Similarity``; on one thread, in blocks of 64 MB. 2 d operations for each row and each row among which."""
        base = torch.from_numpy(self.vectors[self.among]).T
        place = np.full(len(self.vectors), -1)
        place[self.among] = np.arange(len(self.among))
        size, column, value = np.zeros(len(rows), np.int64), [], []
        step = max(1, _BLOCK_NUMBERS // max(len(self.among), 1))
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            # Products in float64, compared as float32: what the shape of a block does to the last bits is rounded away.
            product = (torch.from_numpy(self.vectors[block]) @ base).numpy().astype(np.float32)
            own = place[block]
            product[np.flatnonzero(own >= 0), own[own >= 0]] = 0
            for number, cosine in enumerate(product, start):
                best = np.sort(largest(self.among, cosine, count))
                size[number] = len(best)
                column.append(self.among[best])
                value.append(cosine[best])
        indptr = np.concatenate([[0], np.cumsum(size)])
        columns = np.concatenate([*column, np.zeros(0, np.int64)])
        values = np.concatenate([*value, np.zeros(0, np.float32)])
        return sparse.csr_matrix((values, columns, indptr), shape=(len(rows), len(self.vectors)))


def content_similarity(vectors: np.ndarray, how: str, seen: np.ndarray) -> ContentSimilarity:
    """Over float32[n, d]; similar rows are sought among those where ``seen`` (bool[n]), the others are of no use."""
    wide = vectors.astype(np.float64)
    length = np.sqrt(np.einsum("nd,nd->n", wide, wide))
    return ContentSimilarity(how, wide / np.where(length > 0, length, 1)[:, None], np.flatnonzero(seen & (length > 0)))
