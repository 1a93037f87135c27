"""The best users of items at user prices, found approximately: a faiss IVF index with the price as one more dimension.

A score that is an inner product less a price is an inner product too, <(e_i, 1), (e_u, -p_u)>, so that the index of the
users finds what is best at the prices. It looks only into the lists nearest to the item; what it finds is scored exactly.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faiss
import numpy as np

PairScores = Callable[[np.ndarray, np.ndarray], np.ndarray]

_faiss: Any = faiss  # its type stubs know neither keyword arguments nor arrays in place of pointers

TRAINED_ON = 64
"""Users for each list that the lists' centres are learnt from."""

ITERATIONS = 8
"""Of k-means."""

BLOCK = 64
"""Items in one call of the index."""


class ApproximateSearch:
    """Answers "who are the best users of these items at these prices?" from some of the index's lists.

    item_vector  float32[items, k], user_vector float32[users, k]: their product is the score, or orders users as it does
    pair_score   function: item rows int64[n], user rows int64[n] -> float32[n], the scores; 0 or less: no candidate
    lists        lists of the index, by the direction of the users' vectors
    probes       lists that are looked into for an item
    widen        users taken from the index for each one asked for, where its product is not quite the score
    threads      blocks of items searched at once, 0: one a processor. The answer does not depend on it

    Memory: 4 (k + 3) bytes a user. Time of `best`: about probes / lists of a product of all pairs, and the prices, which
    are written into the index when they change. Raises ValueError for vectors of different length or no users.
    """

    exact = False

    def __init__(
        self,
        item_vector: np.ndarray,
        user_vector: np.ndarray,
        pair_score: PairScores,
        *,
        lists: int = 1024,
        probes: int = 64,
        widen: float = 1.0,
        seed: int = 0,
        threads: int = 0,
    ) -> None:
        if user_vector.shape[0] == 0 or item_vector.shape[1] != user_vector.shape[1]:
            raise ValueError(
                f"item vectors have shape {item_vector.shape} and user vectors {user_vector.shape}, "
                "expected float32 of the same length, and some users"
            )
        self.items, self.users = item_vector.shape[0], user_vector.shape[0]
        self.threads = threads or _processors()
        self.probes, self.widen = probes, widen
        self._score, self._item, self._user = pair_score, item_vector, user_vector
        self._index = _build(user_vector, min(lists, max(1, self.users // TRAINED_ON)), seed)
        self._price_places = _last_places(self._index)
        self._prices = np.zeros(self.users, np.float32)

    def best(
        self, item_rows: np.ndarray, user_prices: np.ndarray, count: int, available: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The users of largest score - price > 0 of each item that the lists show, best first, equal ones by user row.

        item_rows int[n], user_prices float[users] >= 0, available bool[users] (None: everybody). Returns user
        int32[n, count] and score float32[n, count], not less the price, padded with -1 and 0.
        """
        self._set_prices(np.asarray(user_prices, np.float32))
        asked = np.asarray(item_rows, np.int64)
        user, score = np.full((asked.size, count), -1, np.int32), np.zeros((asked.size, count), np.float32)
        if not asked.size or not count:
            return user, score
        chosen = None if available is None else np.packbits(available, bitorder="little")

        def search(begin: int) -> None:
            part = slice(begin, begin + BLOCK)
            self._search(asked[part], user_prices, chosen, user[part], score[part])

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(search, range(0, asked.size, BLOCK)))
        return user, score

    def recall(self, item_rows: np.ndarray, user_prices: np.ndarray, count: int) -> float:
        """Share of the `count` best users of these items, of all users, that `best` finds; 1 where nobody is worth > 0."""
        everybody, found = np.arange(self.users), self.best(item_rows, user_prices, count)[0]
        hits = wanted = 0
        for place, item in enumerate(np.asarray(item_rows, np.int64)):
            net = self._score(np.full(self.users, item), everybody).astype(np.float64) - user_prices
            best = np.argsort(-net, kind="stable")[:count]
            best = best[net[best] > 0]
            hits, wanted = hits + np.isin(best, found[place]).sum(), wanted + best.size
        return float(hits / wanted) if wanted else 1.0

    def _search(
        self, items: np.ndarray, prices: np.ndarray, chosen: np.ndarray | None, user: np.ndarray, score: np.ndarray
    ) -> None:
        """Writes the answer for one block of items into user and score, float32 and int32 [n, count]."""
        _faiss.omp_set_num_threads(1)  # counts for this thread only
        queries = np.concatenate([self._item[items], np.ones((items.size, 1), np.float32)], 1)
        options = _faiss.SearchParametersIVF(nprobe=min(self.probes, self._index.nlist))
        if chosen is not None:
            options.sel = _faiss.IDSelectorBitmap(chosen)
        count = user.shape[1]
        found = self._index.search(np.ascontiguousarray(queries), int(np.ceil(self.widen * count)), params=options)[1]
        found.sort(axis=1)
        place, at = np.nonzero(found >= 0)
        worth = np.zeros(found.shape, np.float32)
        worth[place, at] = self._score(items[place], found[place, at])
        net = np.where(found >= 0, worth - prices[found], -np.inf)
        order = np.argsort(-net, axis=1, kind="stable")[:, :count]
        kept = np.take_along_axis(net, order, 1) > 0
        width = order.shape[1]
        user[:, :width] = np.where(kept, np.take_along_axis(found, order, 1), -1)
        score[:, :width] = np.where(kept, np.take_along_axis(worth, order, 1), 0)

    def _set_prices(self, prices: np.ndarray) -> None:
        """Writes the prices into the vectors of the index, where they are others than last time."""
        if np.array_equal(prices, self._prices):
            return
        for users, last in self._price_places:
            last[:] = -prices[users]
        self._prices = prices.copy()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _build(user_vector: np.ndarray, lists: int, seed: int) -> Any:
    """The index over (vector, 0), its lists by direction. On one thread where sums depend on it: the same bytes always."""
    direction = user_vector / np.maximum(np.linalg.norm(user_vector, axis=1, keepdims=True), 1e-12).astype(np.float32)
    sample = np.random.default_rng([seed, 3]).permutation(len(direction))[: lists * TRAINED_ON]
    _faiss.omp_set_num_threads(1)
    means = _faiss.Kmeans(direction.shape[1], lists, niter=ITERATIONS, spherical=True, seed=seed)
    means.cp.min_points_per_centroid = 1
    means.train(np.ascontiguousarray(direction[np.sort(sample)]))
    centres = np.concatenate([means.centroids, np.zeros((lists, 1), np.float32)], 1)
    quantizer = _faiss.IndexFlatIP(centres.shape[1])
    quantizer.add(np.ascontiguousarray(centres))
    index = _faiss.IndexIVFFlat(quantizer, centres.shape[1], lists, _faiss.METRIC_INNER_PRODUCT)
    index.own_fields, index.is_trained = True, True
    quantizer.this.disown()
    index.add(np.ascontiguousarray(np.concatenate([user_vector, np.zeros((len(direction), 1))], 1), np.float32))
    return index


def _last_places(index: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each list the rows of its users, int64[n], and where the last entry of their vectors lies, float32[n], writable."""
    lists, places = index.invlists, []
    for number in range(index.nlist):
        size = lists.list_size(number)
        if size:
            users = _faiss.rev_swig_ptr(lists.get_ids(number), size).copy()
            codes = _faiss.rev_swig_ptr(lists.get_codes(number), size * index.code_size)
            places.append((users, codes.view(np.float32).reshape(size, index.d)[:, -1]))
    return places
