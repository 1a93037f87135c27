"""Ending the training of the towers when held-out positives no longer gain."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .options import TowerOptions
from .tower_loss import pair_loss
from .towers import Towers
from .training_days import TrainingDay

HELD_OUT = 0.05
"""Share of each day's positives that are not trained on."""

MOST_HELD_OUT = 4_000
"""Of one day."""


class BestEpoch:
    """The weights of the epoch with the smallest loss so far, and how many epochs have gone by since."""

    def __init__(self, patience: int) -> None:
        self.patience, self.loss, self.waited = patience, float("inf"), 0
        self._weights: dict[str, Tensor] | None = None

    def over(self, towers: Towers, loss: float) -> bool:
        """Takes note of an epoch; whether `patience` epochs have now gone by without gain."""
        if loss < self.loss:
            self.loss, self.waited = loss, 0
            self._weights = {name: value.clone() for name, value in towers.state_dict().items()}
        else:
            self.waited += 1
        return self.waited >= self.patience

    def restore(self, towers: Towers) -> None:
        """Back to the best epoch's weights, if any was noted."""
        if self._weights is not None:
            towers.load_state_dict(self._weights)


def split_positives(days: list[TrainingDay], seed: int) -> tuple[list[TrainingDay], list[TrainingDay]]:
    """The days with most of their positives, and with the rest of them, drawn at random; days with one keep it."""
    kept, held_out = [], []
    for number, day in enumerate(days):
        count = len(day.item)
        order = np.random.default_rng([seed, 4, number]).permutation(count)
        cut = min(int(np.ceil(HELD_OUT * count)), MOST_HELD_OUT, count - 1)
        held_out.append(replace(day, item=day.item[order[:cut]], user=day.user[order[:cut]]))
        kept.append(replace(day, item=day.item[order[cut:]], user=day.user[order[cut:]]))
    return kept, [day for day in held_out if len(day.item)]


@torch.no_grad()
def held_out_loss(towers: Towers, days: list[TrainingDay], options: TowerOptions, seed: int) -> float:
    """Mean loss of the held-out positives, items without their own embedding as new ones are; always the same negatives."""
    cold = options.model_copy(update={"item_id": False, "sa": False, "negatives_from": "active"})
    total, count = 0.0, 0
    for number, day in enumerate(days):
        loss = pair_loss(towers, day, np.arange(len(day.item)), cold, np.random.default_rng([seed, 5, number]))
        total, count = total + float(loss) * len(day.item), count + len(day.item)
    return total / count if count else 0.0
