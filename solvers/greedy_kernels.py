"""Numba kernel of the global greedy."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def take_in_order(  # noqa: PLR0917
    order: np.ndarray,
    item: np.ndarray,
    user: np.ndarray,
    score: np.ndarray,
    item_left: np.ndarray,
    user_left: np.ndarray,
    held: np.ndarray,
) -> None:
    """Takes edges in the given order wherever item and user have places left; scores of 0 are not taken.

    order int64[edges], item and user int32[edges], score float32[edges]; in place: item_left int64[items],
    user_left int64[users] (places left) and held uint8[edges] (set to 1 where taken).
    """
    for at in range(order.size):
        e = order[at]
        if score[e] <= 0.0:
            return
        i, u = item[e], user[e]
        if item_left[i] > 0 and user_left[u] > 0:
            item_left[i] -= 1
            user_left[u] -= 1
            held[e] = 1
