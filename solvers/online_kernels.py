"""Numba kernels of the online rule: which users a new item takes at the present prices."""

import numba as nb
import numpy as np

from .first_come_kernels import kth_largest
from .place_values import price_at

BAD_USER, BAD_SCORE, TWICE = -1, -2, -3
"""What `choose` returns for a user row that does not exist, a score that is no number >= 0, a user given twice."""


@nb.njit(cache=True, nogil=True)
def set_price(  # noqa: PLR0917
    u: int,
    left: np.ndarray,
    capacity: np.ndarray,
    price: np.ndarray,
    bids: np.ndarray,
    values: np.ndarray,
    clock: tuple[float, float, float],
    now: np.ndarray,
) -> None:
    """Writes the user's price into now float32[users], infinity without places left; clock = gone, rest, correction.

    bids float32[users, n] and values uint16[users, shares, places]: see `price_at`, with the `rest` of a day to come.
    price float64[users]: times exp(correction * (share of the capacity used - gone)). All of size 0: nothing.
    """
    if left[u] <= 0:
        now[u] = np.inf
    elif bids.size > 0:
        now[u] = price_at(bids[u], values[u], left[u], clock[1])
    elif price.size == 0 or price[u] == 0.0:
        now[u] = 0.0
    else:
        now[u] = price[u] * np.exp(clock[2] * (1.0 - left[u] / capacity[u] - clock[0]))


@nb.njit(cache=True, nogil=True)
def set_stale(  # noqa: PLR0917
    rows: np.ndarray,
    left: np.ndarray,
    capacity: np.ndarray,
    price: np.ndarray,
    bids: np.ndarray,
    values: np.ndarray,
    clock: tuple[float, float, float],
    now: np.ndarray,
    set_in: np.ndarray,
    turn: int,
) -> None:
    """`set_price` of those users of rows int[n] whose price is of another turn, as set_in int32[users] says.

    Rows that do not exist are passed over.
    """
    for u in rows:
        if 0 <= u < now.size and set_in[u] != turn:
            set_price(u, left, capacity, price, bids, values, clock, now)
            set_in[u] = turn


@nb.njit(cache=True, nogil=True)
def choose(  # noqa: PLR0917
    user: np.ndarray,
    score: np.ndarray,
    wanted: int,
    now: np.ndarray,
    activity: np.ndarray,
    seen: np.ndarray,
    mark: int,
    spare: np.ndarray,
    out: np.ndarray,
) -> int:
    """Writes the positions of the best `wanted` users by score - price > 0 into out, ascending; returns how many.

    Equal ones: the first position counts. now float32[users] as of `set_price`; activity float64[users] (size 0: none):
    the rank is score / activity - price. Scratch: seen int32[users], none of them mark; spare float64[2, n]. Negative
    results are errors at the position in out[0]; with mark < 0 nothing is checked. 8 bytes at random places a candidate.
    """
    count = 0
    for j in range(user.size):
        u = user[j]
        if mark >= 0:
            if u < 0 or u >= now.size or seen[u] == mark or not 0.0 <= score[j] < np.inf:
                out[0] = j
                return BAD_USER if u < 0 or u >= now.size else TWICE if seen[u] == mark else BAD_SCORE
            seen[u] = mark
        rank = np.float64(score[j])
        if activity.size > 0:
            rank /= activity[u]
        rank -= now[u]
        if rank > 0.0:
            spare[0, count], out[count] = rank, j
            count += 1
    if count <= wanted:
        return count
    spare[1, :count] = spare[0, :count]
    least = kth_largest(spare[1], count, wanted) if wanted > 0 else np.inf
    at_least = wanted
    for j in range(count):
        at_least -= spare[0, j] > least
    taken = 0
    for j in range(count):
        equal = spare[0, j] == least and at_least > 0
        if spare[0, j] > least or equal:
            at_least -= equal
            out[taken] = out[j]
            taken += 1
    return taken


@nb.njit(cache=True, nogil=True)
def replay(  # noqa: PLR0917
    indptr: np.ndarray,
    user: np.ndarray,
    score: np.ndarray,
    demand: np.ndarray,
    left: np.ndarray,
    capacity: np.ndarray,
    price: np.ndarray,
    bids: np.ndarray,
    values: np.ndarray,
    activity: np.ndarray,
    clock: np.ndarray,
    now: np.ndarray,
    held: np.ndarray,
) -> None:
    """Each item in row order takes what `choose` names, at clock float64[items, 3]; marks held uint8[edges], lowers left.

    All prices are set anew where the clock moves, a user's where it is taken.
    """
    longest = 1
    for i in range(demand.size):
        longest = max(longest, indptr[i + 1] - indptr[i])
    spare, out, unseen = np.empty((2, longest)), np.empty(longest, np.int64), np.empty(0, np.int32)
    for i in range(demand.size):
        at = (clock[i, 0], clock[i, 1], clock[i, 2])
        if i == 0 or clock[i, 0] != clock[i - 1, 0] or clock[i, 1] != clock[i - 1, 1]:
            for u in range(left.size):
                set_price(u, left, capacity, price, bids, values, at, now)
        row = slice(indptr[i], indptr[i + 1])
        count = choose(user[row], score[row], demand[i], now, activity, unseen, -1, spare, out)
        for k in range(count):
            u = user[indptr[i] + out[k]]
            left[u] -= 1
            held[indptr[i] + out[k]] = 1
            set_price(u, left, capacity, price, bids, values, at, now)


@nb.njit(cache=True, nogil=True)
def best_bids(
    indptr: np.ndarray, user: np.ndarray, score: np.ndarray, demand: np.ndarray, price: np.ndarray, bids: np.ndarray
) -> None:
    """Keeps in bids float32[users, n], zeros before, each user's n largest bids: score less the item's margin, > 0.

    An item's margin is the net score (score - price) of its last place, or 0 where it has places to spare. Each row of
    bids is a heap in between and falls in the end. Two passes over the edges, 8 bytes each.
    """
    longest = 1
    for i in range(demand.size):
        longest = max(longest, indptr[i + 1] - indptr[i])
    net, size = np.empty(longest), bids.shape[1]
    for i in range(demand.size):
        first, length = indptr[i], indptr[i + 1] - indptr[i]
        if demand[i] <= 0 or length == 0:
            continue
        for j in range(length):
            net[j] = score[first + j] - price[user[first + j]]
        margin = max(kth_largest(net, length, demand[i]), 0.0) if length > demand[i] else 0.0
        for e in range(first, first + length):
            bid, heap = np.float32(score[e] - margin), bids[user[e]]
            if bid <= heap[0]:
                continue
            at = 0
            while 2 * at + 1 < size:
                below = 2 * at + 1
                below += below + 1 < size and heap[below + 1] < heap[below]
                if heap[below] >= bid:
                    break
                heap[at] = heap[below]
                at = below
            heap[at] = bid
    for u in range(bids.shape[0]):
        bids[u] = np.sort(bids[u])[::-1]
