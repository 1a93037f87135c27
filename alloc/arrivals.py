"""A day's items one by one in order of upload, by rules that do not know what is still to come."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from ..solvers.online import OnlineRule
from ..solvers.online_kernels import best_bids
from ..solvers.online_prices import BidCurves, no_bids

_BLOCK = 32
_BIDS_BLOCK = 128


def replay_arrivals(
    rows: Callable[[np.ndarray], np.ndarray],
    demand: np.ndarray,
    gone: np.ndarray,
    rules: Mapping[str, OnlineRule],
    progress: Callable[[int], None] = lambda items: None,
) -> dict[str, float]:
    """Sum of the scores of the users whom each rule gives to the items, which come in row order; the rules keep the places.

    ``rows``: item rows -> float32[items, users], scores >= 0 of every user, 0 for those who must not get the item.
    ``demand`` int[items]. ``gone`` float[items]: share of a usual day's items that has come before each. Every rule looks
    at every user for every item.
    """
    values = dict.fromkeys(rules, 0.0)
    edges = [*range(0, len(demand), _BLOCK), len(demand)]
    for first, last in pairwise(edges):
        scores = rows(np.arange(first, last))
        everybody = np.arange(scores.shape[1])
        for name, rule in rules.items():
            for score, wanted, at in zip(scores, demand[first:last], gone[first:last], strict=True):
                users = rule.offer_one(everybody, score, int(wanted), float(at))
                rule.take(users)
                values[name] += float(score[users].sum(dtype=np.float64))
        progress(last - first)
    return values


def own_bids(rows: Callable[[np.ndarray], np.ndarray], demand: np.ndarray, price: np.ndarray, most: int) -> BidCurves:
    """Bid curves of a day at its own prices float64[users], every user looked at for every item: what no rule can know
    before the day. ``rows`` and ``demand`` as in `replay_arrivals`; most: largest capacity. 12 bytes a pair of 128 items.
    """
    users, items = len(price), len(demand)
    bids = no_bids(users, most)
    for first in range(0, items, _BIDS_BLOCK):
        block = np.arange(first, min(first + _BIDS_BLOCK, items))
        everybody = np.tile(np.arange(users, dtype=np.int32), len(block))
        bids = np.ascontiguousarray(bids[:, ::-1])  # rising, and so the heap that the kernel goes on with
        best_bids(np.arange(len(block) + 1) * users, everybody, rows(block).ravel(), demand[block], price, bids)
    return BidCurves(bids, max(items, 1))
