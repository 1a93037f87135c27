"""Short lists of items on a device: the best edges that an item does not hold, so that to bid again it reads no row."""

import torch

from .device_places import runs
from .device_rows import DeviceRows

LONG = 128
"""Items with at most so many edges have no list: they read their row."""

LISTED = 32
"""Edges that a row's reading leaves on its list, beside those it bids for."""

ROOM = 64
"""Longest list: what an item loses is added until it is full."""


class DeviceLists:
    """Lists of the rows that are longer than LONG, which stand first: 640 or 768 bytes each.

    Every edge that the item does not hold is on its list or worth at most `rest` to it, now and later, as prices only rise.

    count  rows that can have a list
    user   int32[count + 1, ROOM] and score [count + 1, ROOM] of the edges, 2 users where there is none; the last row is for
           writes that are none
    edge   int32[count + 1, ROOM]: column in the row
    size   int32[count + 1], rest float32[count + 1]: infinite where there is no list
    """

    def __init__(self, rows: DeviceRows) -> None:
        self.count = sum(one.rows for one in rows.buckets if one.width > LONG)
        self._rows, device, shape = rows, rows.user.device, (self.count + 1, ROOM)
        self.user = torch.full(shape, 2 * rows.users, dtype=torch.int32, device=device)
        self.column = torch.zeros(shape, dtype=torch.int32, device=device)
        self.score = torch.zeros(shape, dtype=rows.score.dtype, device=device)
        self.size = torch.zeros(self.count + 1, dtype=torch.int32, device=device)
        self.rest = torch.full((self.count + 1,), torch.inf, device=device)

    def forget(self) -> None:
        """Nobody has a list."""
        self.rest.fill_(torch.inf)

    def among(self, first: int, count: int) -> torch.Tensor:
        """Which of `count` rows from `first` have a list, bool[count]."""
        return self.rest[first : first + count] < torch.inf

    def put(self, row: torch.Tensor, edges: tuple[torch.Tensor, ...], there: torch.Tensor, rest: torch.Tensor) -> None:
        """The lists of these rows (int64[n], `count` or more for none); all [n, up to ROOM], `there` says which are edges.

        edges  user int32, column, and score as it is stored, those that are there first; rest float32[n]
        """
        to, width = row.clamp(max=self.count), there.shape[1]
        user, column, score = edges
        self.user[to, width:] = 2 * self._rows.users
        self.user[to, :width] = torch.where(there, user, 2 * self._rows.users)
        self.column[to, :width] = column.to(torch.int32)
        self.score[to, :width] = score
        self.size[to] = there.sum(1).to(torch.int32)
        self.rest[to] = rest
        self._no_row()

    def add(self, row: torch.Tensor, edge: torch.Tensor, user: torch.Tensor) -> None:
        """Edges that items lost, int64[n] each; the row is `count` or more where there is none. A full list is given up.

        edge  inside the rows or their `size`, where there is none too
        """
        row = row.clamp(max=self.count)
        row, order = torch.sort(torch.where(self.rest[row] < torch.inf, row, self.count), stable=True)
        edge, user = edge[order], user[order]
        _, rank, total = runs(row)
        size = self.size[row]
        place = size + rank
        fits = (row < self.count) & (place < ROOM)
        to = torch.where(fits, row, self.count), torch.where(fits, place, 0)
        self.user[to] = user.to(torch.int32)
        self.column[to] = self._rows.column_of(edge).to(torch.int32)
        self.score[to] = self._rows.score[edge]
        self.rest[torch.where(fits, self.count, row)] = torch.inf
        self.size[row] = (size + total).clamp(max=ROOM).to(torch.int32)
        self._no_row()

    def _no_row(self) -> None:
        """The last row stays empty."""
        self.size[self.count], self.rest[self.count] = 0, torch.inf
