"""Numba kernel of the limit on changes."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def charge(score: np.ndarray, fresh: np.ndarray, penalty: float, out: np.ndarray) -> None:
    """Writes into out (float32[edges]) the scores, those of fresh edges less `penalty`, at least 0, rounded up.

    score float32[edges], fresh uint8[edges]. Rounded up, a bound over `out` holds for the exact differences too.
    """
    for e in range(score.size):
        out[e] = score[e]
        if fresh[e] == 1:
            exact = max(0.0, np.float64(score[e]) - penalty)
            out[e] = np.float32(exact)
            if out[e] < exact:
                out[e] = np.nextafter(out[e], np.float32(np.inf))
