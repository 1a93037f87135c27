"""Graph similarity: where a random walk of two steps on the graph of users and items ends."""

import numpy as np
from scipy import sparse

from .similar_cf import MOST
from .similarity import TwoHop
from .sparse_top import top_of_rows

POPULARITY_EXPONENT = 0.5


def graph_similarity(weights: sparse.csr_matrix, most: int = MOST, exponent: float = POPULARITY_EXPONENT) -> TwoHop:
    """P(row -> column -> other row), each step in proportion to the decayed likes, over (the other's likes) ** exponent.

    ``weights`` CSR float64 [n, m]. This is the walk known as RP3beta; exponent 0 leaves popularity in. A column with
    more than ``most`` rows counts for those of its ``most`` largest weights only. A row without likes has no list.
    """
    steps = weights.copy()
    total = np.asarray(weights.sum(1)).ravel()
    steps.data = weights.data / np.repeat(total, np.diff(weights.indptr))
    back = weights.T.tocsr()
    into = np.asarray(back.sum(1)).ravel()
    back.data = back.data / np.repeat(into, np.diff(back.indptr)) / total[back.indices] ** exponent
    return TwoHop("graph", steps, top_of_rows(back, most))
