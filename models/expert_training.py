"""Training the mixture of experts: every head counts alike, however sparse, and no expert may die."""

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from .experts import Experts, ExpertShape, balance_loss
from .options import RankerOptions
from .torch_threads import one_thread

_LATER_EPOCHS_RATE = 0.8


@one_thread()
def train_experts(
    values: np.ndarray,
    outcomes: np.ndarray,
    options: RankerOptions,
    seed: int,
    held: tuple[np.ndarray, np.ndarray] | None = None,
    epochs: int | None = None,
) -> tuple[Experts, int]:
    """Fit on one thread; returns the network and the number of epochs that it is of.

    ``values`` float32[n, features], ``outcomes`` bool[n, heads]. With ``held`` (values and outcomes of later rows) training
    stops when their loss has not fallen for ``patience`` epochs, and the best epoch's weights are kept; otherwise after
    ``epochs``. A head's loss is divided by the entropy of its share, so that sparse heads keep theirs of the experts.
    """
    share = np.clip(outcomes.mean(0), 1e-4, 1 - 1e-4)
    weight = torch.from_numpy(1 / -(share * np.log(share) + (1 - share) * np.log(1 - share))).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Experts(ExpertShape(values.shape[1], outcomes.shape[1], options.experts, options.width), options.dropout)
        net.standardise(values, share)
        judge = None if held is None else _judge(net, held, weight)
        step = _steps(net, values, outcomes, weight, options, seed)
        return _best(net, step, judge, epochs or options.epochs, options.patience)


def _best(
    net: Experts, step: Callable[[int], None], judge: Callable[[], float] | None, epochs: int, patience: int
) -> tuple[Experts, int]:
    """The network after its best epoch by ``judge``, the last one without."""
    best, kept, lowest = 0, net.state_dict(), math.inf
    for epoch in range(epochs):
        step(epoch)
        now = -math.inf if judge is None else judge()
        if judge is None or now < lowest:
            best, lowest, kept = epoch + 1, now, copy.deepcopy(net.state_dict())
        elif epoch + 1 - best >= patience:
            break
    net.load_state_dict(kept)
    net.requires_grad_(False)
    return net.eval(), best


def _steps(
    net: Experts, values: np.ndarray, outcomes: np.ndarray, weight: torch.Tensor, options: RankerOptions, seed: int
) -> Callable[[int], None]:
    """A function that trains one epoch, whose number says in what order and how fast."""
    scaled, happened = net.scaled(values), torch.from_numpy(outcomes.astype(np.float32))
    matrices = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    biases = [parameter for parameter in net.parameters() if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": options.weight_decay}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.expert_learning_rate)

    def epoch(number: int) -> None:
        net.train()
        for group in optimizer.param_groups:
            group["lr"] = options.expert_learning_rate * _LATER_EPOCHS_RATE**number
        order = np.random.default_rng([seed, number]).permutation(len(values))
        for rows in np.array_split(order, math.ceil(len(order) / options.batch)):
            logits, gates = net(scaled[rows])
            loss = _loss(logits, happened[rows], weight) + options.balance * balance_loss(gates)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def _loss(logits: torch.Tensor, happened: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean over heads of each head's log loss in units of its entropy."""
    return (binary_cross_entropy_with_logits(logits, happened, reduction="none").mean(0) * weight).mean()


def _judge(net: Experts, held: tuple[np.ndarray, np.ndarray], weight: torch.Tensor) -> Callable[[], float]:
    scaled, happened = net.scaled(held[0]), torch.from_numpy(held[1].astype(np.float32))

    def loss() -> float:
        net.eval()
        with torch.no_grad():
            return float(_loss(net(scaled)[0], happened, weight))

    return loss


@one_thread()
@torch.no_grad()
def expert_logits(net: Experts, values: np.ndarray, batch: int = 4096) -> np.ndarray:
    """float32[n, heads] of float32[n, features], in batches on one thread."""
    parts = [net(net.scaled(values[start : start + batch]))[0] for start in range(0, len(values), batch)]
    return torch.cat(parts).numpy() if parts else np.zeros((0, net.shape.heads), np.float32)


@one_thread()
@torch.no_grad()
def expert_shares(net: Experts, values: np.ndarray) -> np.ndarray:
    """float64[heads, experts]: mean gate of each head on these rows; each head's sum to 1."""
    return net(net.scaled(values))[1].mean(0).double().numpy()
