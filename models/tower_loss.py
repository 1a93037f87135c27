"""The loss of a batch of positives: each against sampled users for the same item, corrected for how they were sampled."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from .options import TowerOptions
from .towers import Towers
from .training_days import TrainingDay


def pair_loss(
    towers: Towers, day: TrainingDay, rows: np.ndarray, options: TowerOptions, generator: np.random.Generator
) -> Tensor:
    """Mean over the positives ``rows`` of the logistic loss of one positive and ``negatives`` sampled users.

    With n negatives drawn with probability q(u), the logit that fits best is log(P(u | item) / (n q(u))): adding
    log(n q(u) A) makes it the lift over the A active users, whoever was drawn. Active users at random have q = 1 / A; the
    batch's users q = their share of the positives (Yi et al. 2019, logQ). With ``sa`` the mean of the samples with and
    without their item's own embedding (the paper's SA).
    """
    count = len(rows)
    if options.negatives_from == "batch" and count > 1:
        pool, drawn = _of_the_batch(day, rows, options.negatives, generator)
        shift = torch.from_numpy(np.log(options.negatives * day.positive_share[pool] * len(day.active))).float()
    else:
        pool, drawn = _active_ones(day, rows, options.negatives, generator)
        shift = torch.full((len(pool),), math.log(options.negatives))
    vectors, biases = towers.users(day.users, pool)
    shifted = biases - shift.to(towers.device)
    drawn = drawn.to(towers.device)
    losses = []
    for with_id in _copies(options):
        item = towers.items(day.items, day.item[rows], with_id=with_id)
        positive = (vectors[:count] * item).sum(1) + shifted[:count]
        negative = torch.einsum("nkd,nd->nk", vectors[drawn], item) + shifted[drawn]
        losses.append((softplus(-positive) + softplus(negative).sum(1)).mean())
    return torch.stack(losses).mean()


def _copies(options: TowerOptions) -> tuple[bool, ...]:
    """With or without the item's embedding, a sample's copies."""
    if not options.item_id:
        return (False,)
    return (True, False) if options.sa else (True,)


def _active_ones(
    day: TrainingDay, rows: np.ndarray, negatives: int, generator: np.random.Generator
) -> tuple[np.ndarray, Tensor]:
    """Users of the positives and then two active ones for each, and which of these each positive is set against."""
    count = len(rows)
    others = day.active[generator.integers(0, len(day.active), 2 * count)]
    drawn = generator.integers(count, 3 * count, (count, negatives))
    return np.concatenate([day.user[rows], others]), torch.from_numpy(drawn)


def _of_the_batch(
    day: TrainingDay, rows: np.ndarray, negatives: int, generator: np.random.Generator
) -> tuple[np.ndarray, Tensor]:
    """Users of the positives, and for each positive others of them."""
    count = len(rows)
    drawn = (np.arange(count)[:, None] + generator.integers(1, count, (count, negatives))) % count
    return day.user[rows], torch.from_numpy(drawn)
