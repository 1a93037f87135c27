"""Numba kernel of dual mirror descent: items arrive, take users at the present prices, and move the prices."""

import numba as nb
import numpy as np

from .first_come_kernels import kth_largest


@nb.njit(cache=True, nogil=True)
def price_at(line: np.ndarray, u: int, at: int) -> float:
    """A user's price before item `at`: what the last step left less the fall since, at least 0."""
    return max(line[u, 0] - line[u, 1] * at, 0.0)


@nb.njit(cache=True, nogil=True)
def close_piece(line: np.ndarray, u: int, until: int) -> None:
    """Adds the user's prices before the items from line[u, 3] to `until` - 1 to line[u, 2]; goes on from `until`."""
    first, level, fall = int(line[u, 3]), line[u, 0], line[u, 1]
    last = until
    if level < fall * until:
        last = min(max(int(np.ceil(level / fall)), first), until)
    line[u, 2] += (last - first) * (level - fall * 0.5 * (first + last - 1))
    line[u, 3] = until


@nb.njit(cache=True, nogil=True)
def descend(  # noqa: PLR0917
    indptr: np.ndarray,
    user: np.ndarray,
    score: np.ndarray,
    group: np.ndarray,
    rise: np.ndarray,
    line: np.ndarray,
    item_left: np.ndarray,
    user_left: np.ndarray,
    group_left: np.ndarray,
    held: np.ndarray,
) -> None:
    """Each item in row order takes its best edges by score - price > 0 among users with places left, ties by user row.

    After each item every price falls by line[u, 1], down to 0, and rises by rise[u] with each user taken. The falls are
    made up for when the price is read: before item t it is max(0, line[u, 0] - line[u, 1] * t), so only users taken are
    written. line[u, 2] becomes the sum of the price before each item. indptr int64[items + 1], user int32[edges], score
    float32[edges], group int32[edges] (-1: none; size 0: no groups), rise float64[users]; in place: line float64[users, 4]
    (columns 2 and 3 from 0), item_left int64[items], user_left int64[users], group_left int64[groups] (places left) and
    held uint8[edges]. Scores of 0 are not taken. One pass, 9 bytes an edge and 24 of its user at random.
    """
    longest = 0
    for i in range(item_left.size):
        longest = max(longest, indptr[i + 1] - indptr[i])
    net, edge, free = np.empty(longest), np.empty(longest, np.int64), np.empty(longest)
    for i in range(item_left.size):
        wanted, count = item_left[i], 0
        if wanted <= 0:
            continue
        for e in range(indptr[i], indptr[i + 1]):
            u, g = user[e], group[e] if group.size > 0 else -1
            worth = score[e] - price_at(line, u, i)
            if worth > 0.0 and user_left[u] > 0 and (g < 0 or group_left[g] > 0):
                net[count], edge[count], free[count] = worth, e, worth
                count += 1
        least = kth_largest(free, count, wanted) if wanted < count else 0.0
        at_least = wanted
        for j in range(count):
            at_least -= net[j] > least
        for j in range(count):
            if net[j] < least or (net[j] == least and at_least == 0):
                continue
            at_least -= net[j] == least
            e = edge[j]
            u = user[e]
            now = price_at(line, u, i)
            close_piece(line, u, i + 1)
            line[u, 0] = now + rise[u] + line[u, 1] * i
            held[e] = 1
            item_left[i] -= 1
            user_left[u] -= 1
            if group.size > 0 and group[e] >= 0:
                group_left[group[e]] -= 1
    for u in range(line.shape[0]):
        close_piece(line, u, item_left.size)
