"""Numba kernels of the certificate. They share no code with any solver but how a score is read.

A score array is float32, or the bits of float16 as uint16 (numba reads no float16 on processors).
"""

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from .intrinsics import float_of_bits, score_of


class Rows(NamedTuple):
    """A problem's edges by item: indptr int64[items + 1], user int32[edges], score float32 or uint16[edges], demand
    int32[items].
    """

    indptr: np.ndarray
    user: np.ndarray
    score: np.ndarray
    demand: np.ndarray


class Limits(NamedTuple):
    """What only some problems have, arrays of size 0 in the others.

    group int32[edges], -1 where none; group_price float64[groups]; least int32[items], at most the item's edges and
    its demand.
    """

    group: np.ndarray
    group_price: np.ndarray
    least: np.ndarray


@nb.njit(cache=True, nogil=True)
def sum_of_largest(values: np.ndarray, count: int, k: int) -> float:
    """Sum of the k largest of values[:count], float64; moves them to the front (quickselect, then one sum)."""
    if k >= count:
        return values[:count].sum()
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
    return values[:k].sum()


@nb.njit(cache=True, nogil=True)
def count_above(values: np.ndarray, count: int, limit: np.float32) -> int:
    """How many of values[:count] (float32) are above the limit."""
    found: Any = nb.int32(0)
    for j in range(count):
        found = nb.int32(found + nb.int32(values[j] > limit))
    return found


@nb.njit(cache=True, nogil=True)
def largest(bits: np.ndarray, count: int) -> np.float32:
    """The largest of `count` float32, at least one of them > 0, given as their bits in int32."""
    top = nb.int32(0)
    for j in range(count):
        top = max(top, bits[j])
    return float_of_bits(np.uint32(top))


@nb.njit(cache=True, nogil=True, fastmath={"reassoc"})
def sum_above(exact: np.ndarray, rounded: np.ndarray, count: int, limit: np.float32) -> float:
    """Sum of exact[:count] (float64) where `rounded` (the same in float32) is above the limit."""
    total = 0.0
    for j in range(count):
        total += exact[j] if rounded[j] > limit else 0.0
    return total


@nb.njit(cache=True, nogil=True, fastmath={"reassoc"})
def sum_positive(values: np.ndarray, count: int) -> float:
    """Sum of max(0, values[:count]) (float64)."""
    total = 0.0
    for j in range(count):
        total += values[j] if values[j] > 0.0 else 0.0
    return total


@nb.njit(cache=True, nogil=True)
def count_equal(values: np.ndarray, count: int, value: float) -> int:
    """How many of values[:count] (float64) are this one."""
    found: Any = nb.int32(0)
    for j in range(count):
        found = nb.int32(found + nb.int32(values[j] == value))
    return found


@nb.njit(cache=True, nogil=True)
def sum_between(exact: np.ndarray, rounded: np.ndarray, count: int, low: np.float32, high: np.float32, k: int) -> float:
    """Sum of the k largest of exact[:count] where low < rounded <= high; spoils `exact`."""
    inside = count_above(rounded, count, low) - count_above(rounded, count, high)
    first = 0
    while not low < rounded[first] <= high:
        first += 1
    value = exact[first]
    if count_equal(exact, count, value) == inside:
        return k * value
    kept = 0
    for j in range(first, count):
        if low < rounded[j] <= high:
            exact[kept] = exact[j]
            kept += 1
    return sum_of_largest(exact, kept, k)


HALVINGS = 16
"""Times that the range of a limit is halved; spread-out scores need about 10."""


@nb.njit(cache=True, nogil=True)
def sum_of_best(exact: np.ndarray, rounded: np.ndarray, bits: np.ndarray, count: int, k: int) -> float:
    """Sum of the k largest max(0, exact[:count]) (float64); spoils `exact` where values are equal.

    `rounded` holds the same values in float32 and `bits` is its view as int32. Rounding keeps the order, so a float32
    limit with exactly k values above it separates the k largest; counting is many times cheaper than moving. What is
    left between two limits after HALVINGS, most often equal values, is told apart in float64.
    """
    if count_above(rounded, count, np.float32(0.0)) <= k:
        return sum_positive(exact, count)
    low, high, over = np.float32(0.0), largest(bits, count), 0
    for _ in range(HALVINGS):
        middle = np.float32(0.5) * low + np.float32(0.5) * high
        above = count_above(rounded, count, middle)
        if above > k:
            low = middle
        else:
            high, over = middle, above
        if over == k:
            return sum_above(exact, rounded, count, high)
    total = sum_above(exact, rounded, count, high)
    return total + sum_between(exact, rounded, count, low, high, k - over)


