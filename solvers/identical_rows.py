"""Items with identical rows as one bidder, so that equals do not bid against each other step by step."""

from dataclasses import dataclass

import numpy as np

from .block_state import Rows
from .identical_kernels import confirm, fingerprints, join_rows, raise_prices, share_out
from .ids import INT32_MAX

SAMPLES = (2, 8)
"""Edges of a row that its fingerprint looks at: few at first, as most problems have no twins."""

WORTH_JOINING = 0.2
"""Share of the edges that must be of items with a twin; below it joining costs more than it saves."""


@dataclass(frozen=True, eq=False)
class JoinedRows:
    """Rows of bidders, each one item or several with the same row and the same demand.

    A bidder of n items wants n times their demand, and each of its users up to n times but no more often than the user
    has places: that many equal edges stand in its row. Made by `join_identical`.

    rows      the bidders' edges, as the auction takes them
    members   int64[items], the items of bidder b from member_start[b] on (int64[bidders + 1])
    wanted    int64[bidders], users that the items of each want; more than rows.demand where the row is too short
    original, capacity  what was joined
    """

    rows: Rows
    members: np.ndarray
    member_start: np.ndarray
    wanted: np.ndarray
    original: Rows
    capacity: np.ndarray

    def edges(self, held: np.ndarray) -> np.ndarray:
        """The problem's edges, int64[matches], ascending, for the bidders' edges held (the same)."""
        out = np.empty(held.size, np.int64)
        original = self.original.indptr, self.original.user
        share_out(*original, self.members, self.member_start, self.capacity, held, self.rows.indptr, out)
        out.sort()
        return out

    def prices(self, held: np.ndarray, price: np.ndarray) -> np.ndarray:
        """Prices that certify the items' own rows as well as `price` (float64[users]) does the bidders'."""
        raised, rows = price.copy(), self.rows
        score = rows.score.view(np.float16).astype(np.float32) if rows.score.dtype == np.uint16 else rows.score
        copies = np.diff(self.member_start)
        raise_prices(rows.indptr, rows.user, score, copies, self.wanted, self.capacity, held, raised)
        return raised


def join_identical(rows: Rows, capacity: np.ndarray) -> JoinedRows | None:
    """The same problem with identical items joined; None where few are. One hash an item, then O(edges of twins).

    Only items of equal demand are joined. The joined rows take at most as much memory as the original ones.
    """
    bits = rows.score if rows.score.dtype == np.uint16 else rows.score.view(np.uint32)
    length, hashes = np.diff(rows.indptr), np.empty(rows.demand.size, np.uint64)
    for samples in SAMPLES:
        fingerprints(rows.indptr, rows.user, bits, rows.demand, samples, hashes)
        order = np.argsort(hashes, kind="stable")
        in_order = hashes[order]
        same = np.flatnonzero(in_order[1:] == in_order[:-1])
        if length[order[same]].sum() < WORTH_JOINING * rows.user.size or not same.size:
            return None
    leader = np.empty(rows.demand.size, np.int64)
    confirm(rows.indptr, rows.user, bits, rows.demand, order, hashes, leader)
    return _joined(rows, capacity, leader)


def _joined(rows: Rows, capacity: np.ndarray, leader: np.ndarray) -> JoinedRows:
    leaders, bidder = np.unique(leader, return_inverse=True)
    copies = np.bincount(bidder, minlength=leaders.size)
    member_start = np.concatenate([np.zeros(1, np.int64), np.cumsum(copies)])
    source, none = (rows.indptr, rows.user, rows.score, leaders, copies, capacity), np.empty(0, np.uint32)
    indptr = np.empty(leaders.size + 1, np.int64)
    join_rows(*source, indptr, none, rows.score[:0].copy())
    user, score = np.empty(indptr[-1], np.uint32), np.empty(indptr[-1], rows.score.dtype)
    join_rows(*source, indptr, user, score)
    wanted = rows.demand[leaders] * copies
    demand = np.minimum(np.minimum(wanted, np.diff(indptr)), INT32_MAX).astype(np.int32)
    for array in (indptr, user, score):
        array.setflags(write=False)
    members = np.argsort(bidder, kind="stable")
    return JoinedRows(Rows(indptr, user, score, demand), members, member_start, wanted, rows, capacity)
