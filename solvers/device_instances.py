"""An instance made on a device, block by block: four thousand million edges never stand in the host's memory."""

from dataclasses import dataclass

import torch

from .device_rows import Bucket, DeviceRows

BLOCK_EDGES = 1 << 26
"""Edges made together; each takes about 40 bytes meanwhile."""


@dataclass(frozen=True)
class SkewedOnDevice:
    """Each item's users by rank, quantiles of rank^-skew each drawn from a range of its own, lognormal scores in float16.

    So an item has exactly `candidates` users, distinct and ascending, and a few users are wanted by everybody.
    """

    items: int = 200_000
    users: int = 1_500_000
    candidates: int = 1_000
    demand: int = 200
    capacity: int = 30
    skew: float = 0.7

    def make(self, device: str, seed: int = 0) -> DeviceRows:
        """The rows: 6 bytes an edge. The same seed gives the same ones on one kind of device."""
        size, width = self.items * self.candidates, self.candidates
        draws = torch.Generator(device).manual_seed(seed)
        user = torch.full((size + 1,), 2 * self.users, dtype=torch.int32, device=device)
        score = torch.zeros(size + 1, dtype=torch.float16, device=device)
        column = torch.arange(width, device=device)
        step = max(1, BLOCK_EDGES // width)
        for first in range(0, self.items, step):
            count = min(step, self.items - first)
            part = slice(first * width, (first + count) * width)
            quantile = (column + torch.rand(count, width, generator=draws, device=device)) / width
            rank = quantile ** (1 / (1 - self.skew)) * (self.users - width)
            user[part] = (rank.to(torch.int32).clamp(max=self.users - width) + column.to(torch.int32)).view(-1)
            score[part] = torch.randn(count * width, generator=draws, device=device).exp().to(torch.float16)
        demand = torch.full((self.items + 1,), self.demand, dtype=torch.int32, device=device)
        demand[-1] = 0
        return DeviceRows(self.users, user, score, demand, None, [Bucket(0, self.items, width, 0)])
