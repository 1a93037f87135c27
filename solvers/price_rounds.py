"""The candidate search over all pairs: first come's own lists, then rounds of "who is best at today's prices?"."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .all_pairs_search import AllPairsSearch
from .candidate_lists import ExtraLists
from .candidate_source import CandidateSource
from .errors import ProblemError
from .price_round_options import PriceRounds
from .search_result import Round, SearchResult

__all__ = ["PriceRounds", "Round", "SearchResult", "search_candidates"]


def search_candidates(
    source: CandidateSource,
    demand: Any,
    capacity: np.ndarray,
    options: PriceRounds | None = None,
    *,
    threads: int = 0,
    extra: ExtraLists | None = None,
    order: np.ndarray | None = None,
    item_ids: Any | None = None,
    user_ids: Any | None = None,
    on_round: Callable[[Round], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> SearchResult:
    """The best allocation over all pairs that the rounds of `PriceRounds` reach, with its candidates and bound.

    demand              number or int[items]; capacity int[users]
    threads             most threads of the solves, 0: all cores; the source has its own
    extra               candidates of other retrievals, which join the first lists and count as found first
    order               every item row in upload order, for the sequential pass; None: row order
    item_ids, user_ids  outside ids of the rows, handed on to the problem
    on_round            called after each round with its record
    progress            called with the items searched since the last call: items * (options.rounds + 2) at most

    Ctrl-C during a solve ends the search with the best answer so far and the status `interrupted`. Deterministic.
    Raises ProblemError for wrong sizes or scores.
    """
    options = options or PriceRounds()
    wanted = np.broadcast_to(np.asarray(demand), (source.items,))
    if order is not None and len(order) != source.items:
        raise ProblemError(f"order has {len(order)} entries, expected {source.items}: every item once")
    search = AllPairsSearch(
        source, wanted, np.asarray(capacity), options, {"item_ids": item_ids, "user_ids": user_ids}, threads
    )
    search.begin(order, extra, progress)
    for number in range(options.rounds + 1):
        record = search.round(number, progress)
        if on_round is not None:
            on_round(record)
        if search.done:
            break
    return search.result()
