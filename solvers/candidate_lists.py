"""Candidate lists: which users each item may get, their scores, and which search found each pair first."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .candidate_kernels import find_edges, merge_rows, merged_lengths
from .errors import ProblemError
from .problem import Problem

FIRST_COME = 0
"""Found by the sequential pass over all users."""

BY_PRICE = 1
"""Found by a search at user prices."""

FREE_PLACES = 2
"""Found for an item short of users, among those whose places the answer left free."""

FIRST_FREE_CODE = 3
"""Codes from here to 127 are for the lists of other retrievals."""

CODES = 128
"""`found` is code + CODES * round."""


def found_in(code: int, number: int) -> int:
    """What `found` says of a candidate that the search of this code found in round `number`, from 0."""
    return code + CODES * number


@dataclass(frozen=True, eq=False)
class CandidateLists:
    """Candidates by item (CSR), users ascending inside an item, each once.

    indptr int64[items + 1], user int32[edges], score float32[edges] > 0, found int16[edges]: code of the search that
    found the pair first, and CODES times the round in which it did. 14 bytes an edge
    """

    indptr: np.ndarray
    user: np.ndarray
    score: np.ndarray
    found: np.ndarray

    @property
    def items(self) -> int:
        """Number of items."""
        return self.indptr.size - 1

    @property
    def edges(self) -> int:
        """Number of candidates."""
        return self.user.size

    @property
    def item(self) -> np.ndarray:
        """Item row of each edge, int32[edges]."""
        return np.repeat(np.arange(self.items, dtype=np.int32), np.diff(self.indptr))

    def problem(self, demand: Any, capacity: np.ndarray, **ids: Any) -> Problem:
        """The assignment problem over these candidates; arguments as for `Problem.from_csr`."""
        return Problem.from_csr(self.indptr, self.user, self.score, demand, capacity, **ids)

    def edges_of(self, item: np.ndarray, user: np.ndarray) -> np.ndarray:
        """Edge of each pair (item row, user row), int64[n]; -1 where it is no candidate."""
        out = np.empty(item.size, np.int64)
        find_edges(self.indptr, self.user, item, user, out)
        return out

    def merged(self, other: "CandidateLists") -> "CandidateLists":
        """The union; a pair in both keeps the score and code it has here. O(edges)."""
        indptr = np.empty_like(self.indptr)
        merged_lengths(self.indptr, self.user, other.indptr, other.user, indptr)
        edges = int(indptr[-1])
        out = np.empty(edges, np.int32), np.empty(edges, np.float32), np.empty(edges, np.int16)
        merge_rows(self._arrays, other._arrays, indptr, out)
        return CandidateLists(indptr, *out)

    def kept(self, keep: np.ndarray) -> "CandidateLists":
        """Only the edges where keep (bool[edges]) is true."""
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])
        return CandidateLists(before[self.indptr], self.user[keep], self.score[keep], self.found[keep])

    @property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.indptr, self.user, self.score, self.found


@dataclass(frozen=True, eq=False)
class ExtraLists:
    """Candidates that other retrievals found, by item (CSR), in any order inside an item.

    indptr int[items + 1], user int[edges], code int8[edges]: which retrieval, from 3 to 127, named by the caller.
    score float32[edges] or None: the source computes it (then it must be a RowSource). Pairs scored 0 or less are
    dropped; of a pair given twice the first one counts.
    """

    indptr: np.ndarray
    user: np.ndarray
    code: np.ndarray
    score: np.ndarray | None = None

    def __post_init__(self) -> None:
        sizes = {self.user.size, self.code.size} | ({self.score.size} if self.score is not None else set())
        if len(sizes) > 1 or self.indptr[0] != 0 or self.indptr[-1] != self.user.size:
            raise ProblemError(
                f"extra candidates: indptr ends at {self.indptr[-1]}, user, code and score have {sorted(sizes)} "
                "entries, expected the same number"
            )
        if self.code.size and (self.code.min() < FIRST_FREE_CODE or self.code.max() > np.iinfo(np.int8).max):
            raise ProblemError(
                f"extra candidates have codes {self.code.min()} to {self.code.max()}, expected {FIRST_FREE_CODE} to 127"
            )

    def lists(self, score: np.ndarray) -> CandidateLists:
        """The candidates with a score > 0 in the order of `CandidateLists`; score float32[edges]."""
        item = np.repeat(np.arange(self.indptr.size - 1), np.diff(self.indptr))
        order = np.lexsort((self.user, item))
        same = (item[order][1:] == item[order][:-1]) & (self.user[order][1:] == self.user[order][:-1])
        first = np.concatenate([np.ones(min(1, order.size), np.bool_), ~same])
        kept = order[first & (score[order] > 0)]
        counts = np.bincount(item[kept], minlength=self.indptr.size - 1)
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        return CandidateLists(
            indptr,
            self.user[kept].astype(np.int32),
            score[kept].astype(np.float32),
            self.code[kept].astype(np.int16),
        )


def lists_from_padded(user: np.ndarray, score: np.ndarray, found: int) -> CandidateLists:
    """Lists of one search (`found_in`): user int32[items, count], distinct in a row, padded with -1; score float32."""
    last = np.iinfo(np.int32).max
    order = np.argsort(np.where(user < 0, last, user), axis=1, kind="stable")
    user, score = np.take_along_axis(user, order, axis=1), np.take_along_axis(score, order, axis=1)
    there = user >= 0
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(there.sum(axis=1))])
    users = user[there].astype(np.int32)
    return CandidateLists(indptr, users, score[there].astype(np.float32), np.full(users.size, found, np.int16))
