"""Collaborative similarity from implicit feedback: cosine of who liked an item, or of what a user liked."""

import numpy as np
from scipy import sparse

from .similarity import TwoHop
from .sparse_top import top_of_rows

MOST = 500
"""Similar rows are sought among this many rows of each column, those of the largest weights: it bounds the work."""


def collaborative_similarity(weights: sparse.csr_matrix, most: int = MOST) -> TwoHop:
    """Cosine of the rows of ``weights`` (CSR float64 [n, m], decayed likes), the same for items and for users.

    A column with more than ``most`` rows counts for its ``most`` largest shares only. A row without likes has no list.
    """
    length = np.sqrt(np.asarray(weights.multiply(weights).sum(1)).ravel())
    unit = weights.copy()
    unit.data = weights.data / np.repeat(np.maximum(length, 1e-300), np.diff(weights.indptr))
    return TwoHop("cf", unit, top_of_rows(unit.T.tocsr(), most))
