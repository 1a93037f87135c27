"""A mixture of experts that all heads share: each head weighs the experts by a gate of its own, row by row.

The gates are those of MMoE (Ma et al. 2018). Experts' outputs are normalised before they are mixed, as in HoME (Wang et
al. 2024, Kuaishou), so that no expert outweighs the others by its scale alone and dies out; the balance loss is that of
the Switch Transformer (Fedus et al. 2021).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, silu

_CLIP = 4.0


@dataclass(frozen=True)
class ExpertShape:
    """All that is needed to build the network again."""

    features: int
    heads: int
    experts: int
    width: int


class Experts(nn.Module):
    """Logits of all heads: a linear part, and a mixture of one-layer experts with a gate and an output for each head."""

    def __init__(self, shape: ExpertShape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        wide = shape.experts * shape.width
        self.expert = nn.Linear(shape.features, wide)
        self.gate = nn.Linear(shape.features, shape.heads * shape.experts)
        self.linear = nn.Linear(shape.features, shape.heads)
        self.output = nn.Parameter(torch.randn(shape.heads, shape.width) * 0.1 / shape.width**0.5)
        nn.init.zeros_(self.linear.weight)
        nn.init.normal_(self.gate.weight, std=0.01)
        nn.init.zeros_(self.gate.bias)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mean", torch.zeros(shape.features))
        self.register_buffer("spread", torch.ones(shape.features))

    def standardise(self, values: np.ndarray, share: np.ndarray) -> None:
        """Take mean and spread of the features from float32[n, features], NaN left out, and start each head at its share."""
        known = np.isfinite(values)
        count = np.maximum(known.sum(0), 1)
        mean = np.where(known, values, 0).sum(0, dtype=np.float64) / count
        spread = np.sqrt((np.where(known, values - mean, 0) ** 2).sum(0) / count)
        self.get_buffer("mean").copy_(torch.from_numpy(mean))
        self.get_buffer("spread").copy_(torch.from_numpy(np.where(spread > 1e-6, spread, 1.0)))
        with torch.no_grad():
            self.linear.bias.copy_(torch.from_numpy(np.log(share / (1 - share))))

    def scaled(self, values: np.ndarray) -> Tensor:
        """float32[n, features] of mean 0 and spread 1, without outliers; what is unknown counts as average."""
        scaled = (torch.from_numpy(np.ascontiguousarray(values)) - self.get_buffer("mean")) / self.get_buffer("spread")
        return torch.nan_to_num(scaled, nan=0.0, posinf=_CLIP, neginf=-_CLIP).clamp(-_CLIP, _CLIP)

    def forward(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """Logits float32[n, heads], and the gates float32[n, heads, experts], which sum to 1 over the experts."""
        shape = self.shape
        scaled = self.dropout(scaled)
        hidden = silu(self.expert(scaled)).reshape(-1, shape.experts, shape.width)
        hidden = self.dropout(layer_norm(hidden, (shape.width,)))
        gates = self.gate(scaled).reshape(-1, shape.heads, shape.experts).softmax(-1)
        mixed = torch.einsum("nhe,new->nhw", gates, hidden)
        return self.linear(scaled) + (mixed * self.output).sum(-1), gates


def balance_loss(gates: Tensor) -> Tensor:
    """experts * sum over experts of (share of rows and heads whose first choice it is) * (its mean gate); 1 when even."""
    experts = gates.shape[-1]
    flat = gates.reshape(-1, experts)
    chosen = torch.bincount(flat.argmax(1), minlength=experts) / len(flat)
    return experts * (chosen * flat.mean(0)).sum()
