"""The best of all users of items at user prices, exactly: tiles of scores on a CPU or GPU, the best kept as they come."""

from collections.abc import Callable

import numpy as np
import torch

Tile = Callable[[np.ndarray, int, int], torch.Tensor]

TILE_BYTES = 256 << 20
"""Bytes of scores in one tile; keys and sorting take about five times as many beside."""

BLOCK_ITEMS = 512
"""Items of a tile, at most."""

LAST_USER = 0xFFFFFFFF


class ExactSearch:
    """Answers "who are the best users of these items at these prices?" from tiles of scores.

    tile    function: item rows int64[n], first and last user -> float32[n, last - first] on `device`, scores; 0 or
            less: no candidate
    device  where tiles are made and the best are chosen

    Each tile is read once: the count best of it join the count best so far. Equal ones are told apart by user row, for
    a net value > 0 and its user are one integer, which orders as they do. Prices count as float32.
    """

    exact = True

    def __init__(self, tile: Tile, items: int, users: int, *, device: str = "cpu") -> None:
        if not 0 <= users < LAST_USER:
            raise ValueError(f"{users} users, expected fewer than {LAST_USER}")
        self.items, self.users, self.device = items, users, device
        self._tile = tile
        self._width = max(1, TILE_BYTES // (4 * BLOCK_ITEMS))

    @torch.no_grad()
    def best(
        self, item_rows: np.ndarray, user_prices: np.ndarray, count: int, available: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The `count` users of largest score - price > 0 of each item, best first, equal ones by user row.

        item_rows int[n], user_prices float[users] >= 0, available bool[users] (None: everybody). Returns user
        int32[n, count] and score float32[n, count], not less the price, padded with -1 and 0. Raises ValueError for a
        score that is NaN or infinite.
        """
        price = torch.from_numpy(np.array(user_prices, np.float32)).to(self.device)
        if available is not None:
            price[torch.from_numpy(~available).to(self.device)] = torch.inf
        asked = np.asarray(item_rows, np.int64)
        blocks = [self._best(asked[at : at + BLOCK_ITEMS], price, count) for at in range(0, asked.size, BLOCK_ITEMS)]
        if not blocks:
            return np.empty((0, count), np.int32), np.empty((0, count), np.float32)
        return np.concatenate([user for user, _ in blocks]), np.concatenate([score for _, score in blocks])

    def _best(self, items: np.ndarray, price: torch.Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
        keys = torch.zeros((items.size, count), dtype=torch.int64, device=self.device)
        scores = torch.zeros((items.size, count), dtype=torch.float32, device=self.device)
        for first in range(0, self.users, self._width):
            last = min(first + self._width, self.users)
            tile = self._tile(items, first, last)
            if not torch.isfinite(tile).all():
                self._refuse(items, tile, first)
            key, place = torch.topk(_keys(tile - price[first:last], first), min(count, last - first), dim=1)
            every, every_score = torch.cat([keys, key], 1), torch.cat([scores, tile.gather(1, place)], 1)
            keys, place = torch.topk(every, count, dim=1)
            scores = every_score.gather(1, place)
        there = keys > 0
        user = torch.where(there, LAST_USER - (keys & LAST_USER), -1).to(torch.int32)
        return user.cpu().numpy(), torch.where(there, scores, 0.0).cpu().numpy()

    def _refuse(self, items: np.ndarray, tile: torch.Tensor, first: int) -> None:
        place, user = (int(one[0]) for one in torch.nonzero(~torch.isfinite(tile), as_tuple=True))
        raise ValueError(
            f"score of item {items[place]} and user {first + user} is {tile[place, user]}, expected a finite number "
            "(0 or less: no candidate)"
        )


def _keys(net: torch.Tensor, first: int) -> torch.Tensor:
    """int64 that order as net float32[n, users] > 0, equal ones by falling user row; 0 where net is 0 or less."""
    user = LAST_USER - torch.arange(first, first + net.shape[1], dtype=torch.int64, device=net.device)
    bits = net.contiguous().view(torch.int32).to(torch.int64)
    return torch.where(net > 0, (bits << 32) | user, 0)
