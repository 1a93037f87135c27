"""The network behind the heads: two towers, an inner product that all heads share, and a bias of each side for each head.

logit_k(u, i) = weight_k <taste(u), appeal(i)> + user_k(u) + item_k(i). So every head factors over users and items and can be
evaluated for every pair, as eq. 6 does for retrieval.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .torch_threads import one_thread

_HIDDEN = 96
_ID = 16
_CLIP = 5.0
_BATCH = 16_384


@dataclass(frozen=True)
class HeadShape:
    """All that is needed to build the network again: widths of its inputs, heads, and length of taste and appeal.

    ``met``: width of what is known of who met an item, 0 without EF; ``ids``: items with an embedding of their own.
    """

    user: int
    item: int
    met: int
    heads: int
    dim: int
    ids: int = 0


class HeadNetwork(nn.Module):
    """Each side is a linear layer beside one hidden layer. An item's own embedding is 0 where it is dropped (SA)."""

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.shape = shape
        out, item = shape.dim + shape.heads, shape.item + shape.met + (_ID if shape.ids else 0)
        self.user, self.item = _Side(shape.user, out), _Side(item, out)
        self.identity = nn.Embedding(shape.ids, _ID) if shape.ids else None
        if self.identity is not None:
            nn.init.zeros_(self.identity.weight)
        self.weight = nn.Parameter(torch.ones(shape.heads))
        for name in ("user", "item", "met"):
            self.register_buffer(f"{name}_mean", torch.zeros(getattr(shape, name)))
            self.register_buffer(f"{name}_spread", torch.ones(getattr(shape, name)))

    def standardise(self, name: str, values: np.ndarray) -> None:
        """Take mean and spread of the inputs "user", "item" or "met" from float32[n, width]."""
        self.get_buffer(f"{name}_mean").copy_(torch.from_numpy(values.mean(0, dtype=np.float64)))
        self.get_buffer(f"{name}_spread").copy_(torch.from_numpy(values.std(0, dtype=np.float64) + 1e-3))

    def start_at(self, share: np.ndarray) -> None:
        """Start each head at its share float64[heads] of the interactions."""
        with torch.no_grad():
            bias = self.item.straight.bias
            bias[self.shape.dim :] = torch.from_numpy(np.log(share / (1 - share)))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.weight.device

    def users(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Taste float32[n, dim] and bias float32[n, heads] of `HeadTotals.users`."""
        out = self.user(self._scaled("user", inputs))
        return out[:, : self.shape.dim] / self.shape.dim**0.5, out[:, self.shape.dim :]

    def items(self, inputs: Tensor, met: Tensor, ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Appeal float32[n, dim] and bias float32[n, heads] of `HeadTotals.items` and `met`; ``ids``: None to drop them."""
        parts = [self._scaled("item", inputs)]
        if self.shape.met:
            parts.append(self._scaled("met", met))
        if self.identity is not None:
            parts.append(inputs.new_zeros(len(inputs), _ID) if ids is None else self.identity(ids))
        out = self.item(torch.cat(parts, 1))
        return out[:, : self.shape.dim], out[:, self.shape.dim :]

    def logits(self, users: tuple[Tensor, Tensor], items: tuple[Tensor, Tensor]) -> Tensor:
        """float32[n, heads] of rows of both sides."""
        product = (users[0] * items[0]).sum(1)
        return product[:, None] * self.weight + users[1] + items[1]

    def _scaled(self, name: str, inputs: Tensor) -> Tensor:
        scaled = (inputs - self.get_buffer(f"{name}_mean")) / self.get_buffer(f"{name}_spread")
        return scaled.clamp(-_CLIP, _CLIP)


class _Side(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.straight = nn.Linear(width, out)
        self.bent = nn.Sequential(nn.Linear(width, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, out))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.straight(inputs) + self.bent(inputs)


@one_thread()
@torch.no_grad()
def encode_users(network: HeadNetwork, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Taste and bias of `HeadTotals.users`, in fixed batches on one thread."""
    return _encoded(network, [network.users(part) for part in _batches(inputs)])


@one_thread()
@torch.no_grad()
def encode_items(
    network: HeadNetwork, inputs: np.ndarray, met: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Appeal and bias of `HeadTotals.items` and `met` (None: nobody met them), ids dropped; in fixed batches, one thread."""
    known = np.zeros((len(inputs), network.shape.met), np.float32) if met is None else met
    parts = zip(_batches(inputs), _batches(known), strict=True)
    return _encoded(network, [network.items(*part) for part in parts])


def _batches(inputs: np.ndarray) -> list[Tensor]:
    return [torch.from_numpy(inputs[at : at + _BATCH]) for at in range(0, max(len(inputs), 1), _BATCH)]


def _encoded(network: HeadNetwork, parts: list[tuple[Tensor, Tensor]]) -> tuple[np.ndarray, np.ndarray]:
    vectors, biases = zip(*parts, strict=True)
    return torch.cat(vectors).numpy(), torch.cat(biases).numpy()
