"""Which candidates a search keeps: those that may still enter the answer, and at most so many of an item."""

import numpy as np

from .candidate_kernels import may_enter
from .candidate_lists import CandidateLists


def at_most(
    lists: CandidateLists, prices: np.ndarray, item: np.ndarray, user: np.ndarray, most: int
) -> tuple[CandidateLists, int]:
    """At most `most` candidates an item, and how many went: matches (item, user) stay, then those of largest net score.

    prices float64[users]; item and user int[matches]. O(edges log edges) time where an item has more.
    """
    if np.diff(lists.indptr).max(initial=0) <= most:
        return lists, 0
    net = lists.score - prices[lists.user]
    net[lists.edges_of(item, user)] = np.inf
    owner = lists.item
    order = np.lexsort((lists.user, -net, owner))
    keep = np.zeros(lists.edges, np.bool_)
    keep[order] = np.arange(lists.edges) - lists.indptr[owner[order]] < most
    kept = lists.kept(keep | np.isinf(net))
    return kept, lists.edges - kept.edges


def without_hopeless(
    lists: CandidateLists, prices: np.ndarray, demand: np.ndarray, item: np.ndarray, user: np.ndarray, room: float
) -> tuple[CandidateLists, int]:
    """Without the candidates that are in no allocation worth more than the best so far, and how many those were.

    An allocation with pair (i, u) is worth at most D(p) - (t_i - net_iu), with t_i the demand-th largest max(0, net) of
    item i: its other users add no more than the best ones do (reduced-cost fixing). `room`: D(prices) less the value of
    the matches (item, user), which stay. Right only where `lists` hold each item's demand best at these prices.
    """
    most_net = float(lists.score.max(initial=0.0))
    if room >= most_net + float(prices.max(initial=0.0)):
        return lists, 0
    keep = np.ones(lists.edges, np.bool_)
    may_enter((lists.indptr, lists.user, lists.score), prices, demand.astype(np.int64), room, keep)
    keep[lists.edges_of(item, user)] = True
    kept = lists.kept(keep)
    return kept, lists.edges - kept.edges
