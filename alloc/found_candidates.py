"""An allocation over given candidates alone: what the paper's versions and its Base do, without a search at user prices."""

import time
from dataclasses import replace

import numpy as np
import torch

from ..models.pair_scores import PairScorer
from ..solvers.candidate_lists import CandidateLists
from ..solvers.search_result import SearchResult
from ..solvers.sequential import FirstComeLists
from ..solvers.solve import solve
from .config import AllocationOptions
from .device import auction_on
from .partitions import Engine, given, ranges
from .sources import USER_SIDE

USERS_AT_ONCE = 16_384


def search_found(
    lists: CandidateLists, capacity: np.ndarray, options: AllocationOptions, threads: int, device: str = "cpu"
) -> SearchResult:
    """First come over these candidates, and an allocation of them to the gap asked for, by the auction on the device; its
    bound covers them alone.
    """
    begin = time.perf_counter()
    problem = lists.problem(options.demand, capacity)
    first = FirstComeLists(lists, np.sort(solve(problem, "first-come", threads=threads).chosen))
    seconds = time.perf_counter() - begin
    gap, limit = options.gap, options.time_limit
    allocation = solve(problem, auction_on(device), gap=gap, time_limit=limit, threads=threads)
    covers = replace(allocation, bound_covers="candidates")
    return SearchResult(problem, covers, lists.found, first, (), None, seconds)


def user_side_lists(scorer: PairScorer, capacity: np.ndarray, engine: Engine) -> CandidateLists:
    """Of each user the best items by the score, as many as the user has places: the user-side recommender among new items.

    One product of all pairs, a block of USERS_AT_ONCE users a worker at a time; 4 bytes a pair of a block.
    """
    most = int(min(capacity.max(initial=0), scorer.items))
    shared = engine.share(given, (scorer, capacity, most))
    found = engine.run(best_items, ranges(scorer.users, USERS_AT_ONCE), shared)
    item, user, score = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return _by_item(scorer.items, item, user, score)


def best_items(
    asked: tuple[PairScorer, np.ndarray, int], part: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Item, user and score of the best pairs of the users of ``part``, as many of each as its capacity and ``most``."""
    (scorer, capacity, most), (first, last) = asked, part
    tile = scorer.tile(np.arange(scorer.items), first, last)
    score, item = (found.numpy() for found in torch.topk(tile, most, dim=0))
    wanted = (np.arange(most)[:, None] < capacity[first:last]) & (score > 0)
    _, user = np.nonzero(wanted)
    return item[wanted], user + first, score[wanted]


def _by_item(items: int, item: np.ndarray, user: np.ndarray, score: np.ndarray) -> CandidateLists:
    order = np.lexsort((user, item))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(item, minlength=items))])
    found = np.full(len(item), USER_SIDE, np.int16)
    return CandidateLists(indptr, user[order].astype(np.int32), score[order].astype(np.float32), found)
