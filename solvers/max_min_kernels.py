"""Numba kernel of provider max-min fairness: users arrive and take the best items by score plus the provider's bonus."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def comes_first(rank: np.ndarray, edge: np.ndarray, a: int, b: int) -> bool:
    """Whether heap entry a goes before b: the higher rank, the earlier edge where they are equal."""
    return rank[a] > rank[b] or (rank[a] == rank[b] and edge[a] < edge[b])


@nb.njit(cache=True, nogil=True)
def sift_down(rank: np.ndarray, edge: np.ndarray, count: int, at: int) -> None:
    """Lets entry `at` of the heap rank[:count], edge[:count] sink until none below goes before it."""
    while 2 * at + 1 < count:
        below = 2 * at + 1
        if below + 1 < count and comes_first(rank, edge, below + 1, below):
            below += 1
        if comes_first(rank, edge, at, below):
            return
        rank[at], rank[below] = rank[below], rank[at]
        edge[at], edge[below] = edge[below], edge[at]
        at = below


@nb.njit(cache=True, nogil=True)
def take_by_user(  # noqa: PLR0917
    arrival: np.ndarray,
    indptr: np.ndarray,
    item: np.ndarray,
    score: np.ndarray,
    group: np.ndarray,
    provider: np.ndarray,
    target: np.ndarray,
    bonus: float,
    rate: float,
    item_left: np.ndarray,
    user_left: np.ndarray,
    group_left: np.ndarray,
    held: np.ndarray,
) -> None:
    """Each user in the order of arrival takes its best edges by score + bonus x w / target of the item's provider.

    The weights w, which sum to 1, fall by exp(-rate / target) for each user that a provider got; a user's choice is made
    at the weights before it. arrival int64[users], indptr int64[users + 1], item int32[edges], score float32[edges] and
    group int32[edges] (-1: none; size 0: no groups) by user; provider int32[items], target float64[providers] > 0 (0: of
    no edge); in place: item_left int64[items], user_left int64[users], group_left int64[groups] (places left) and held
    uint8[edges], by user. Scores of 0 are not taken, ties go to the earlier edge. One pass, 9 bytes an edge, item and
    provider at random, then a heap of each row from which only what is taken is popped.
    """
    longest = 0
    for u in range(user_left.size):
        longest = max(longest, indptr[u + 1] - indptr[u])
    rank, edge, taken = np.empty(longest), np.empty(longest, np.int64), np.empty(longest, np.int64)
    weight = np.where(target > 0.0, 1.0, 0.0)
    total = summed = weight.sum()
    for u in arrival:
        count, took = 0, 0
        for e in range(indptr[u], indptr[u + 1]):
            i = item[e]
            if user_left[u] > 0 and score[e] > 0.0 and item_left[i] > 0:
                p = provider[i]
                rank[count], edge[count] = score[e] + bonus * (weight[p] / (total * target[p])), e
                count += 1
        for at in range(count // 2 - 1, -1, -1):
            sift_down(rank, edge, count, at)
        while count > 0 and user_left[u] > 0:
            e = edge[0]
            count -= 1
            rank[0], edge[0] = rank[count], edge[count]
            sift_down(rank, edge, count, 0)
            g = group[e] if group.size > 0 else -1
            if g >= 0:
                if group_left[g] <= 0:
                    continue
                group_left[g] -= 1
            held[e], taken[took] = 1, e
            took += 1
            item_left[item[e]] -= 1
            user_left[u] -= 1
        for k in range(took):
            p = provider[item[taken[k]]]
            lower = weight[p] * np.exp(-rate / target[p])
            total += lower - weight[p]
            weight[p] = lower
        if total < 0.5 * summed:  # or rounding would be all that is left of it
            total = summed = weight.sum()
