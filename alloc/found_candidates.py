"""An allocation over given candidates alone: what the paper's versions and its Base do, without a search at user prices."""

import time
from dataclasses import replace

import numpy as np
import torch

from ..models.pair_scores import PairScorer
from ..models.torch_threads import one_thread
from ..solvers.candidate_lists import CandidateLists
from ..solvers.search_result import SearchResult
from ..solvers.sequential import FirstComeLists
from ..solvers.solve import solve
from .config import AllocationOptions
from .sources import USER_SIDE

USERS_AT_ONCE = 16_384


def search_found(lists: CandidateLists, capacity: np.ndarray, options: AllocationOptions, threads: int) -> SearchResult:
    """First come over these candidates, and an allocation of them to the gap asked for; its bound covers them alone."""
    begin = time.perf_counter()
    problem = lists.problem(options.demand, capacity)
    first = FirstComeLists(lists, np.sort(solve(problem, "first-come", threads=threads).chosen))
    seconds = time.perf_counter() - begin
    allocation = solve(problem, gap=options.gap, time_limit=options.time_limit, threads=threads)
    covers = replace(allocation, bound_covers="candidates")
    return SearchResult(problem, covers, lists.found, first, (), None, seconds)


@one_thread()
def user_side_lists(scorer: PairScorer, capacity: np.ndarray) -> CandidateLists:
    """Of each user the best items by the score, as many as the user has places: the user-side recommender among new items.

    One product of all pairs, a block of USERS_AT_ONCE users at a time; 4 bytes a pair of a block.
    """
    most = int(min(capacity.max(initial=0), scorer.items))
    items, users, scores = [], [], []
    for first in range(0, scorer.users, USERS_AT_ONCE):
        last = min(first + USERS_AT_ONCE, scorer.users)
        tile = scorer.tile(np.arange(scorer.items), first, last)
        score, item = (found.numpy() for found in torch.topk(tile, most, dim=0))
        wanted = (np.arange(most)[:, None] < capacity[first:last]) & (score > 0)
        _, user = np.nonzero(wanted)
        items.append(item[wanted])
        users.append(user + first)
        scores.append(score[wanted])
    item, user, score = (np.concatenate(parts) for parts in (items, users, scores))
    return _by_item(scorer.items, item, user, score)


def _by_item(items: int, item: np.ndarray, user: np.ndarray, score: np.ndarray) -> CandidateLists:
    order = np.lexsort((user, item))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(item, minlength=items))])
    found = np.full(len(item), USER_SIDE, np.int16)
    return CandidateLists(indptr, user[order].astype(np.int32), score[order].astype(np.float32), found)
