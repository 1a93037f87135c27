"""Numba kernels over full score rows: the best users of an item among all users, exactly, in about one read of the row.

Order everywhere: score - price falling, equal ones by rising user row. A price of infinity takes a user out.
"""

from typing import NamedTuple

import numba as nb
import numpy as np

CHUNK = 128
"""Users tested together, which the processor does many at a time; only a chunk with a hit is read one by one."""


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
def keep_best(net: np.ndarray, user: np.ndarray, filled: int, count: int, scratch: np.ndarray) -> float:
    """Keeps the `count` best of the first `filled` > `count` entries, in user order; returns the lowest net kept.

    net float64, user int32 (ascending) and scratch float64, all of the same length; net and user change in place.
    """
    scratch[:filled] = net[:filled]
    least = kth_largest(scratch, filled, count)
    equal = count
    for j in range(filled):
        equal -= net[j] > least
    kept = 0
    for j in range(filled):
        if net[j] < least:
            continue
        if net[j] == least:
            if equal == 0:
                continue
            equal -= 1
        net[kept], user[kept] = net[j], user[j]
        kept += 1
    return least


@nb.njit(cache=True, nogil=True)
def best_of_row(
    score: np.ndarray, price: np.ndarray, count: int, net: np.ndarray, user: np.ndarray, scratch: np.ndarray
) -> int:
    """Collects into net and user the `count` users of largest score - price > 0, in user order; returns how many.

    score float32[users], price float64[users]; net float64, user int32, scratch float64: longer than `count`. A later
    user equal to the lowest of `count` kept ones never displaces it, so ties cost nothing. Returns -1 - u where the
    score of user u is NaN or infinite.
    """
    least, filled = 0.0, 0
    for start in range(0, score.size, CHUNK):
        scores, prices = score[start : start + CHUNK], price[start : start + CHUNK]
        hits = 0
        for j in range(scores.size):
            hits += not np.float64(scores[j]) - prices[j] <= least  # so worded, NaN is a hit
        if hits == 0:
            continue
        for j in range(scores.size):
            worth = np.float64(scores[j]) - prices[j]
            if worth <= least:
                continue
            if not worth < np.inf:
                return -1 - (start + j)
            net[filled], user[filled] = worth, start + j
            filled += 1
            if filled == net.size:
                least = keep_best(net, user, filled, count, scratch)
                filled = count
    if filled > count:
        keep_best(net, user, filled, count, scratch)
        filled = count
    return filled


@nb.njit(cache=True, nogil=True)
def write_best(
    score: np.ndarray, net: np.ndarray, user: np.ndarray, found: int, out_user: np.ndarray, out_score: np.ndarray
) -> None:
    """Writes the collected users into out_user (int32) and their scores into out_score (float32), best first."""
    order = np.argsort(-net[:found], kind="mergesort")
    for j in range(found):
        out_user[j] = user[order[j]]
        out_score[j] = score[user[order[j]]]


@nb.njit(cache=True, nogil=True)
def best_of_rows(rows: np.ndarray, price: np.ndarray, out_user: np.ndarray, out_score: np.ndarray) -> tuple[int, int]:
    """The best users of each row at these prices: writes out_user int32[n, count] and out_score float32[n, count].

    rows float32[n, users], price float64[users]; the outputs come filled with -1 and 0. Returns (-1, -1), or the row
    and user of the first score that is NaN or infinite.
    """
    count = out_user.shape[1]
    room = 4 * count + CHUNK
    net, user, scratch = np.empty(room, np.float64), np.empty(room, np.int32), np.empty(room, np.float64)
    for i in range(rows.shape[0]):
        found = best_of_row(rows[i], price, count, net, user, scratch)
        if found < 0:
            return i, -1 - found
        write_best(rows[i], net, user, found, out_user[i], out_score[i])
    return -1, -1


class Turns(NamedTuple):
    """The sequential store: what items want, and what is left for the next one. By item and user row.

    demand int64[items]; matches made before: item i holds the users held_user[held_ends[i]:held_ends[i + 1]]
    (int64[items + 1], int32). Changed in place: left int64[users], places left; price float64[users], 0, or infinite
    without a place left; user int32[items, width] and score float32[items, width], filled with -1 and 0 at first, with
    at least max(demand) columns.
    """

    demand: np.ndarray
    held_ends: np.ndarray
    held_user: np.ndarray
    left: np.ndarray
    price: np.ndarray
    user: np.ndarray
    score: np.ndarray


@nb.njit(cache=True, nogil=True)
def take_places(turns: Turns, item: int, found: int) -> None:
    """The item takes a place with each of the first demand[item] of the `found` users written for it."""
    for j in range(min(found, turns.demand[item])):
        taken = turns.user[item, j]
        turns.left[taken] -= 1
        if turns.left[taken] == 0:
            turns.price[taken] = np.inf


@nb.njit(cache=True, nogil=True)
def take_by_row(rows: np.ndarray, block: np.ndarray, turns: Turns) -> tuple[int, int]:
    """Each item of a block in turn lists its best users with a place left and takes those it wants.

    rows float32[n, users] are the score rows of the items block int64[n]. A user that an item holds already is not
    listed for it. Returns (-1, -1), or the row and user of the first score that is NaN or infinite.
    """
    count = turns.user.shape[1]
    room = 4 * count + CHUNK
    net, user, scratch = np.empty(room, np.float64), np.empty(room, np.int32), np.empty(room, np.float64)
    for i in range(rows.shape[0]):
        item = block[i]
        held = turns.held_user[turns.held_ends[item] : turns.held_ends[item + 1]]
        for u in held:
            turns.price[u] = np.inf
        found = best_of_row(rows[i], turns.price, count, net, user, scratch)
        if found < 0:
            return i, -1 - found
        for u in held:
            turns.price[u] = 0.0 if turns.left[u] > 0 else np.inf
        write_best(rows[i], net, user, found, turns.user[item], turns.score[item])
        take_places(turns, item, found)
    return -1, -1


@nb.njit(cache=True, nogil=True)
def take_listed(items: np.ndarray, user: np.ndarray, score: np.ndarray, turns: Turns) -> int:
    """As `take_by_row` for items (int64[n]) whose best users a source has listed; returns how many had their turn.

    user int32[n, count] and score float32[n, count], best first, padded with -1, of users that had a place left before
    the first turn. Stops before an item (never the first) whose list is full and yet too short by now.
    """
    width, count = turns.user.shape[1], user.shape[1]
    for i in range(items.size):
        item, found = items[i], 0
        held = turns.held_user[turns.held_ends[item] : turns.held_ends[item + 1]]
        for u in held:
            turns.price[u] = np.inf
        for a in range(count):
            u = user[i, a]
            if u < 0 or found == width:
                break
            if turns.price[u] == 0.0:
                turns.user[item, found], turns.score[item, found] = u, score[i, a]
                found += 1
        for u in held:
            turns.price[u] = 0.0 if turns.left[u] > 0 else np.inf
        if found < width and user[i, count - 1] >= 0 and i > 0:
            turns.user[item, :found], turns.score[item, :found] = -1, 0.0
            return i
        take_places(turns, item, found)
    return items.size
