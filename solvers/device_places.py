"""The places of users on a device: who holds them, at which bids, and what one more would cost."""

from typing import NamedTuple

import torch

FREE, NONE = -1, torch.iinfo(torch.int64).max
"""What stands in a place that is free, and in one that is no place."""

LOW = 2**32 - 1

LEAST_FULL = 0.5
"""Places of a user as a share of the width of its table: none takes more than twice its memory."""

NARROW = 8
"""Users with up to so many places are in one table."""

PIECE = 1 << 26
"""Edges whose users are counted at a time; each takes 13 bytes meanwhile."""


class Table(NamedTuple):
    """Users with about as many places: `users` of them, `width` places each, in the flat array from `begin`."""

    users: int
    width: int
    begin: int


class Kept(NamedTuple):
    """What users made of bids: the bids in order of user and bid, all tensors as long as they are.

    turn int64: number of the bid as given; user int64, edge int64; taken bool; displaced bool, and lost int64: the edge.
    """

    turn: torch.Tensor
    user: torch.Tensor
    edge: torch.Tensor
    taken: torch.Tensor
    displaced: torch.Tensor
    lost: torch.Tensor


class DevicePlaces:
    """8 bytes a place and 24 a user.

    price  float32[2 users + 1]: of each user, infinite without places; then infinite, for who is held already, and padding
    slot   int64[places + 1 and more]: bits of the bid << 32 | LOW - edge, so that they order by bid, then by edge. Those
           of a user stand from its start on, free ones first, then by rising bid: the r-th best bid needs to look at the
           r-th place only, and the first place says the price.
    free   int32[users + 1]: places free
    """

    def __init__(self, capacity: torch.Tensor, degree: torch.Tensor) -> None:
        """capacity, degree int32[users]: places, and edges; a user with more places than edges has one that stays free."""
        device, users = capacity.device, capacity.numel()
        count = torch.minimum(capacity, degree + 1)
        count[degree == 0] = 0
        self.users, self.count = users, torch.cat([count, count.new_zeros(1)])
        self.free = self.count.clone()
        self.start, self.tables, size = _tables(count)
        widest = max((one.width for one in self.tables), default=1)
        self._none = size
        self.slot = torch.full((size + widest,), NONE, dtype=torch.int64, device=device)
        for one in self.tables:
            self._clear(one)
        self.price = torch.full((2 * users + 1,), torch.inf, device=device)
        self.price[:users] = torch.where(capacity > 0, 0.0, torch.inf)

    def _clear(self, one: Table) -> None:
        """Makes the first places of each user of a table, as many as it has, free."""
        table, users = self._table(one), self._users_of(one)
        column = torch.arange(one.width, device=table.device)
        table[column < self.count[users, None]] = FREE

    def _users_of(self, one: Table) -> torch.Tensor:
        """The users of a table in its order, int64[count]."""
        mine = torch.nonzero((self.start >= one.begin) & (self.start < one.begin + one.users * one.width)).view(-1)
        return mine[torch.argsort(self.start[mine])]

    def _table(self, one: Table) -> torch.Tensor:
        return self.slot[one.begin : one.begin + one.users * one.width].view(one.users, one.width)

    def keep(
        self, user: torch.Tensor, bid: torch.Tensor, dear: torch.Tensor, edge: torch.Tensor, only_free: bool = False
    ) -> Kept:
        """Lets users keep the best of what they hold and these bids, and sets their prices.

        user int64[n], `users` where there is no bid; bid, dear float32[n] >= 0: what is offered where all the user's bids
        find a free place, and where they do not; edge int64[n] < 2^32. Among equals the bid that is held, then the one
        that stands first; with `only_free` nobody who holds a place loses it. One sort of n keys, then one of the
        places of the users with bids, a user at a time.
        """
        key, turn = torch.sort(user << 32 | (0x7FFFFFFF - _bits(dear)), stable=True)
        user = key >> 32
        segment, rank, total = runs(user)
        full = total > self.free[user]
        value = torch.where(full, _bits(dear)[turn], _bits(bid)[turn])
        place = torch.where(rank < self.count[user], self.start[user] + rank, self._none)
        held = self.slot[place]
        taken = (value > held >> 32) & (held < 0) if only_free else value > held >> 32
        edge, displaced = edge[turn], taken & (held >= 0)
        self.slot[torch.where(taken, place, self._none)] = value << 32 | (LOW - edge)
        self.slot[self._none] = NONE
        self.free[user] = (self.free[user] - total).clamp(min=0).to(torch.int32)  # a free place takes any bid
        self._order(self._touched(user, segment))
        return Kept(turn, user, edge, taken, displaced, LOW - (held & LOW))

    def _touched(self, user: torch.Tensor, segment: torch.Tensor) -> torch.Tensor:
        """Each user with a bid once, then `users`; as long as there can be such users."""
        most = min(user.numel(), self.users)
        out = torch.full((most + 1,), self.users, dtype=torch.int64, device=user.device)
        out[segment.clamp(max=most)] = user
        return out[:most]

    def _order(self, touched: torch.Tensor) -> None:
        """Sorts the places of these users, and sets their prices."""
        begin = self.start[touched]
        for one in self.tables:
            if one.users <= touched.numel():
                table = self._table(one)
                table.copy_(torch.sort(table, dim=1).values)
                continue
            mine = (begin >= one.begin) & (begin < one.begin + one.users * one.width)
            place = torch.where(mine, begin, self._none)[:, None] + torch.arange(one.width, device=begin.device)
            self.slot[place] = torch.sort(self.slot[place], dim=1).values
        lowest = self.slot[begin]
        there = lowest < NONE
        price = torch.where(lowest >= 0, (lowest >> 32).to(torch.int32).view(torch.float32), 0.0)
        self.price[torch.where(there, touched, 2 * self.users)] = torch.where(there, price, torch.inf)


