"""Numba kernels over tiles of scores, some items by some users: the best users of an item, kept as its tiles come.

Order everywhere: score - price falling, equal ones by rising user row. A price of infinity takes a user out.
"""

from typing import NamedTuple

import numba as nb
import numpy as np

CHUNK = 128
"""Users tested together, which the processor does many at a time; only a chunk with a hit is read one by one."""


class Kept(NamedTuple):
    """What items have kept so far, in the order in which it came: net float64, user int32, score float32 [items, room],
    and the room is more than the users kept; filled int64[items], entries in use; least float64[items], what a later one
    must exceed; scratch float64[room].
    """

    net: np.ndarray
    user: np.ndarray
    score: np.ndarray
    filled: np.ndarray
    least: np.ndarray
    scratch: np.ndarray


def nothing_kept(items: int, count: int) -> Kept:
    """The state before the first tile, for `count` users of each item. 16 bytes an entry, 4 count + CHUNK entries."""
    shape = items, 4 * count + CHUNK
    arrays = np.empty(shape), np.empty(shape, np.int32), np.empty(shape, np.float32)
    return Kept(*arrays, np.zeros(items, np.int64), np.zeros(items), np.empty(shape[1]))


@nb.njit(cache=True, nogil=True)
def kth_largest(values: np.ndarray, count: int, k: int) -> float:
    """The k-th largest (k from 1) of values[:count]; reorders them in place (quickselect)."""
    low, high = 0, count - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if k - 1 <= right:
            high = right
        elif k - 1 >= left:
            low = left
        else:
            break
    return values[k - 1]


@nb.njit(cache=True, nogil=True)
def keep_best(kept: Kept, i: int, count: int) -> None:
    """Keeps item i's `count` best of its more entries, of equal ones the first, in their order. In place."""
    net, user, score, filled = kept.net[i], kept.user[i], kept.score[i], kept.filled[i]
    kept.scratch[:filled] = net[:filled]
    least = kth_largest(kept.scratch, filled, count)
    equal = count
    for j in range(filled):
        equal -= net[j] > least
    at = 0
    for j in range(filled):
        if net[j] < least:
            continue
        if net[j] == least:
            if equal == 0:
                continue
            equal -= 1
        net[at], user[at], score[at] = net[j], user[j], score[j]
        at += 1
    kept.filled[i], kept.least[i] = at, least


@nb.njit(cache=True, nogil=True)
def add_tile(
    tile: np.ndarray, items: np.ndarray, users: np.ndarray, price: np.ndarray, count: int, kept: Kept
) -> tuple[int, int]:
    """Adds a tile, float32[n, m], to what items int64[n], rows of `kept`, have kept; users int32[m], price float64[m].

    Where tiles of an item come in user order, a user equal to the lowest of `count` kept ones never displaces it.
    Returns (-1, -1), or the row and column of a score that is NaN or infinite.
    """
    for place in range(tile.shape[0]):
        i, row = items[place], tile[place]
        net, user, score = kept.net[i], kept.user[i], kept.score[i]
        for start in range(0, row.size, CHUNK):
            scores, prices = row[start : start + CHUNK], price[start : start + CHUNK]
            least, hits = kept.least[i], 0
            for j in range(scores.size):
                hits += not np.float64(scores[j]) - prices[j] <= least  # so worded, NaN is a hit
            if hits == 0:
                continue
            for j in range(scores.size):
                worth = np.float64(scores[j]) - prices[j]
                if worth <= kept.least[i]:
                    continue
                if not worth < np.inf:
                    return place, start + j
                at = kept.filled[i]
                net[at], user[at], score[at] = worth, users[start + j], scores[j]
                kept.filled[i] = at + 1
                if at + 1 == net.size:
                    keep_best(kept, i, count)
    return -1, -1


@nb.njit(cache=True, nogil=True)
def write_kept(kept: Kept, out_user: np.ndarray, out_score: np.ndarray) -> None:
    """Writes each item's best into out_user int32[items, count] and out_score float32, best first; filled with -1 and 0."""
    count = out_user.shape[1]
    for i in range(out_user.shape[0]):
        if kept.filled[i] > count:
            keep_best(kept, i, count)
        by_user = np.argsort(kept.user[i, : kept.filled[i]])
        order = by_user[np.argsort(-kept.net[i, : kept.filled[i]][by_user], kind="mergesort")]
        for j in range(order.size):
            out_user[i, j], out_score[i, j] = kept.user[i, order[j]], kept.score[i, order[j]]
