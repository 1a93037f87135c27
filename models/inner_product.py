"""Scores that are inner products of vectors of items and users, by tiles and by pairs."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch


@dataclass(frozen=True, eq=False)
class InnerProduct:
    """score = max(0, <item, user>): item_vector float32[items, k], user_vector float32[users, k].

    A bias of the users is one more dimension, 1 in the items' vectors.
    """

    item_vector: np.ndarray
    user_vector: np.ndarray

    @property
    def items(self) -> int:
        """Number of items."""
        return len(self.item_vector)

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.user_vector)

    @torch.no_grad()
    def tile(self, items: np.ndarray, first: int, last: int, device: str = "cpu") -> torch.Tensor:
        """<item, user> of item rows int64[n] and the users first to last, float32[n, last - first] on the device.

        What is below 0 is a score of 0: no candidate, to any source made of tiles.
        """
        item, columns = self._on(device)
        return item[torch.from_numpy(items).to(device)] @ columns[:, first:last]

    def pairs(self, items: np.ndarray, users: np.ndarray) -> np.ndarray:
        """Scores of pairs of item rows and user rows, float32[n]."""
        product: np.ndarray = np.einsum("nd,nd->n", self.item_vector[items], self.user_vector[users])
        return np.maximum(product, np.float32(0))

    def _on(self, device: str) -> tuple[torch.Tensor, torch.Tensor]:
        if device not in self._held:
            columns = torch.from_numpy(self.user_vector).to(device).T.contiguous()
            self._held[device] = torch.from_numpy(self.item_vector).to(device), columns
        return self._held[device]

    @cached_property
    def _held(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        return {}