@nb.njit(cache=True, nogil=True)
def longest_row(indptr: np.ndarray, first: int, last: int) -> int:
    """The most edges that one of the items first <= i < last owns."""
    longest = 0
    for i in range(first, last):
        longest = max(longest, indptr[i + 1] - indptr[i])
    return longest


@nb.njit(cache=True, nogil=True)
def any_forced(net: np.ndarray, count: int, least: int) -> bool:
    """Whether fewer than `least` of net[:count] (float64) are above 0, so that others must count too."""
    found: Any = nb.int32(0)
    for j in range(count):
        found = nb.int32(found + nb.int32(net[j] > 0.0))
    return found < least


@nb.njit(cache=True, nogil=True)
def item_profits(rows: Rows, price: np.ndarray, limits: Limits, first: int, last: int, out: np.ndarray) -> None:
    """Writes item i's term of the bound into out[i] (float64[items]), first <= i < last.

    That is the sum of the demand[i] largest max(0, net), the least[i] largest counting as they are, where
    net = score - price - group_price. price float64[users]. Scratch: 12 bytes an edge of the longest row.
    """
    longest = longest_row(rows.indptr, first, last)
    net, rounded = np.empty(longest, np.float64), np.empty(longest, np.float32)
    bits = rounded.view(np.int32)
    for i in range(first, last):
        begin, count = rows.indptr[i], rows.indptr[i + 1] - rows.indptr[i]
        for j in range(count):
            worth = np.float64(score_of(rows.score[begin + j])) - price[np.uint32(rows.user[begin + j])]
            if limits.group.size > 0 and limits.group[begin + j] >= 0:
                worth -= limits.group_price[limits.group[begin + j]]
            net[j] = worth
            rounded[j] = np.float32(worth)
        if limits.least.size > 0 and any_forced(net, count, limits.least[i]):
            out[i] = sum_of_largest(net, count, limits.least[i])
        else:
            out[i] = sum_of_best(net, rounded, bits, count, rows.demand[i])


@nb.njit(cache=True, nogil=True)
def lowest_place(order: np.ndarray, user: np.ndarray, score: np.ndarray, capacity: np.ndarray, out: np.ndarray) -> None:
    """Writes into out[u] (float64[users], zeros) the capacity[u]-th largest score of user u, 0 if it has fewer edges.

    `order` lists all edges by falling score (float32[edges] or uint16[edges]). A user without places gets its largest.
    """
    seen = np.zeros(capacity.size, np.int64)
    for at in range(order.size):
        u = user[order[at]]
        seen[u] += 1
        if seen[u] == max(1, capacity[u]):
            out[u] = np.float64(score_of(score[order[at]]))


SUMMED = 4096
"""Scores that are summed one after another; then these sums are, so that the value hangs on no number of threads."""


@nb.njit(cache=True, nogil=True)
def sum_of_scores(chosen: np.ndarray, score: np.ndarray, sums: np.ndarray) -> None:
    """Writes the sums of the scores (float32 or uint16[edges]) of SUMMED chosen edges each into sums (float64)."""
    for begin in range(0, chosen.size, SUMMED):
        total = 0.0
        for at in range(begin, min(begin + SUMMED, chosen.size)):
            total += np.float64(score_of(score[chosen[at]]))
        sums[begin // SUMMED] = total


@nb.njit(cache=True, nogil=True)
def tally(  # noqa: PLR0917
    chosen: np.ndarray,
    edges: int,
    user: np.ndarray,
    score: np.ndarray,
    first: int,
    last: int,
    sums: np.ndarray,
    load: np.ndarray,
) -> int:
    """Counts the users of chosen[first:last] into load (int32[users], zeros) and sums their scores as `sum_of_scores`.

    chosen: integers, ascending and each once. Returns the position of the first entry that is not so, or that is no
    edge, else -1; then the counts and sums are of those before. `first` is a multiple of SUMMED.
    """
    before = nb.int64(chosen[first - 1]) if first > 0 else nb.int64(-1)
    for begin in range(first, last, SUMMED):
        total = 0.0
        for at in range(begin, min(begin + SUMMED, last)):
            edge = nb.int64(chosen[at])
            if edge <= before or edge >= edges:
                sums[begin // SUMMED] = total
                return at
            before = edge
            load[np.uint32(user[edge])] += 1
            total += np.float64(score_of(score[edge]))
        sums[begin // SUMMED] = total
    return -1
