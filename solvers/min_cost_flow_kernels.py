"""Numba kernel that reads prices off an optimal flow."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def keep_worth(held: np.ndarray, worth: np.ndarray, indptr: np.ndarray, least: np.ndarray) -> None:
    """Lets each item give up edges it holds (held uint8[edges], in place) of worth 0, but not below `least` edges.

    worth int64[edges], indptr int64[items + 1], least int32[items].
    """
    for i in range(least.size):
        load = 0
        for e in range(indptr[i], indptr[i + 1]):
            load += held[e]
        for e in range(indptr[i], indptr[i + 1]):
            if load > least[i] and held[e] == 1 and worth[e] == 0:
                held[e] = 0
                load -= 1


@nb.njit(cache=True, nogil=True)
def lowest_prices(  # noqa: PLR0912, PLR0917
    indptr: np.ndarray,
    user: np.ndarray,
    worth: np.ndarray,
    demand: np.ndarray,
    group: np.ndarray,
    group_full: np.ndarray,
    held: np.ndarray,
    holder_start: np.ndarray,
    holder: np.ndarray,
    price: np.ndarray,
    group_price: np.ndarray,
    budget: int,
) -> int:
    """Raises prices from 0 to the lowest at which no item would rather have a user it does not hold.

    Longest paths in the residual graph of an optimal flow by label correcting, first in, first out. An item would give
    up its lowest worth - price for another user, and 0 for one more user if it misses any: less than 0 where only its
    floor makes it hold on to a user. An edge costs the price of its user or of its full group, whichever is higher.
    indptr int64[items + 1], user int32[edges], worth int64[edges], demand int32[items], group int32[edges] (-1: none;
    size 0: no groups), group_full uint8[groups], held uint8[edges]; holder int64[matches] lists the items that hold
    user u at holder_start[u] to holder_start[u + 1] (int64[users + 1]).
    Writes price int64[users] and group_price int64[groups] (zeros before). Stops after reading `budget` edges; returns
    the edges read.
    """
    items = demand.size
    queue, queued = np.arange(items), np.ones(items, np.uint8)
    first, waiting, read = 0, items, 0
    while waiting > 0 and read < budget:
        i = queue[first]
        first = (first + 1) % items
        waiting -= 1
        queued[i] = 0
        if demand[i] == 0:
            continue
        read += indptr[i + 1] - indptr[i] + 1
        load, lowest = 0, np.int64(np.iinfo(np.int64).max)
        for e in range(indptr[i], indptr[i + 1]):
            if held[e] == 1:
                cost = price[user[e]]
                if group.size > 0 and group[e] >= 0:
                    cost = max(cost, group_price[group[e]])
                load += 1
                lowest = min(lowest, worth[e] - cost)
        if load < demand[i]:
            lowest = min(lowest, np.int64(0))
        for e in range(indptr[i], indptr[i + 1]):
            u = user[e]
            if held[e] == 1 or worth[e] - lowest <= price[u]:
                continue
            g = group[e] if group.size > 0 else -1
            if g >= 0 and group_full[g] == 1:
                if worth[e] - lowest <= group_price[g]:
                    continue
                group_price[g] = worth[e] - lowest
            else:
                price[u] = worth[e] - lowest
            for at in range(holder_start[u], holder_start[u + 1]):
                if queued[holder[at]] == 0:
                    queued[holder[at]] = 1
                    queue[(first + waiting) % items] = holder[at]
                    waiting += 1
    return read
