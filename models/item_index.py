"""The user side's two-tower retrieval: an index over items, asked by users (paper eq. 7)."""

import numpy as np

from .user_index import build_user_index, nearest_users


def nearest_items(
    items: np.ndarray, users: np.ndarray, count: int, threads: int = 1, available: np.ndarray | None = None
) -> np.ndarray:
    """int64[users, count]: rows of the items with the largest product, best first, -1 where there are fewer.

    ``items`` float32[items, k], ``users`` float32[users, k]: the vectors of the night, the same as for the index over
    users. ``available`` bool[items]: only these are indexed. The result does not depend on ``threads``.
    """
    rows = np.arange(len(items)) if available is None else np.flatnonzero(available)
    index = build_user_index(items[rows], np.zeros(len(rows), np.float32))
    return np.append(rows, -1)[nearest_users(index, users, count, threads)]
