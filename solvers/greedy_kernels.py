"""Numba kernel of the global greedy."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def take_in_order(  # noqa: PLR0917
    order: np.ndarray,
    item: np.ndarray,
    user: np.ndarray,
    score: np.ndarray,
    group: np.ndarray,
    item_left: np.ndarray,
    user_left: np.ndarray,
    group_left: np.ndarray,
    held: np.ndarray,
) -> None:
    """Takes edges in the given order wherever item, user and group have places left; scores of 0 are not taken.

    order int64[edges], item and user int32[edges], score float32[edges], group int32[edges] (-1: none; size 0: no
    groups); in place: item_left int64[items], user_left int64[users], group_left int64[groups] (places left) and held
    uint8[edges] (edges held before are kept, those taken set to 1).
    """
    for at in range(order.size):
        e = order[at]
        if score[e] <= 0.0:
            return
        i, u, g = item[e], user[e], group[e] if group.size > 0 else -1
        if held[e] == 0 and item_left[i] > 0 and user_left[u] > 0 and (g < 0 or group_left[g] > 0):
            item_left[i] -= 1
            user_left[u] -= 1
            if g >= 0:
                group_left[g] -= 1
            held[e] = 1
