"""What items bid on a device: from their whole rows, or from short lists of what is left of them."""

from typing import NamedTuple

import torch

from .device_lists import LISTED, ROOM, DeviceLists
from .device_rows import Bucket, DeviceRows


class Offers(NamedTuple):
    """Bids of n items, at most `most` each, best first.

    row int64[n]; user, edge int64[n, most]: the rows' `size` where the row is none; score float32[n, most], made
    bool[n, most]: whether it is a bid; least float32[n, 1]: the net value of the next best edge; again bool[n]: the item
    would bid for more, and waits again
    """

    row: torch.Tensor
    user: torch.Tensor
    edge: torch.Tensor
    score: torch.Tensor
    made: torch.Tensor
    least: torch.Tensor
    again: torch.Tensor


class Best(NamedTuple):
    """Edges by falling net value float32[n, best]: users int32 and columns int64 of the rows, scores as stored."""

    net: torch.Tensor
    user: torch.Tensor
    column: torch.Tensor
    score: torch.Tensor


def offers_of_rows(
    rows: DeviceRows, one: Bucket, row: torch.Tensor, missing: torch.Tensor, most: int, price: torch.Tensor
) -> tuple[Offers, Best, torch.Tensor]:
    """What these items of a bucket bid, its rows read whole: 4 bytes of the user, those of the score, and a price an edge.

    row int64[n], `rows.count` for none; missing int32[n] places. Also the best edges, LISTED more than they may bid for,
    and for how many they asked, int64[n].
    """
    end, best = one.begin + one.rows * one.width, min(one.width, most + 1 + LISTED)
    local = torch.where(row < rows.count, row - one.first, 0)
    user = rows.user[one.begin : end].view(one.rows, one.width).index_select(0, local)
    score = rows.score[one.begin : end].view(one.rows, one.width).index_select(0, local)
    top, column = torch.topk(_net(user, score, price), best, dim=1)
    found = Best(top, user.gather(1, column), column, score.gather(1, column))
    asked = missing.clamp(max=most).to(torch.int64)
    return _offers(rows, one, row, missing, found, most, _next(top, asked).clamp(min=0)), found, asked


def list_rest(lists: DeviceLists, row: torch.Tensor, found: Best, asked: torch.Tensor) -> None:
    """Makes lists of these items of the best edges that they did not bid for; arguments as `offers_of_rows` returns them."""
    last = (asked + (LISTED - 1)).clamp(max=found.net.shape[1] - 1)
    rest = found.net.gather(1, last[:, None]).clamp(min=0).view(-1)
    _put(lists, row, found, asked, LISTED, rest)


def offers_of_lists(  # noqa: PLR0917
    rows: DeviceRows,
    one: Bucket,
    lists: DeviceLists,
    row: torch.Tensor,
    missing: torch.Tensor,
    most: int,
    price: torch.Tensor,
) -> Offers:
    """As `offers_of_rows`, from the lists, which keep the rest: ROOM edges are read instead of the row.

    An item whose list does not tell its best any more gives it up, bids for nothing and waits again.
    """
    user, score, column = (side[row.clamp(max=lists.count)] for side in (lists.user, lists.score, lists.column))
    top, place = torch.topk(_net(user, score, price), ROOM, dim=1)
    found = Best(top, user.gather(1, place), column.gather(1, place).to(torch.int64), score.gather(1, place))
    asked, rest = missing.clamp(max=most).to(torch.int64), lists.rest[row.clamp(max=lists.count)]
    worst = top.gather(1, (asked - 1).clamp(min=0)[:, None]).view(-1)
    tells = (rest <= 0) | (worst >= rest)
    least = torch.maximum(_next(top, asked), torch.where(tells, rest, 0)[:, None]).clamp(min=0)
    _put(lists, row, found, asked, ROOM, torch.where(tells, rest, torch.inf))
    offers = _offers(rows, one, row, missing, found, most, least)
    return offers._replace(made=offers.made & tells[:, None], again=offers.again | ~tells)


def _net(user: torch.Tensor, score: torch.Tensor, price: torch.Tensor) -> torch.Tensor:
    net = price.index_select(0, user.view(-1)).view_as(user)
    return torch.sub(score, net, out=net)


def _next(top: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """The net value after the first `asked` of each row, 0 where there is none, [n, 1]."""
    best, asked = top.shape[1], asked[:, None]
    return torch.where(asked < best, top.gather(1, asked.clamp(max=best - 1)), 0)


def _offers(  # noqa: PLR0917
    rows: DeviceRows, one: Bucket, row: torch.Tensor, missing: torch.Tensor, found: Best, most: int, least: torch.Tensor
) -> Offers:
    net, user, column, score = (side[:, :most] for side in found)
    asked = missing.clamp(max=most)
    made = (torch.arange(net.shape[1], device=net.device) < asked[:, None]) & (net > 0)
    again = (missing > asked) & (made.sum(1) == asked)
    local = torch.where(row < rows.count, row - one.first, 0)
    edge = torch.where(row[:, None] < rows.count, one.begin + local[:, None] * one.width + column, rows.size)
    return Offers(row, user.to(torch.int64), edge, score.to(torch.float32), made, least, again)


def _put(
    lists: DeviceLists, row: torch.Tensor, found: Best, asked: torch.Tensor, most: int, rest: torch.Tensor
) -> None:
    """Lists of up to `most` of the edges found after the first `asked`."""
    best = found.net.shape[1]
    rank = asked[:, None] + torch.arange(most, device=asked.device)
    at = rank.clamp(max=best - 1)
    there = (rank < best) & (found.net.gather(1, at) > 0)
    edges = found.user.gather(1, at), found.column.gather(1, at), found.score.gather(1, at)
    lists.put(row, edges, there, rest)
