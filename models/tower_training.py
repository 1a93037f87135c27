"""Training the towers: positives are users who interacted with a new item, negatives are active users at random."""

import math
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from .early_stopping import BestEpoch, held_out_loss, split_positives
from .history import HALF_LIVES
from .options import TowerOptions
from .torch_threads import one_thread
from .tower_loss import pair_loss
from .towers import Towers, TowerShape
from .training_days import TrainingDay


@one_thread()
def train_towers(
    days: list[TrainingDay],
    options: TowerOptions,
    seed: int,
    done: Callable[[float], None] = lambda _: None,
    *,
    items: int = 0,
    device: str = "cpu",
) -> tuple[Towers, list[float]]:
    """Fit on one thread, so that the weights are the same on every machine with the same libraries.

    Each positive is set against ``negatives`` users for the same item, active ones at random (the paper's) or those of the
    batch's other positives, with the correction for how they were sampled; at most ``positives_per_item`` of an item in an
    epoch, lest a few items be all that is learnt. ``items``: how many there are, needed where each has an embedding of its
    own. Returns the towers and the mean loss of each epoch; with ``patience`` those of the epoch that was best on held-out
    positives. ``done`` is called with the share of the work that each step was. ``device``: where the steps run; on a GPU
    sums have no fixed order, and weights may differ in their last bits. Raises ValueError without positives.
    """
    days = [day for day in days if len(day.item)]
    if not days:
        raise ValueError("no user interacted with a new item on the training days; nothing can be learnt")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        towers = Towers(_shape(days[0], items, options))
    towers.standardise(np.concatenate([day.users.dense[day.users.known] for day in days]))
    towers.to(device)
    days, held_out = split_positives(days, seed) if options.patience else (days, [])
    plan = [_epoch_batches(days, options, np.random.default_rng([seed, epoch])) for epoch in range(options.epochs)]
    step = _optimiser(towers, options, sum(len(batches) for batches in plan), done)
    losses: list[float] = []
    best = BestEpoch(options.patience)
    for epoch, batches in enumerate(plan):
        generator = np.random.default_rng([seed, epoch, 1])
        total = 0.0
        for day, rows in batches:
            loss = pair_loss(towers, days[day], rows, options, generator)
            step(loss)
            total += float(loss.detach()) * len(rows)
        losses.append(total / sum(len(rows) for _, rows in batches))
        if options.patience and best.over(towers, held_out_loss(towers, held_out, options, seed)):
            done(sum(len(batches) for batches in plan[epoch + 1 :]) / sum(len(batches) for batches in plan))
            break
    best.restore(towers)
    return towers.cpu().eval(), losses


def _optimiser(
    towers: Towers, options: TowerOptions, steps: int, done: Callable[[float], None]
) -> Callable[[Tensor], None]:
    """AdamW with a learning rate that rises and falls once in ``steps``; one step a call."""
    optimizer = torch.optim.AdamW(towers.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, total_steps=max(steps, 2))

    def step(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        done(1 / steps)

    return step


def shape_record(towers: Towers) -> dict[str, int]:
    """The network's shape as plain numbers, for the file beside its weights."""
    return asdict(towers.shape)


def _shape(day: TrainingDay, items: int, options: TowerOptions) -> TowerShape:
    return TowerShape(
        tokens=day.users.history.weights[0].shape[1],
        content=day.users.history.content.shape[1],
        half_lives=len(HALF_LIVES),
        user_dense=day.users.dense.shape[1],
        user_codes=day.users.codes.shape[1],
        item_dense=day.items.dense.shape[1],
        dim=options.dim,
        items=items if options.item_id else 0,
        ef=options.ef,
        tastes=options.tastes,
    )


def _epoch_batches(
    days: list[TrainingDay], options: TowerOptions, generator: np.random.Generator
) -> list[tuple[int, np.ndarray]]:
    """(day, rows of its positives) in random order, with a fresh choice of each item's positives."""
    batches: list[tuple[int, np.ndarray]] = []
    for number, day in enumerate(days):
        rows = _capped(day.item, options.positives_per_item, generator)
        parts = np.array_split(rows, math.ceil(len(rows) / options.batch))
        batches += [(number, part) for part in parts]
    return [batches[place] for place in generator.permutation(len(batches))]


def _capped(item: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    """Shuffled row numbers, at most ``most`` of each item."""
    shuffled = generator.permutation(len(item))
    by_item = shuffled[np.argsort(item[shuffled], kind="stable")]
    ordered = item[by_item]
    rank = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    return generator.permutation(by_item[rank < most])
