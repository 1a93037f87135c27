"""Training the heads' network on past interactions, each seen with what was known before its day."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from .head_network import HeadNetwork, HeadShape
from .head_totals import HeadTotals, divider
from .log import Log
from .options import HeadOptions
from .torch_threads import one_thread

_RAREST = 1e-4


@dataclass(frozen=True, eq=False)
class HeadRows:
    """Interactions in time order, as places among the distinct (user, day) and (item, day) whose inputs are kept.

    ``users`` float32[u, n], ``items`` float32[i, m], ``met`` float32[i, e]: inputs of `HeadTotals` at the end of the day
    before; ``ids`` int64[i] item rows. ``user``, ``item`` int64[r] places, ``outcomes`` float32[r, heads], ``row`` int64[r]
    rows of the log.
    """

    users: np.ndarray
    items: np.ndarray
    met: np.ndarray
    ids: np.ndarray
    user: np.ndarray
    item: np.ndarray
    outcomes: np.ndarray
    row: np.ndarray


def head_rows(
    log: Log, heads: tuple[str, ...], group: np.ndarray, spans: tuple[tuple[int, int], ...], most: int
) -> tuple[list[HeadRows], HeadTotals]:
    """Rows of each span of days, first and last included, and the totals at the end of the log.

    At most ``most`` rows of a span, every n-th of its interactions. One pass over the log, day by day; only the choice of
    the kind that divides, see `divider`, is made on the whole log.
    """
    totals = HeadTotals(log, heads, group, divider(log, heads))
    wanted = [_thinned(log, span, most) for span in spans]
    made: list[list[HeadRows]] = [[] for _ in spans]
    days = np.unique(np.floor(log.day)).astype(int)
    quiet = range(int(days[0]), int(days[-1]) + 1) if len(days) else range(0)
    for day in quiet:
        part = log.between(day, day)
        for number, rows in enumerate(wanted):
            here = rows[np.floor(log.day[rows]) == day]
            if len(here):
                made[number].append(_day_rows(totals, log, here))
        totals.add_day(part)
    return [_joined(parts, totals, log) for parts in made], totals


def _thinned(log: Log, span: tuple[int, int], most: int) -> np.ndarray:
    start, stop = np.searchsorted(log.day, [span[0], span[1] + 1])
    count = int(stop - start)
    return start + np.arange(count)[:: max(1, -(-count // most))] if count else np.zeros(0, np.int64)


def _day_rows(totals: HeadTotals, log: Log, rows: np.ndarray) -> HeadRows:
    part = log.take(rows)
    who, user = np.unique(part.user, return_inverse=True)
    what, item = np.unique(part.item, return_inverse=True)
    outcomes = totals.outcomes(part).astype(np.float32)
    return HeadRows(
        totals.users(who), totals.items(what), totals.met(what), what.astype(np.int64), user, item, outcomes, rows
    )


def _joined(parts: list[HeadRows], totals: HeadTotals, log: Log) -> HeadRows:
    parts = [_day_rows(totals, log, np.zeros(0, np.int64)), *parts]
    users = np.cumsum([0, *(len(part.users) for part in parts)])
    items = np.cumsum([0, *(len(part.items) for part in parts)])
    whole = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("users", "items", "met", "ids", "outcomes", "row")
    }
    user = np.concatenate([part.user + first for part, first in zip(parts, users, strict=False)])
    item = np.concatenate([part.item + first for part, first in zip(parts, items, strict=False)])
    return HeadRows(**whole, user=user.astype(np.int64), item=item.astype(np.int64))


@one_thread()
def train_head_network(
    rows: HeadRows,
    options: HeadOptions,
    items: int,
    seed: int,
    done: Callable[[float], None] = lambda _: None,
    *,
    device: str = "cpu",
) -> tuple[HeadNetwork, list[float]]:
    """Fit on one thread, so that the weights are the same on every machine with the same libraries.

    The loss is the mean log loss over heads: rare kinds of feedback count as far as they say something. With ``sa`` each
    sample is learnt from twice, once without its item's own embedding. Returns the network and the mean loss of each epoch;
    ``done`` is called with the share of the work that each step was. ``device``: as in `train_towers`. Raises ValueError
    without rows.
    """
    if not len(rows.user):
        raise ValueError("no interaction to learn the heads from")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = HeadNetwork(_shape(rows, options, items))
    network.standardise("user", rows.users[rows.user])
    network.standardise("item", rows.items[rows.item])
    if options.ef:
        network.standardise("met", rows.met[rows.item])
    share = np.clip(rows.outcomes.mean(0, dtype=np.float64), _RAREST, 1 - _RAREST)
    network.start_at(share)
    network.to(device)
    batches = -(-len(rows.user) // options.batch)
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    steps = options.epochs * batches
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, total_steps=max(steps, 2))
    losses = []
    for epoch in range(options.epochs):
        order, total = np.random.default_rng([seed, epoch, 2]).permutation(len(rows.user)), 0.0
        for part in np.array_split(order, batches):
            loss = _loss(network, rows, part, options)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            done(1 / steps)
            total += float(loss.detach()) * len(part)
        losses.append(total / len(order))
    return network.cpu().eval(), losses


def _shape(rows: HeadRows, options: HeadOptions, items: int) -> HeadShape:
    return HeadShape(
        user=rows.users.shape[1],
        item=rows.items.shape[1],
        met=rows.met.shape[1] if options.ef else 0,
        heads=rows.outcomes.shape[1],
        dim=options.dim,
        ids=items if options.item_id else 0,
    )


def _loss(network: HeadNetwork, rows: HeadRows, part: np.ndarray, options: HeadOptions) -> Tensor:
    user, item = rows.user[part], rows.item[part]
    happened, inputs = _put(network, rows.outcomes[part]), _put(network, rows.users[user])
    users = network.users(inputs)
    known, met, ids = (_put(network, values[item]) for values in (rows.items, rows.met, rows.ids))
    losses = []
    for with_id in (True, False) if options.sa else (options.item_id,):
        logits = network.logits(users, network.items(known, met, ids if with_id else None))
        losses.append(binary_cross_entropy_with_logits(logits, happened))
    return torch.stack(losses).mean()


def _put(network: HeadNetwork, values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).to(network.device)


@one_thread()
@torch.no_grad()
def head_parts(network: HeadNetwork, rows: HeadRows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of rows that it was not trained on: the product float32[r], and both sides' biases float32[r, heads]; ids dropped."""
    taste, of_user = network.users(torch.from_numpy(rows.users))
    appeal, of_item = network.items(torch.from_numpy(rows.items), torch.from_numpy(rows.met))
    user, item = torch.from_numpy(rows.user), torch.from_numpy(rows.item)
    product = (taste[user] * appeal[item]).sum(1)
    return product.numpy(), of_user[user].numpy(), of_item[item].numpy()
