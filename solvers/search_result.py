"""What the candidate search over all pairs reports: a record for each round, and the result."""

from dataclasses import dataclass

import numpy as np

from .allocation import Allocation
from .problem import Problem
from .sequential import FirstComeLists


@dataclass(frozen=True)
class Round:
    """One round: the candidates solved, what they gave, and the bound that the prices prove.

    `value` and `bound_all_pairs` are the best so far, `gap_all_pairs` the gap between them; `bound_candidates` speaks
    only for this round's candidates and those that filled its free places. Round 0 is the solve of the first lists.
    `seconds` since the search began, `search_seconds` of them in asking the source this round. Before the round's solve
    `dropped` candidates went because they are in no better answer, and `cut` because an item had more than its limit.
    """

    round: int
    edges: int
    value: float
    bound_candidates: float
    bound_all_pairs: float
    gap_all_pairs: float
    seconds: float
    search_seconds: float = 0.0
    dropped: int = 0
    cut: int = 0


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What `search_candidates` found.

    problem     the candidates of the last round, and every pair of the answer
    allocation  the best answer; its bound and user_prices speak for the pairs that `covers` names
    found       int16[edges]: the search that found each candidate first, and its round (`found_in`)
    first_come  the sequential pass: its lists, matches and value
    rounds      one record a round
    recall      share of each item's best users at the last prices that an approximate source finds, measured on some
                items; None for an exact source, or one that cannot tell
    first_come_seconds  of the sequential pass
    """

    problem: Problem
    allocation: Allocation
    found: np.ndarray
    first_come: FirstComeLists
    rounds: tuple[Round, ...]
    recall: float | None = None
    first_come_seconds: float = 0.0

    @property
    def bound_all_pairs(self) -> float:
        """The smallest bound found."""
        return self.allocation.bound

    @property
    def cut(self) -> int:
        """Candidates that went in all rounds because an item had more than its limit."""
        return sum(record.cut for record in self.rounds)

    @property
    def covers(self) -> str:
        """Which pairs the bound speaks for: "all pairs" with an exact source, else "pairs searched"."""
        return self.allocation.bound_covers
