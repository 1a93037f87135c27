"""Training the towers: positives are users who interacted with a new item, negatives are active users at random."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from .history import HALF_LIVES
from .log import Log
from .options import TowerOptions
from .tower_inputs import ItemInputs, UserInputs, item_inputs, user_inputs
from .towers import Towers, TowerShape, one_thread


@dataclass(frozen=True, eq=False)
class TrainingDay:
    """One past day: its new items, what was known at its end, and who interacted in the days after.

    ``item`` int64[n] places in ``items``, ``user`` int64[n]: the positives, each pair once. ``active``: int64 rows of the
    known users who came in the days after.
    """

    users: UserInputs
    items: ItemInputs
    item: np.ndarray
    user: np.ndarray
    active: np.ndarray


def training_day(log: Log, day: int, options: TowerOptions, hide: bool, features: dict[str, np.ndarray]) -> TrainingDay:
    """The day as it was known at its end (``hide``: strict cold) and the positives of the ``target_days`` after it."""
    past = log.between(0, day)
    past = past.without_new_items(day) if hide else past
    users = user_inputs(past, day, options.history_days, features)
    items = item_inputs(past, day, log.new_items(day), users.history)
    item, user = later_positives(log, day, options.target_days, items.rows, users.known)
    after = log.between(day + 1, day + options.target_days)
    return TrainingDay(users, items, item, user, np.flatnonzero(after.known() & users.known))


def later_positives(
    log: Log, day: int, days: int, items: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (place in ``items``, user) pairs with a positive interaction in the ``days`` after ``day``; known users."""
    after = log.between(day + 1, day + days)
    place = np.full(log.items, -1)
    place[items] = np.arange(len(items))
    rows = np.flatnonzero((place[after.item] >= 0) & known[after.user] & after.positive())
    pairs = np.unique(place[after.item[rows]] * np.int64(log.users) + after.user[rows])
    return pairs // log.users, pairs % log.users


@one_thread()
def train_towers(
    days: list[TrainingDay], options: TowerOptions, seed: int, done: Callable[[float], None] = lambda _: None
) -> tuple[Towers, list[float]]:
    """Fit on one thread, so that the weights are the same on every machine with the same libraries.

    Each positive is set against ``negatives`` active users for the same item (random-user negatives of the paper), with
    the sampling correction log(negatives); at most ``positives_per_item`` of an item in an epoch, lest a few items be all
    that is learnt. Returns the towers and the mean loss of each epoch; ``done`` is called with the share of the work that
    each step was. Raises ValueError without positives.
    """
    days = [day for day in days if len(day.item)]
    if not days:
        raise ValueError("no user interacted with a new item on the training days; nothing can be learnt")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        towers = Towers(_shape(days[0], options.dim))
    towers.standardise(np.concatenate([day.users.dense[day.users.known] for day in days]))
    plan = [_epoch_batches(days, options, np.random.default_rng([seed, epoch])) for epoch in range(options.epochs)]
    step = _optimiser(towers, options, sum(len(batches) for batches in plan), done)
    losses = []
    for epoch, batches in enumerate(plan):
        generator = np.random.default_rng([seed, epoch, 1])
        total = 0.0
        for day, rows in batches:
            loss = _loss(towers, days[day], rows, options.negatives, generator)
            step(loss)
            total += float(loss.detach()) * len(rows)
        losses.append(total / sum(len(rows) for _, rows in batches))
    return towers.eval(), losses


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


def _shape(day: TrainingDay, dim: int) -> TowerShape:
    return TowerShape(
        tokens=day.users.history.weights[0].shape[1],
        content=day.users.history.content.shape[1],
        half_lives=len(HALF_LIVES),
        user_dense=day.users.dense.shape[1],
        user_codes=day.users.codes.shape[1],
        item_dense=day.items.dense.shape[1],
        dim=dim,
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


def _loss(towers: Towers, day: TrainingDay, rows: np.ndarray, negatives: int, generator: np.random.Generator) -> Tensor:
    count = len(rows)
    others = day.active[generator.integers(0, len(day.active), 2 * count)]
    vectors, biases = towers.users(day.users, np.concatenate([day.user[rows], others]))
    item = towers.items(day.items, day.item[rows])
    positive = (vectors[:count] * item).sum(1) + biases[:count]
    drawn = torch.from_numpy(generator.integers(count, 3 * count, (count, negatives)))
    negative = torch.einsum("nkd,nd->nk", vectors[drawn], item) + biases[drawn]
    # With n negatives to each positive the trained logit is the lift minus log(n).
    shift = math.log(negatives)
    return (softplus(shift - positive) + softplus(negative - shift).sum(1)).mean()
