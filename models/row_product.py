"""The inner products of one item with all users, on the thread that asks."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def row_product(user_vector: np.ndarray, item_vector: np.ndarray, out: np.ndarray) -> None:
    """Writes <user, item> into out float32[users], from float32[users, k] and float32[k]; one read of the users' vectors.

    A user's sum has one order on one machine, whoever the other users are.
    """
    for u in range(user_vector.shape[0]):
        total = np.float32(0)
        for k in range(item_vector.size):
            total += user_vector[u, k] * item_vector[k]
        out[u] = total
