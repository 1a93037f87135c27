"""What visitors are shown: the user-side recommender's lists, with matches or cold items among them (eq. 14)."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ...models.torch_threads import each_on_one_thread
from ...solvers.tile_source import TileSource
from .draws import Purpose, normal
from .exposures import COLD, ORGANIC
from .items import Items
from .knowledge import Knowledge
from .options import PlatformOptions
from .serving_kernels import drop_seen

_COLD_LIST = 20
_ALL_COLD = 500
"""With fewer items in the index, all live ones are."""


@dataclass(frozen=True, eq=False)
class Scores:
    """The user-side score: log-odds of a view = <user, item> + of_item, up to what is the user's alone.

    ``user`` float32[users, dim], ``of_item`` float64[items]."""

    user: np.ndarray
    of_item: np.ndarray

    def pairs(self, items: Items, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """float64 of pairs, broadcast; entries of item below 0 score minus infinity."""
        if not len(items):
            return np.full(np.broadcast_shapes(user.shape, item.shape), -np.inf)
        product = np.einsum("...d,...d->...", self.user[user], items.content[item])
        return np.where(item >= 0, product + self.of_item[item], -np.inf)


@dataclass(frozen=True, eq=False)
class Visits:
    """Visitors of a part of a ``day``: ``visitor`` int64, ascending user rows; ``live`` int64, the items that they may be
    shown; the user-side ``scores``."""

    options: PlatformOptions
    seed: int
    day: int
    items: Items
    known: Knowledge
    scores: Scores
    visitor: np.ndarray
    live: np.ndarray

    def own_scores(self, item: np.ndarray) -> np.ndarray:
        """float64[visitors, n] of lists of items, minus infinity for -1."""
        return self.scores.pairs(self.items, self.visitor[:, None], item)


@dataclass(frozen=True, eq=False)
class Extra:
    """Items that compete for places beside the organic ones: ``item`` int64[visitors, n], -1: none; ``gain`` float64, what
    a boost multiplies (a match's score, 1 for a cold item); ``source`` int8; ``aim``: their share of all places."""

    item: np.ndarray
    gain: np.ndarray
    source: np.ndarray
    aim: float


def user_side_scores(known: Knowledge, vectors: np.ndarray, watch: np.ndarray) -> Scores:
    """From the fitted model; before the first fit, by content alone. ``watch`` float64[items] log-odds."""
    weights = known.models.get("watch", np.array([0.0, 5.0, 1.0, 1.0]))
    return Scores((vectors * weights[1]).astype(np.float32), weights[2] * watch)


def organic_lists(visits: Visits) -> np.ndarray:
    """int64[visitors, n] rows of items, -1: none: the best of the index that the user has not seen.

    In the index are the live items of enough exposures: others the user-side recommender does not find (the paper's cold
    start).
    """
    options, live = visits.options, visits.live
    enough = live[visits.items.shows[live] >= options.recommender.index_least]
    index = enough if len(enough) >= min(_ALL_COLD, len(live)) else live
    return _best_unseen(visits, index, options.people.longest + options.recommender.spare)


def cold_items(visits: Visits, aim: float) -> Extra:
    """Base's extra retrieval and boost: for each visitor the best of the live items of few exposures, boosted alike."""
    cold = visits.live[visits.items.shows[visits.live] < visits.options.recommender.index_least]
    lists = _best_unseen(visits, cold, _COLD_LIST)
    return Extra(lists, np.ones(lists.shape), np.full(lists.shape, COLD, np.int8), aim)


def unseen(visits: Visits, extra: Extra) -> Extra:
    """Without the items that the visitors have seen since they were matched, or before."""
    item = extra.item.astype(np.int32)
    drop_seen(item, visits.visitor, visits.known.seen)
    return replace(extra, item=item.astype(np.int64))


def _best_unseen(visits: Visits, index: np.ndarray, count: int) -> np.ndarray:
    visitor, scores = visits.visitor, visits.scores
    if not len(index) or not len(visitor):
        return np.full((len(visitor), count), -1, np.int64)
    content = visits.items.content[index]
    place, _ = best_of_index(scores.user[visitor], content, scores.of_item[index], count)
    lists = np.where(place >= 0, index[np.maximum(place, 0)], -1).astype(np.int32)
    drop_seen(lists, visitor, visits.known.seen)
    return lists.astype(np.int64)


def best_of_index(user: np.ndarray, item: np.ndarray, of_item: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(place int32[users, count], score float32) of the largest <user, item> + of_item, -1 where there are fewer."""
    # The search keeps what is above 0: everything is raised by the same amount.
    reach = float(np.sqrt((user.astype(np.float64) ** 2).sum(1).max(initial=0)) * _longest(item))
    rise = np.float32(1.0 + reach - of_item.min(initial=0))
    left, columns = torch.from_numpy(user), torch.from_numpy(np.ascontiguousarray(item.T))
    raised = torch.from_numpy((of_item + rise).astype(np.float32))

    @each_on_one_thread
    def tile(rows: np.ndarray, first: int, last: int) -> np.ndarray:
        scores: np.ndarray = torch.addmm(
            raised[first:last], left[torch.from_numpy(rows)], columns[:, first:last]
        ).numpy()
        return scores

    source = TileSource(tile, len(user), len(item))
    return source.best(np.arange(len(user)), np.zeros(len(item)), count)


@dataclass
class Share:
    """Holds the exposures of extra items at a share of all: ``target``; ``aim`` is what the lists are made for, which the
    exposures correct, since users leave before the end of a list."""

    target: float
    aim: float

    def note(self, shown: int, extra: int) -> None:
        """Takes note of a period's exposures."""
        if shown and extra:
            moved = self.aim * np.sqrt(self.target * shown / extra)
            self.aim = float(np.clip(moved, self.target / 8, min(8 * self.target, 0.9)))


def merged(
    visits: Visits, organic: np.ndarray, extras: list[Extra], count: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(item int64[visitors, longest], source int8) of the lists, best first, ``count`` int64 long, -1 past the end.

    One boost for all of a kind of extra items: that at which they take their aim of the places, each counted by itself.
    An item stands in a list once, as the first of the extras that bring it, else as organic.
    """
    options, visitor = visits.options, visits.visitor
    added, items = np.zeros((len(visitor), 0), np.int64), []
    for extra in extras:
        items.append(_without(extra.item, added))
        added = np.concatenate([added, items[-1]], 1)
    organic = _without(organic, added)
    drawn = normal(visits.seed, Purpose.ORGANIC, visitor[:, None], np.maximum(organic, 0), visits.day)
    value = visits.own_scores(organic) + options.recommender.noise * drawn
    values, sources = [value], [np.full(organic.shape, ORGANIC, np.int8)]
    for item, extra in zip(items, extras, strict=True):
        own = visits.own_scores(item)
        boost = _boost(value, own, extra.gain, count, extra.aim)
        values.append(np.where(item >= 0, own + boost * extra.gain, -np.inf))
        sources.append(extra.source)
    order = np.argsort(-np.concatenate(values, 1), axis=1, kind="stable")[:, : options.people.longest]
    item = np.take_along_axis(np.concatenate([organic, added], 1), order, 1)
    item[np.arange(item.shape[1]) >= count[:, None]] = -1
    return item, np.take_along_axis(np.concatenate(sources, 1), order, 1)


def _without(lists: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Lists of items, with -1 in place of what the same row of ``others`` holds."""
    for place in range(others.shape[1]):
        lists = np.where(lists == others[:, place : place + 1], -1, lists)
    return lists


def _boost(value: np.ndarray, own: np.ndarray, gain: np.ndarray, count: np.ndarray, aim: float) -> float:
    """The boost at which extra items enter the lists as often as asked for; below 0 where they would enter more often."""
    there = np.isfinite(own) & (gain > 0)
    if not there.any():
        return 0.0
    last = -np.sort(-value, axis=1)[np.arange(len(value)), np.minimum(count, value.shape[1]) - 1]
    last = np.where(np.isfinite(last), last, own.min(initial=0.0, where=there) - 1.0)
    needed = (last[:, None] - own)[there] / gain[there]
    wanted = min(int(aim * count.sum()), len(needed) - 1)
    return float(np.partition(needed, wanted)[wanted])


def _longest(vectors: np.ndarray) -> float:
    return float(np.sqrt((vectors.astype(np.float64) ** 2).sum(1).max(initial=0)))
