"""Numba kernel that reads user prices off an optimal flow."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def lowest_prices(  # noqa: PLR0917
    indptr: np.ndarray,
    user: np.ndarray,
    worth: np.ndarray,
    demand: np.ndarray,
    held: np.ndarray,
    holder_start: np.ndarray,
    holder: np.ndarray,
    price: np.ndarray,
    budget: int,
) -> int:
    """Raises prices from 0 to the lowest at which no item would rather have a user it does not hold.

    Longest paths in the residual graph of an optimal flow by label correcting, first in, first out. An item that has
    all it wants would give up its lowest worth - price; one that misses users gives up nothing.
    indptr int64[items + 1], user int32[edges], worth int64[edges], demand int32[items], held uint8[edges];
    holder int64[matches] lists the items that hold user u at holder_start[u] to holder_start[u + 1] (int64[users + 1]).
    Writes price int64[users] (zeros before). Stops after reading `budget` edges; returns the edges read.
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
                load += 1
                lowest = min(lowest, worth[e] - price[user[e]])
        if load < demand[i]:
            lowest = np.int64(0)
        for e in range(indptr[i], indptr[i + 1]):
            u = user[e]
            if held[e] == 1 or worth[e] - lowest <= price[u]:
                continue
            price[u] = worth[e] - lowest
            for at in range(holder_start[u], holder_start[u + 1]):
                if queued[holder[at]] == 0:
                    queued[holder[at]] = 1
                    queue[(first + waiting) % items] = holder[at]
                    waiting += 1
    return read
