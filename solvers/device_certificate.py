"""The certificate of an auction on a device where the problem is only there: the same sums as `certify`, by other code."""

import torch

from .certificate import Certificate, relative_gap
from .device_rows import Bucket, DeviceRows

BLOCK_EDGES = {"cuda": 1 << 26, "cpu": 1 << 22}
"""Edges looked at together; each takes about 20 bytes meanwhile."""


@torch.no_grad()
def certify_rows(rows: DeviceRows, capacity: torch.Tensor, price: torch.Tensor) -> Certificate:
    """Value of what the rows hold, and the bound of these prices; one read of the edges, sums in float64.

    capacity int32[users], price float32[users] >= 0, finite, on the device of the rows. The answer's limits are checked:
    ValueError where an item or a user holds more than its limit.
    """
    load = torch.zeros(rows.users + 1, dtype=torch.int32, device=price.device)
    sums = [_block(rows, one, first, price, load) for one in rows.buckets for first in _starts(rows, one)]
    if bool((load[: rows.users] > capacity).any()) or any(over for *_, over in sums):
        raise ValueError("an item or a user holds more than its limit")
    value = sum(float(value) for value, _, _ in sums)
    bound = sum(float(profit) for _, profit, _ in sums) + float((capacity.double() * price.double()).sum())
    return Certificate(value, bound, relative_gap(value, bound))


def _starts(rows: DeviceRows, one: Bucket) -> range:
    return range(one.first, one.first + one.rows, _step(rows, one))


def _step(rows: DeviceRows, one: Bucket) -> int:
    return max(1, BLOCK_EDGES[rows.user.device.type] // one.width)


def _block(
    rows: DeviceRows, one: Bucket, first: int, price: torch.Tensor, load: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """Value, profits of the items, and whether one of them is over its limit; adds the users' loads to `load`."""
    last = min(first + _step(rows, one), one.first + one.rows)
    part = slice(one.begin + (first - one.first) * one.width, one.begin + (last - one.first) * one.width)
    user, score = rows.user[part].view(-1, one.width), rows.score[part].view(-1, one.width)
    held = (user >= rows.users) & (user < 2 * rows.users)
    who = torch.where(held, user - rows.users, user)
    holding = who[held]  # few beside all edges
    load.index_add_(0, holding, torch.ones_like(holding))
    demand = rows.demand[first:last, None]
    every = torch.cat([price, price.new_tensor([torch.inf])])
    net = score - every.index_select(0, who.clamp(max=rows.users).view(-1)).view_as(who)
    top = torch.topk(net, min(one.width, int(demand.max())), dim=1).values.clamp(min=0)
    counted = torch.where(torch.arange(top.shape[1], device=top.device) < demand, top, 0)
    value = torch.where(held, score, 0).sum(dtype=torch.float64)
    return value, counted.sum(dtype=torch.float64), bool((held.sum(1, keepdim=True) > demand).any())
