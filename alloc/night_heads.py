"""The heads of a night: their parts for its users and new items, from the network or from smoothed rates."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..models.head_network import HeadNetwork, encode_items, encode_users
from ..models.head_totals import HeadTotals
from ..models.head_training import HeadRows, head_parts, head_rows, train_head_network
from ..models.heads import ALWAYS, Head, fit_heads, fit_network_head, head_rates
from ..models.log import Log
from ..models.tower_inputs import item_inputs, user_inputs
from .new_item_heads import spread_heads
from .night_view import NightView
from .retrieval_parts import item_vectors, user_vectors
from .stage import StageContext
from .tower_store import load_towers, vocabulary_sha256

HELD_OUT, FEWEST = 5_000, 1_000
"""Interactions of the last days that calibrate the network, and the fewest before them that it is learnt from."""

_MOST_ROWS = 200_000


@dataclass(frozen=True, eq=False)
class NightHeads:
    """``heads`` in the order of the tables' kinds, with the parts of `PairScorer` for its users and items.

    ``group_known`` float32[groups + 1, m]: what is known of an item that comes later, by its group, the unknown one last;
    ``network``: None where smoothed rates were taken, and where not asked for ``about`` says why; ``learnt``: its kinds.
    ``held``: rows of the log that calibrated the network, int64[r], and its predictions for them, float32[r, heads].
    """

    heads: list[Head]
    user_rate: np.ndarray
    item_rate: np.ndarray
    user_taste: np.ndarray
    item_taste: np.ndarray
    group_known: np.ndarray
    network: HeadNetwork | None
    learnt: tuple[str, ...]
    about: dict[str, Any]
    held: tuple[np.ndarray, np.ndarray]


def night_heads(context: StageContext, view: NightView, users: np.ndarray, items: np.ndarray) -> NightHeads:
    """Fit on what the regime allows to be known; ``users``, ``items``: rows of the scorer's places."""
    past, options = view.past, context.config.heads
    if options.model == "rates":
        return _by_rates(context, view, users, items, {"model": "rates"})
    learnt = tuple(kind for kind in view.tables.heads if past.kinds[kind].mean() <= ALWAYS)
    if not learnt:
        note = "heads: every kind of feedback is (nearly) always there; nothing for a network to learn"
        return _by_rates(context, view, users, items, {"model": "rates", "note": note})
    first = held_out_day(past, view.day, options.train_days)
    known = past.between(first - options.train_days, first - 1)
    if len(known) < FEWEST:
        note = f"heads: {len(known):,} interactions before those held out, fewer than {FEWEST:,}; smoothed rates, no network"
        context.progress.note(note)
        return _by_rates(context, view, users, items, {"model": "rates", "note": note})
    return _by_network(context, view, (users, items), learnt, first)


