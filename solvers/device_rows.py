"""Candidates on a device: rows padded to about one length each, side by side in flat arrays."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from .block_state import Rows
from .errors import ProblemError

NARROWEST = 0.75
"""Shortest row of a bucket as a share of its width: padding takes a third more at the worst."""

SHORT = 16
"""Rows up to so long are in one bucket."""

PIECE = 1 << 24
"""Edges that are padded at a time."""

HALF_SAMPLE = 1 << 20
"""Edges of a first look at whether float16 keeps the scores."""


class Bucket(NamedTuple):
    """Rows of about one length: `rows` of them from row `first`, each `width` wide, in the flat arrays from `begin`."""

    first: int
    rows: int
    width: int
    begin: int


@dataclass(eq=False)
class DeviceRows:
    """The edges by item, on a device; 6 bytes an edge with float16 scores, 8 with float32, and padding where rows differ.

    users    how many there are; a user is an int32, plus `users` where the item holds the edge, 2 `users` in padding
    user     int32[size + 1], changed by the auction; the last is where writes go that are none
    score    float16[size + 1] or float32[size + 1], 0 in padding
    demand   int32[rows + 1], at most the row's length and at least 1; 0 for the last, which is no row
    item     int64[rows] on the host: the item of each row, ascending inside a bucket; None: the rows are the items
    buckets  from the longest rows to the shortest
    """

    users: int
    user: torch.Tensor
    score: torch.Tensor
    demand: torch.Tensor
    item: np.ndarray | None
    buckets: list[Bucket]

    def __post_init__(self) -> None:
        columns = [[one.first, one.width, one.begin] for one in self.buckets]  # copied now: a round never waits for it
        self._table = torch.tensor(columns, dtype=torch.int64, device=self.user.device).view(-1, 3).T.contiguous()

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.demand.numel() - 1

    @property
    def size(self) -> int:
        """Edges with padding."""
        return self.user.numel() - 1

    def row_of(self, place: torch.Tensor) -> torch.Tensor:
        """Rows of places in the flat arrays (int64[n]), int64[n]."""
        if len(self.buckets) == 1:
            return place // self.buckets[0].width
        first, width, begin = self._table
        bucket = torch.searchsorted(begin, place, right=True) - 1
        return first[bucket] + (place - begin[bucket]) // width[bucket]

    def column_of(self, place: torch.Tensor) -> torch.Tensor:
        """Columns of places in the flat arrays (int64[n]) in their rows, int64[n]."""
        if len(self.buckets) == 1:
            return place % self.buckets[0].width
        _, width, begin = self._table
        bucket = torch.searchsorted(begin, place, right=True) - 1
        return (place - begin[bucket]) % width[bucket]

    def edges_of(self, place: np.ndarray, indptr: np.ndarray) -> np.ndarray:
        """The edges at places in the flat arrays (int64[n]), ascending int64[n]; indptr int64[items + 1] of the problem."""
        row, column = np.empty_like(place), np.empty_like(place)
        for one in self.buckets:
            mine = slice(*np.searchsorted(place, [one.begin, one.begin + one.rows * one.width]))
            row[mine], column[mine] = np.divmod(place[mine] - one.begin, one.width)
            row[mine] += one.first
        item = row if self.item is None else self.item[row]
        edge = indptr[item] + column
        return edge if self.item is None else np.sort(edge)

    def give_back(self) -> None:
        """Lets nobody hold anything: the rows as they were before an auction."""
        for at in range(0, self.user.numel(), PIECE):
            piece = self.user[at : at + PIECE]
            piece.sub_(torch.where((piece >= self.users) & (piece < 2 * self.users), self.users, 0))


def rows_on(rows: Rows, users: int, device: str) -> DeviceRows:
    """The rows that want somebody, copied to the device. Rows of one length are copied as they are.

    Others are padded there, which takes 4 bytes an edge and the bytes of its score more for the while. Raises
    ProblemError for 2^30 users or more, and for 2^32 edges or more with padding.
    """
    if users >= 2**30:
        raise ProblemError(f"{users} users, the auction on a device takes fewer than {2**30}")
    length = np.diff(rows.indptr)
    if padded_size(length) >= 2**32:
        raise ProblemError(
            f"{padded_size(length)} edges with padding, the auction on a device takes fewer than {2**32}"
        )
    wanted = np.flatnonzero((rows.demand > 0) & (length > 0))
    score = _scores_on(rows.score, device)
    if wanted.size == length.size and length.size and length.min() == length.max():
        width = int(length[0])
        user = torch.empty(rows.user.size + 1, dtype=torch.int32, device=device)
        user[:-1].copy_(_host(rows.user.view(np.int32)))
        user[-1] = 2 * users
        return DeviceRows(users, user, score, _demand(rows.demand, device), None, [Bucket(0, length.size, width, 0)])
    item, buckets = bucketed(wanted, length)
    demand = _demand(rows.demand[item], device)
    source = _host(rows.user.view(np.int32)).to(device)
    return DeviceRows(users, *_padded(source, score, users, rows.indptr, item, buckets), demand, item, buckets)


def padded_size(length: np.ndarray) -> int:
    """Edges that rows of these lengths (int64[rows]) take with padding."""
    _, buckets = bucketed(np.flatnonzero(length), length)
    return sum(one.rows * one.width for one in buckets)


def bucketed(items: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, list[Bucket]]:
    """The items (int64[rows]) by bucket and in order inside it, and the buckets; length int64[all items]."""
    order = items[np.argsort(-length[items], kind="stable")]
    falling, buckets, first, begin = -length[order], list[Bucket](), 0, 0
    while first < order.size:
        width = int(-falling[first])
        least = 0 if width <= SHORT else max(SHORT, int(NARROWEST * width))
        last = int(np.searchsorted(falling, -least, side="left"))
        order[first:last].sort()
        buckets.append(Bucket(first, last - first, width, begin))
        first, begin = last, begin + (last - first) * width
    return order, buckets


def _padded(
    user: torch.Tensor,
    score: torch.Tensor,
    users: int,
    indptr: np.ndarray,
    item: np.ndarray,
    buckets: list[Bucket],
) -> tuple[torch.Tensor, torch.Tensor]:
    size = sum(one.rows * one.width for one in buckets)
    out_user = torch.full((size + 1,), 2 * users, dtype=torch.int32, device=user.device)
    out_score = torch.zeros(size + 1, dtype=score.dtype, device=user.device)
    start, end = (torch.from_numpy(side[item]).to(user.device) for side in (indptr[:-1], indptr[1:]))
    for one in buckets:
        column, step = torch.arange(one.width, device=user.device), max(1, PIECE // one.width)
        for first in range(one.first, one.first + one.rows, step):
            last = min(first + step, one.first + one.rows)
            edge = start[first:last, None] + column
            there = edge < end[first:last, None]
            edge.clamp_(max=user.numel() - 1)
            at = one.begin + (first - one.first) * one.width
            piece = slice(at, at + edge.numel())
            out_user[piece] = torch.where(there, user[edge], 2 * users).view(-1)
            out_score[piece] = torch.where(there, score[edge], 0).view(-1)
    return out_user, out_score


def _scores_on(score: np.ndarray, device: str) -> torch.Tensor:
    """[edges + 1] on the device: float16 where the scores are (as uint16) or where that keeps every one, else float32."""
    if score.dtype == np.uint16:
        return _with_end(_host(score.view(np.float16)), torch.float16, device)
    host = _host(score)
    sample = host[:HALF_SAMPLE]
    if not torch.equal(sample.to(torch.float16).to(torch.float32), sample):
        return _with_end(host, torch.float32, device)
    full = _with_end(host, torch.float32, device)
    half = full.to(torch.float16)
    same = all(
        torch.equal(half[at : at + PIECE].to(torch.float32), full[at : at + PIECE])
        for at in range(0, full.numel(), PIECE)
    )
    return half if same else full


def _with_end(host: torch.Tensor, dtype: torch.dtype, device: str) -> torch.Tensor:
    out = torch.zeros(host.numel() + 1, dtype=dtype, device=device)
    out[:-1].copy_(host)
    return out


def _demand(demand: np.ndarray, device: str) -> torch.Tensor:
    return torch.from_numpy(np.append(demand, np.int32(0)).astype(np.int32)).to(device)


def _host(array: np.ndarray) -> torch.Tensor:
    """The array's own memory as a tensor that is only read: torch knows no read-only tensors and warns of such arrays."""
    if not array.size or array.flags.writeable:
        return torch.from_numpy(np.ascontiguousarray(array)) if array.size else torch.from_numpy(array.copy())
    about = {"data": (array.ctypes.data, False), "shape": array.shape, "typestr": array.dtype.str, "version": 3}
    holder = type("Borrowed", (), {"__array_interface__": about, "array": array})()
    return torch.from_numpy(np.asarray(holder))
