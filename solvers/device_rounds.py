"""Rounds of the auction on a device: a block of items bids, users keep the best, and the host only looks now and then."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from .device_places import DevicePlaces, Kept, degrees
from .device_rows import Bucket, DeviceRows

FIRST_BLOCK = 64
"""Items of the first block, doubled by each: the first few find out what the users everybody wants are worth."""

PARTS, SMALL_BLOCK = 6, 2048
"""A block has at most a sixth of the items, as it takes more bids where all see the same prices; or 2,048 if more."""

BLOCK_EDGES = {"cuda": 1 << 26, "cpu": 1 << 22}
"""Most edges of a block; each takes about 20 bytes while it is read."""

BETWEEN_LOOKS = 4
"""Rounds that are launched between two looks of the host at who waits."""

GOLDEN = (5**0.5 - 1) / 2

CLOSING_ROUNDS = 200
"""Most rounds that fill places left at the end; after them the host does."""


class Look(NamedTuple):
    """What the host sees: for each bucket the items that wait and the places they miss, and places held in all."""

    waiting: list[int]
    missing: list[int]
    held: int


class DeviceRounds:
    """The auction from zero prices with one eps; 14 bytes an item beside its rows and the places of the users.

    A round is about 60 operations of fixed size: read the block's rows (4 bytes of the user and those of the score an edge,
    and the price: from the cache of the device while prices fit there), select, sort the bids by user, keep, mark. The rows
    change with it: an item that holds an edge has `users` added to its user.

    read    edges read so far, of items that waited or not
    rounds  so far
    """

    def __init__(self, rows: DeviceRows, capacity: torch.Tensor) -> None:
        """capacity int32[users] on the device of the rows."""
        device = rows.user.device
        self.rows, self.read, self.rounds = rows, 0, 0
        self.places = DevicePlaces(capacity, degrees(rows.user, rows.users))
        self.load = torch.zeros(rows.count + 1, dtype=torch.int32, device=device)
        self.waits = rows.demand > 0
        self.waits[-1] = False
        self._turns = [_spread(one.rows, device) for one in rows.buckets]
        self._next = [torch.zeros(1, dtype=torch.int64, device=device) for _ in rows.buckets]
        self._widest = [int(rows.demand[one.first : one.first + one.rows].max()) for one in rows.buckets]
        self._size, self._most = FIRST_BLOCK, max(SMALL_BLOCK, rows.count // PARTS)
        self._edges = BLOCK_EDGES[device.type]

    def look(self) -> Look:
        """Waits for the device."""
        missing, told = torch.where(self.waits, self.rows.demand - self.load, 0), []
        for one in self.rows.buckets:
            mine = slice(one.first, one.first + one.rows)
            told += [self.waits[mine].sum(), missing[mine].sum()]
        *counts, held = torch.stack([*told, self.load.sum()]).tolist()
        return Look(counts[::2], counts[1::2], held)

    def run(self, eps: float, few: float, until: float, stop: Callable[[], bool]) -> Look:
        """Rounds until nobody waits, few places are missed, `until` edges were read in all, or `stop()`.

        few  share of the places held: so few that are missed end the bidding
        """
        look = self.look()
        while any(look.waiting) and self.read < until and not stop():
            if self._size >= self._most and sum(look.missing) <= few * look.held:
                break
            for _ in range(BETWEEN_LOOKS):
                self._everyone(look, self._size, eps, self.places.price)
                self._size = min(2 * self._size, self._most)
            look = self.look()
        return look

    def close(self, look: Look, stop: Callable[[], bool]) -> Look:
        """Fills what is missed with users who have places free, best first; a user takes the best scores. No prices change
        that matter: take them before. Ends with nobody waiting, unless after CLOSING_ROUNDS.
        """
        users, most = self.rows.users, self.rounds + CLOSING_ROUNDS
        while any(look.waiting) and self.rounds < most and not stop():
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
        """A block of about `size` items: of each bucket its share of those that waited at the last look."""
        total = sum(look.waiting)
        for number, (waiting, missing) in enumerate(zip(look.waiting, look.missing, strict=True)):
            if not waiting:
                continue
            one = self.rows.buckets[number]
            share = min(waiting, -(-size * waiting // total), max(1, self._edges // one.width))
            mean = -(-missing // waiting)
            best = min(one.width, self._widest[number] + 1, max(8, 2 * mean) + 1)
            self._round(number, share, best, eps, price)
        self.rounds += 1

    def _round(self, number: int, count: int, best: int, eps: float | None, price: torch.Tensor) -> None:
        """`count` items of a bucket bid by their `best` edges; eps None: for all that the score says."""
        rows, one = self.rows, self.rows.buckets[number]
        row = self._block(number, count)
        user, edge, score, made, least = self._best(one, row, best, price)
        bid = score if eps is None else score - least
        dear = score if eps is None else torch.minimum(bid + eps, score)
        made, bid, dear = made.view(-1), bid.view(-1).contiguous(), dear.contiguous().view(-1)
        bidder = torch.where(made, user.view(-1), rows.users)
        kept = self.places.keep(bidder, bid.clamp(min=0), dear.clamp(min=0), edge.view(-1))
        self._mark(row[kept.turn // best], kept)
        self.read += count * one.width

    def _block(self, number: int, count: int) -> torch.Tensor:
        """Rows of the next `count` items of a bucket that wait, int64[count] ascending; the last row of all where fewer do.

        Turns go round the items in an order in which any few in a row are unlike; they wait no more.
        """
        one, turn, begin = self.rows.buckets[number], self._turns[number], self._next[number]
        waits = self.waits[one.first : one.first + one.rows][turn]
        before = torch.cumsum(waits, 0)
        total = before[-1].clamp(min=1)
        passed = torch.where(begin > 0, before[begin - 1], 0)
        rank = (before - 1 - passed) % total
        to = torch.where(waits & (rank < count), rank, count)
        at = torch.arange(one.rows, device=turn.device)
        chosen = torch.full((count + 1,), -1, dtype=torch.int64, device=turn.device)
        chosen[to] = torch.where(to < count, at, -1)
        chosen = chosen[:count]
        last = chosen[(torch.minimum(total, total.new_tensor(count)) - 1).view(1)]
        self._next[number] = torch.where(last >= 0, (last + 1) % one.rows, begin)
        row = torch.where(chosen >= 0, one.first + turn[chosen.clamp(min=0)], self.rows.count)
        self.waits[row] = False
        return torch.sort(row).values

    def _best(
        self, one: Bucket, row: torch.Tensor, best: int, price: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The `best` edges of each row by score - price, best first, [rows, best] each: user int64, edge int64, score
        float32, whether the item bids for it, and the net value of the next best after those it bids for, [rows, 1].
        """
        rows, end = self.rows, one.begin + one.rows * one.width
        local = torch.where(row < rows.count, row - one.first, 0)
        user = rows.user[one.begin : end].view(one.rows, one.width).index_select(0, local)
        score = rows.score[one.begin : end].view(one.rows, one.width).index_select(0, local)
        net = price.index_select(0, user.view(-1)).view_as(user)
        torch.sub(score, net, out=net)
        top, column = torch.topk(net, best, dim=1)
        missing = (rows.demand[row] - self.load[row]).clamp(max=best if best == one.width else best - 1)
        rank = torch.arange(best, device=row.device)
        made = (rank < missing[:, None]) & (top > 0)
        least = top.gather(1, missing.clamp(max=best - 1).to(torch.int64)[:, None]).clamp(min=0)
        least = torch.where(missing[:, None] < best, least, 0)
        if best < one.width:
            self._again(row, missing, made)
        edge = one.begin + local[:, None] * one.width + column
        return user.gather(1, column).to(torch.int64), edge, rows.score[edge].to(torch.float32), made, least

    def _again(self, row: torch.Tensor, asked: torch.Tensor, made: torch.Tensor) -> None:
        """Items that miss more places than they could bid for, and bid for all they could, wait again."""
        more = (self.load[row] + asked < self.rows.demand[row]) & (made.sum(1) == asked)
        self.waits[torch.where(more, row, self.rows.count)] = True
        self.waits[-1] = False

    def _mark(self, row: torch.Tensor, kept: Kept) -> None:
        """Notes who holds what now; row int64[bids]: of the bids, in the order of `kept`."""
        rows, users = self.rows, self.rows.users
        no_row, no_edge = rows.count, rows.size
        lost_row = torch.where(kept.displaced, rows.row_of(kept.lost), no_row)
        rows.user[torch.where(kept.taken, kept.edge, no_edge)] = (kept.user + users).to(torch.int32)
        rows.user[torch.where(kept.displaced, kept.lost, no_edge)] = kept.user.to(torch.int32)
        rows.user[no_edge] = 2 * users
        self.load.index_add_(0, row, kept.taken.to(torch.int32))
        self.load.index_add_(0, lost_row, -kept.displaced.to(torch.int32))
        refused = ~kept.taken & (kept.user < users)
        self.waits[torch.where(refused, row, no_row)] = True
        self.waits[lost_row] = True
        self.waits[no_row] = False


def _spread(count: int, device: torch.device) -> torch.Tensor:
    """int64[count]: the rows in an order in which any few in a row are spread over all."""
    rank = torch.frac(torch.arange(count, dtype=torch.float64, device=device) * GOLDEN)
    return torch.argsort(rank, stable=True)
