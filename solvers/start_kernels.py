"""Numba kernels that carry matches over to another problem."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def find_edges(indptr: np.ndarray, user: np.ndarray, item: np.ndarray, partner: np.ndarray, out: np.ndarray) -> None:
    """Writes into out[n] (int64[pairs]) the edge that joins item[n] and user partner[n], -1 where there is none.

    indptr int64[items + 1] and user int32[edges], ascending inside an item; item and partner int64[pairs], -1: unknown.
    Pairs in the order of the edges are found fastest: each search starts where the last one ended, in doubled strides.
    """
    last_item, low = np.int64(-1), np.int64(0)
    for n in range(item.size):
        out[n] = -1
        i, u = item[n], partner[n]
        if i < 0 or u < 0:
            continue
        end = indptr[i + 1]
        if i != last_item or low >= end or user[low] > u:
            last_item, low = i, indptr[i]
        stride = np.int64(1)
        while low + stride < end and user[low + stride] <= u:
            low += stride
            stride *= 2
        high = min(low + stride, end)
        while low + 1 < high:
            middle = (low + high) // 2
            if user[middle] <= u:
                low = middle
            else:
                high = middle
        if low < end and user[low] == u:
            out[n] = low


@nb.njit(cache=True, nogil=True)
def carry_edges(  # noqa: PLR0917
    before: tuple[np.ndarray, np.ndarray],
    after: tuple[np.ndarray, np.ndarray],
    chosen: np.ndarray,
    item_rows: np.ndarray,
    user_rows: np.ndarray,
    first: int,
    last: int,
    out: np.ndarray,
) -> None:
    """Writes into out[first:last] (int64[matches]) where the edges `chosen` of one problem stand in another, -1: nowhere.

    before and after: indptr int64[items + 1] and user int32[edges], ascending inside an item; chosen int64[matches],
    ascending; item_rows and user_rows: the new row of each old item and user, -1 where there is none. An edge is looked
    for at its old place in the row first, then by binary search.
    """
    i = np.searchsorted(before[0], chosen[first], side="right") - 1 if first < last else 0
    for n in range(first, last):
        edge = chosen[n]
        while before[0][i + 1] <= edge:
            i += 1
        out[n], row, u = -1, item_rows[i], user_rows[before[1][edge]]
        if row < 0 or u < 0:
            continue
        low, end = after[0][row], after[0][row + 1]
        guess = low + edge - before[0][i]
        if guess < end and after[1][guess] == u:
            out[n] = guess
            continue
        low += np.searchsorted(after[1][low:end], u)
        if low < end and after[1][low] == u:
            out[n] = low


@nb.njit(cache=True, nogil=True)
def fit(
    edge: np.ndarray, rows: tuple[np.ndarray, ...], limits: tuple[np.ndarray, np.ndarray], load: np.ndarray
) -> bool:
    """Whether the edges (int64[n]) ascend, are worth more than 0 and keep the limits of items and users. One pass.

    rows: indptr int64[items + 1], user int32[edges], score float32 or the bits of float16[edges]; limits: demand
    int32[items], capacity int32[users]; load int32[users]: zeros.
    """
    (indptr, user, score), (demand, capacity) = rows, limits
    i, mine, before, good = np.int64(0), np.int64(0), np.int64(-1), True
    for e in edge:
        good &= (e > before) & (score[e] > 0)
        if not good:
            return False
        while indptr[i + 1] <= e:
            i, mine = i + 1, np.int64(0)
        mine += 1
        u = np.uint32(user[e])
        load[u] += 1
        good &= (mine <= demand[i]) & (load[u] <= capacity[u])
        before = e
    return good


@nb.njit(cache=True, nogil=True)
def keep_within(  # noqa: PLR0917
    order: np.ndarray,
    item: np.ndarray,
    user: np.ndarray,
    group: np.ndarray,
    item_left: np.ndarray,
    user_left: np.ndarray,
    group_left: np.ndarray,
    kept: np.ndarray,
) -> None:
    """Keeps matches in the given order while the item, the user and the group have places left.

    order int64[matches]; item, user and group int64[matches] rows of each match (group -1: no limit); in place:
    item_left int64[items], user_left int64[users], group_left int64[groups], kept bool[matches].
    """
    for n in order:
        i, u, g = item[n], user[n], group[n]
        kept[n] = item_left[i] > 0 and user_left[u] > 0 and (g < 0 or group_left[g] > 0)
        if kept[n]:
            item_left[i] -= 1
            user_left[u] -= 1
            if g >= 0:
                group_left[g] -= 1