def degrees(user: torch.Tensor, users: int) -> torch.Tensor:
    """int32[users]: edges of each user; user int32[n], more than `users` in padding."""
    count = torch.zeros(users + 1, dtype=torch.int32, device=user.device)
    for at in range(0, user.numel(), PIECE):
        piece = user[at : at + PIECE]
        counted = piece < users
        count.index_add_(0, torch.where(counted, piece, spread(piece, users + 1)), counted.to(torch.int32))
    return count[:users]


def spread(like: torch.Tensor, count: int) -> torch.Tensor:
    """Numbers below `count` in turn, as long and of the type as `like`: where to add zeros that would wait at one place."""
    return torch.arange(like.numel(), dtype=like.dtype, device=like.device).remainder_(count)


def runs(user: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each of the sorted users (int64[n]): number of its run of equal ones, place in the run, length of the run."""
    count = user.numel()
    at = torch.arange(count, device=user.device)
    first = torch.ones_like(user, dtype=torch.bool)
    first[1:] = user[1:] != user[:-1]
    segment = torch.cumsum(first, 0) - 1
    start = torch.full(
        (count + 1,), count, device=user.device
    )  # of each run; at the end, where writes go that are none
    start[torch.where(first, segment, count)] = torch.where(first, at, count)
    return segment, at - start[segment], start[segment + 1] - start[segment]


def _bits(value: torch.Tensor) -> torch.Tensor:
    """The bits of float32 >= 0 as int64, which order as they do."""
    return value.view(torch.int32).to(torch.int64)


def _tables(count: torch.Tensor) -> tuple[torch.Tensor, list[Table], int]:
    """Where each user's places start, int64[users + 1] (after all of them for users without any), tables, and size."""
    falling, order = torch.sort(count, descending=True, stable=True)
    rising = (-falling).contiguous()
    having, size = int((count > 0).sum()), 0
    start, tables, first = torch.zeros(count.numel() + 1, dtype=torch.int64, device=count.device), list[Table](), 0
    while first < having:
        width = int(falling[first])
        least = 1 if width <= NARROW else max(NARROW + 1, int(LEAST_FULL * width))
        last = int(torch.searchsorted(rising, -least, right=True))
        mine = torch.sort(order[first:last]).values
        start[mine] = size + width * torch.arange(last - first, device=count.device)
        tables.append(Table(last - first, width, size))
        first, size = last, size + (last - first) * width
    start[order[having:]], start[-1] = size, size
    return start, tables, size
