"""Rounds of the auction on a device: a block of items bids, users keep the best, and the host only looks now and then."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from .device_bids import Offers, list_rest, offers_of_lists, offers_of_rows
from .device_lists import ROOM, DeviceLists
from .device_places import DevicePlaces, Kept, degrees, spread
from .device_rows import DeviceRows

FIRST_BLOCK = 64
"""Items of the first block, doubled by each: the first few find out what the users everybody wants are worth."""

PARTS, SMALL_BLOCK = 6, 2048
"""A block has at most a sixth of the items, as it takes more bids where all see the same prices; or 2,048 if more."""

BLOCK_EDGES = {"cuda": 1 << 26, "cpu": 1 << 22}
"""Most edges of a block; each takes about 20 bytes while it is read."""

EDGES_OF_A_BID = 8
"""Edges that take as much memory in a round as a bid."""

ROUND_READS = 5_000
"""Edges that are read about as fast as the operations of a round are launched."""

BETWEEN_LOOKS = 4
"""Rounds that are launched between two looks of the host at who waits."""

GOLDEN = (5**0.5 - 1) / 2

CLOSING_ROUNDS = 200
"""Most rounds that fill places left at the end; after them the host does."""


FEW_EACH = 16
"""Items keep lists once those that wait miss at most so many places each: who is to bid for more reads the row."""


class Queue(NamedTuple):
    """Items that wait and bid alike: of which bucket, from lists or not, how many, and the places that they miss."""

    bucket: int
    listed: bool
    waiting: int
    missing: int


class Look(NamedTuple):
    """What the host sees: the queues where somebody waits, and places held in all."""

    queues: list[Queue]
    held: int

    @property
    def waiting(self) -> int:
        """Items that wait."""
        return sum(one.waiting for one in self.queues)

    @property
    def missing(self) -> int:
        """Places that they miss."""
        return sum(one.missing for one in self.queues)


class DeviceRounds:
    """The auction from zero prices with one eps; 14 bytes an item beside its row, its list and the places of the users.

    A round is about 80 operations of fixed size: read the block's rows or lists, select, sort the bids by user, keep, mark.
    The rows change with it: an item that holds an edge has `users` added to its user.

    read    edges read by items that waited, up to the last look
    rounds  so far
    """

    def __init__(self, rows: DeviceRows, capacity: torch.Tensor) -> None:
        """capacity int32[users] on the device of the rows."""
        device = rows.user.device
        self.rows, self.read, self.rounds = rows, 0, 0
        self._read = torch.zeros((), dtype=torch.int64, device=device)
        self.places = DevicePlaces(capacity, degrees(rows.user, rows.users))
        self.load = torch.zeros(rows.count + 1, dtype=torch.int32, device=device)
        self.waits = rows.demand > 0
        self.waits[-1] = False
        self._turns = [_spread(one.rows, device) for one in rows.buckets]
        self._next = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(2 * len(rows.buckets))]
        self.lists, self._listing = DeviceLists(rows), False
        self._widest = [int(rows.demand[one.first : one.first + one.rows].max()) for one in rows.buckets]
        self._size, self._most = FIRST_BLOCK, max(SMALL_BLOCK, rows.count // PARTS)
        self._edges = BLOCK_EDGES[device.type]

    def look(self) -> Look:
        """Waits for the device."""
        missing, queues, told = torch.where(self.waits, self.rows.demand - self.load, 0), [], []
        for number, one in enumerate(self.rows.buckets):
            mine, listed = slice(one.first, one.first + one.rows), self._among(number)
            for which in (False, True)[: 1 if listed is None else 2]:
                bids = self.waits[mine] if listed is None else self.waits[mine] & (listed == which)
                told += [bids.sum(), torch.where(bids, missing[mine], 0).sum()]
                queues.append((number, which))
        *counts, held, self.read = torch.stack([*told, self.load.sum(), self._read]).tolist()
        every = [Queue(*who, *counts[2 * k : 2 * k + 2]) for k, who in enumerate(queues)]
        return Look([one for one in every if one.waiting], held)

    def _among(self, number: int) -> torch.Tensor | None:
        """Which items of a bucket have a list, bool[rows]; None where none of it can."""
        one = self.rows.buckets[number]
        return self.lists.among(one.first, one.rows) if self._listing and one.first < self.lists.count else None

    @property
    def work(self) -> int:
        """Edges read so far, and ROUND_READS for each round."""
        return self.read + ROUND_READS * self.rounds

    def run(self, eps: float, few: float, until: float, stop: Callable[[], bool], least: float = 0.0) -> Look:
        """Rounds until nobody waits, few places are missed, `until` edges were read in all, or `stop()`.

        few    share of the places held: so few that are missed end the bidding
        least  of `work`, before the edges read end it
        """
        look = self.look()
        while look.waiting and (self.read < until or self.work < least) and not stop():
            if self._size >= self._most and look.missing <= few * look.held:
                break
            self._listing = self._listing or (self.lists.count > 0 and look.missing <= FEW_EACH * look.waiting)
            for _ in range(BETWEEN_LOOKS):
                self._everyone(look, self._size, eps, self.places.price)
                self._size = min(2 * self._size, self._most)
            look = self.look()
        return look

    def close(self, look: Look, stop: Callable[[], bool]) -> Look:
        """Fills what is missed with users who have places free, best first; a user takes the best scores, and
        nobody loses a place. No prices change that matter: take them before. Ends with nobody waiting, unless after
        CLOSING_ROUNDS.
        """
        self.lists.forget()
        self._listing, look = False, self.look()
        users, most = self.rows.users, self.rounds + CLOSING_ROUNDS
        while look.waiting and self.rounds < most and not stop():
            for _ in range(BETWEEN_LOOKS):
                price = torch.full_like(self.places.price, torch.inf)
                price[:users] = torch.where(self.places.free[:users] > 0, 0.0, torch.inf)
                self._everyone(look, self.rows.count, None, price)
            look = self.look()
        return look

    def held(self) -> torch.Tensor:
        """Places of the edges held in the flat arrays, ascending int64[matches]."""
        user, users, found, step = self.rows.user, self.rows.users, [], 1 << 30
        for at in range(0, self.rows.size, step):
            piece = user[at : min(at + step, self.rows.size)]
            found.append(torch.nonzero((piece >= users) & (piece < 2 * users)).view(-1) + at)
        return torch.cat(found) if found else torch.empty(0, dtype=torch.int64, device=user.device)

    def _everyone(self, look: Look, size: int, eps: float | None, price: torch.Tensor) -> None:
        """A block of about `size` items: of each queue its share of those that waited at the last look."""
        for one in look.queues:
            bucket = self.rows.buckets[one.bucket]
            width = ROOM if one.listed else bucket.width
            most = min(width, self._widest[one.bucket], max(8, 2 * -(-one.missing // one.waiting)))
            room = max(1, self._edges // max(width, EDGES_OF_A_BID * most))
            count = min(one.waiting, -(-size * one.waiting // look.waiting), room)
            row = self._block(one.bucket, one.listed, count)
            missing = self.rows.demand[row] - self.load[row]
            if one.listed:
                offers = offers_of_lists(self.rows, bucket, self.lists, row, missing, most, price)
            else:
                offers, found, asked = offers_of_rows(self.rows, bucket, row, missing, most, price)
                if self._among(one.bucket) is not None:
                    list_rest(self.lists, row, found, asked)
            self._bid(offers, eps)
            self._read += (row < self.rows.count).sum() * width
        self.rounds += 1

    def _bid(self, offers: Offers, eps: float | None) -> None:
        """Users choose among these bids; eps None: items bid all that the score says, for free places only."""
        score, most = offers.score, offers.score.shape[1]
        bid = score if eps is None else score - offers.least
        dear = score if eps is None else torch.minimum(bid + eps, score)
        bidder = torch.where(offers.made, offers.user, self.rows.users).view(-1)
        bid, dear, edge = bid.clamp(min=0).reshape(-1), dear.clamp(min=0).reshape(-1), offers.edge.reshape(-1)
        kept = self.places.keep(bidder, bid, dear, edge, only_free=eps is None)
        self.waits[torch.where(offers.again, offers.row, self.rows.count)] = True
        self._mark(offers.row[kept.turn // most], kept)

    def _block(self, number: int, listed: bool, count: int) -> torch.Tensor:
        """Rows of the next `count` items of a bucket that wait, int64[count] ascending; the last row of all where fewer do.

        Turns go round the items in an order in which any few in a row are unlike; they wait no more.
        """
        one, turn, queue, among = (
            self.rows.buckets[number],
            self._turns[number],
            2 * number + listed,
            self._among(number),
        )
        begin, waits = self._next[queue], self.waits[one.first : one.first + one.rows]
        waits = (waits if among is None else waits & (among == listed))[turn]
        before = torch.cumsum(waits, 0)
        total = before[-1].clamp(min=1)
        passed = torch.where(begin > 0, before[begin - 1], 0)
        rank = (before - 1 - passed) % total
        to = torch.where(waits & (rank < count), rank, count)
        at = torch.arange(one.rows, device=turn.device)
        chosen = torch.full((count + 1,), -1, dtype=torch.int64, device=turn.device)
        chosen[to] = torch.where(to < count, at, -1)
        chosen = chosen[:count]
        last = chosen[(total.clamp(max=count) - 1).view(1)]
        self._next[queue] = torch.where(last >= 0, (last + 1) % one.rows, begin)
        row = torch.where(chosen >= 0, one.first + turn[chosen.clamp(min=0)], self.rows.count)
        self.waits[row] = False
        return torch.sort(row).values

    def _mark(self, row: torch.Tensor, kept: Kept) -> None:
        """Notes who holds what now; row int64[bids]: of the bids, in the order of `kept`."""
        rows, users = self.rows, self.rows.users
        no_row, no_edge = rows.count, rows.size
        lost_row = torch.where(kept.displaced, rows.row_of(kept.lost), no_row)
        rows.user[torch.where(kept.taken, kept.edge, no_edge)] = (kept.user + users).to(torch.int32)
        rows.user[torch.where(kept.displaced, kept.lost, no_edge)] = kept.user.to(torch.int32)
        rows.user[no_edge] = 2 * users
        added = torch.where(kept.taken, row, spread(row, no_row))
        self.load.index_add_(0, added, kept.taken.to(torch.int32))
        added = torch.where(kept.displaced, lost_row, spread(row, no_row))
        self.load.index_add_(0, added, -kept.displaced.to(torch.int32))
        refused = ~kept.taken & (kept.user < users)
        self.waits[torch.where(refused, row, no_row)] = True
        self.waits[lost_row] = True
        if self._listing:
            back = torch.cat([torch.where(refused, row, no_row), lost_row])
            edge = torch.where(back < no_row, torch.cat([kept.edge, kept.lost]), no_edge)
            self.lists.add(back, edge, torch.cat([kept.user, kept.user]))
        self.waits[no_row] = False


def _spread(count: int, device: torch.device) -> torch.Tensor:
    """int64[count]: the rows in an order in which any few in a row are spread over all."""
    rank = torch.frac(torch.arange(count, dtype=torch.float64, device=device) * GOLDEN)
    return torch.argsort(rank, stable=True)