def held_out_day(past: Log, day: int, train_days: int) -> int:
    """The first of the last days with HELD_OUT interactions together; at most a third of the days that are learnt from."""
    for first in range(day, day - max(1, train_days // 3), -1):
        if len(past.between(first, day)) >= HELD_OUT:
            return first
    return day - max(1, train_days // 3) + 1


def _by_rates(
    context: StageContext, view: NightView, users: np.ndarray, items: np.ndarray, about: dict[str, Any]
) -> NightHeads:
    """Logistic curves of the last days' interactions, with rates and vectors from before them."""
    past, heads, group = view.past, view.tables.heads, view.group
    rates = head_rates(past, heads, group)
    by_group = np.zeros((int(group.max(initial=-1)) + 2, len(heads)), np.float32)
    by_group[group[group >= 0]] = rates.item[group >= 0]
    fitted = _fit_rates(context, view, past)
    none = np.zeros((len(users), 0), np.float32)
    parts = (rates.user[users], rates.item[items], none, np.zeros((len(items), 0), np.float32))
    held = np.zeros(0, np.int64), np.zeros((0, len(heads)), np.float32)
    return NightHeads(fitted, *parts, by_group, None, (), about, held)


def _fit_rates(context: StageContext, view: NightView, past: Log) -> list[Head]:
    heads = view.tables.heads
    if all(past.kinds[kind].mean() > ALWAYS for kind in heads):
        return [Head(kind, 0.0, 0.0, 0.0, 0.0, always=True) for kind in heads]
    cut = max(view.tables.first_day, view.day - context.config.towers.train_days)
    before, after = past.between(view.tables.first_day, cut), past.between(cut + 1, view.day)
    rows = np.flatnonzero(before.known()[after.user])
    after = after.take(rows[:: max(1, len(rows) // _MOST_ROWS)])
    lift = tower_lift(context, view, before, after, cut)
    task = context.progress.task("heads", len(heads))
    return fit_heads(after, heads, head_rates(before, heads, view.group), lift, lambda: task.advance(1))


def _by_network(
    context: StageContext, view: NightView, rows: tuple[np.ndarray, np.ndarray], learnt: tuple[str, ...], first: int
) -> NightHeads:
    options, past = context.config.heads, view.past
    spans = ((first - options.train_days, first - 1), (first, view.day))
    (train, held), totals = head_rows(past, learnt, view.group, spans, options.max_rows)
    task = context.progress.task("heads", 1.0)
    network, losses = train_head_network(
        train, options, past.items, context.config.seed, task.advance, device=context.config.device
    )
    heads, predicted = _calibrated(context, view, network, held, learnt, first)
    taste, of_user = encode_users(network, totals.users(rows[0]))
    appeal, of_item = encode_items(network, totals.items(rows[1]), _met(network, totals, rows[1]))
    place = [view.tables.heads.index(kind) for kind in learnt]
    user_rate, item_rate = (spread_heads(values, place, len(heads)) for values in (of_user, of_item))
    about = {"model": "network", "losses": losses, "learnt": learnt, "train_rows": len(train.user)}
    about |= {"held_out_rows": len(held.user), "first_held_out_day": first}
    return NightHeads(heads, user_rate, item_rate, taste, appeal, totals.groups(), network, learnt, about, predicted)


def _met(network: HeadNetwork, totals: HeadTotals, items: np.ndarray) -> np.ndarray | None:
    return totals.met(items) if network.shape.met else None


def _calibrated(
    context: StageContext,
    view: NightView,
    network: HeadNetwork,
    held: HeadRows,
    learnt: tuple[str, ...],
    first: int,
) -> tuple[list[Head], tuple[np.ndarray, np.ndarray]]:
    """All heads of the tables, those of the network fitted on the rows that were held out, and what they say of these."""
    past = view.past
    before, after = past.between(view.tables.first_day, first - 1), past.take(held.row)
    known = before.known()[after.user]
    lift = tower_lift(context, view, before, after.take(np.flatnonzero(known)), first - 1)
    product, of_user, of_item = head_parts(network, held)
    weight = network.weight.detach().numpy()
    found, predicted = [], []
    for kind in view.tables.heads:
        if kind not in learnt:
            found.append(Head(kind, 0.0, 0.0, 0.0, 0.0, always=True))
            predicted.append(np.ones(len(lift)))
            continue
        number = learnt.index(kind)
        parts = (product[known], of_user[known, number], of_item[known, number])
        head = fit_network_head(kind, after.kinds[kind][known], lift, parts, float(weight[number]))
        found.append(head)
        predicted.append(head.probability(lift, parts[1], parts[2], parts[0]))
    return found, (held.row[known], np.stack(predicted, 1).astype(np.float32))


def tower_lift(context: StageContext, view: NightView, before: Log, after: Log, day: int) -> np.ndarray:
    """float32[n]: the tower product of each interaction in ``after``, from what was known at the end of ``day``."""
    if not len(after):
        return np.zeros(0, np.float32)
    towers = load_towers(context.input("retrieval"), vocabulary_sha256(view.tables))
    options, features = context.config.towers, view.tables.user_features
    users = user_inputs(before, day, options.history_days, features, tastes=options.tastes)
    who, user = np.unique(after.user, return_inverse=True)
    what, item = np.unique(after.item, return_inverse=True)
    vector, bias = user_vectors(context.engine, towers, users, who)
    inputs = item_inputs(before, day, what, users.history, similar=options.ef, tastes=users.tastes)
    item_vector = item_vectors(context.engine, towers, inputs)
    return np.einsum("nd,nd->n", vector[user], item_vector[item]) + bias[user]
