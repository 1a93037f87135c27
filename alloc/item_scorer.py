"""Scores of an item that comes after the night, for every user of the night, from what is known when it is uploaded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xgboost

from ..models.item_lookups import ItemLookups
from ..models.item_rate import predict_item_rate
from ..models.pair_scores import PairScorer
from ..models.torch_threads import one_thread
from ..models.towers import Towers, new_item_vectors
from .errors import InputError
from .model_log import unit_length
from .new_item import NewItem
from .new_item_heads import NewItemHeads


@dataclass(frozen=True, eq=False)
class Rate:
    """How the item's expected popularity becomes the log-odds of its rate, as in the stage `ranking`."""

    trees: xgboost.Booster
    factor: float
    mean_log_share: float
    exponent: float

    def logit(self, features: np.ndarray) -> np.ndarray:
        """float32[n] from float32[n, m]."""
        share = predict_item_rate(self.trees, self.factor, features)
        damped = np.exp(self.exponent * np.log(share) + (1 - self.exponent) * self.mean_log_share)
        return np.log(damped / (1 - damped)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class ItemScorer:
    """Of one night: ``users`` scores pairs and has no items; ``network``: of its heads, None where these are smoothed rates;
    ``creators`` are sorted ids; ``author`` int64[creators]: the place of the user who is that creator, -1 for others.
    ``categories``: their codes, None where the night has none. ``content``: how many numbers, 0 where it has none. One at a
    time.
    """

    towers: Towers
    network: NewItemHeads | None
    rate: Rate
    lookups: ItemLookups
    users: PairScorer
    categories: dict[str, int] | None
    creators: np.ndarray
    author: np.ndarray
    content: int

    @one_thread()
    def scores(self, item: NewItem, moment: float) -> np.ndarray:
        """float32[users] >= 0, in the night's units; 0 for the author.

        ``moment``: time of the upload as a share of the local day. A category or creator that the night did not know counts
        as an unknown one. Raises InputError where the item has no such content as the night's items.
        """
        return self.pairs([item], [moment]).row(0, self._product)

    @cached_property
    def _product(self) -> np.ndarray:
        return np.empty((2, self.users.users), np.float32)

    def pairs(self, items: Sequence[NewItem], moments: Sequence[float]) -> PairScorer:
        """The scores of several items. Raises InputError as `scores`."""
        token = np.array([self._token(item.category) for item in items], np.int64)
        creator = np.array([self._creator(item.creator) for item in items], np.int64)
        content = np.concatenate([self._content(item.content) for item in items])
        known = list(zip(token.tolist(), creator.tolist(), moments, strict=True))
        dense = np.concatenate([self.lookups.dense(t, moment) for t, _, moment in known])
        met = np.concatenate([self.lookups.met(t, part) for t, part in zip(token.tolist(), content, strict=True)])
        features = np.concatenate([self.lookups.rate_features(*one) for one in known])
        author = np.append(self.author, -1)[creator]
        written = np.flatnonzero(author >= 0)
        group = self.lookups.group_rate[creator if self.lookups.creator_rate.size else token]
        appeal, item_rate = np.zeros((len(items), 0), np.float32), group
        if self.network is not None:
            appeal, item_rate = self.network.parts(token, content, group)
        return replace(
            self.users,
            item_vector=new_item_vectors(self.towers, token, content, dense, met),
            item_logit=self.rate.logit(features),
            item_rate=item_rate,
            item_taste=appeal,
            excluded=written * self.users.users + author[written],
        )

    def _token(self, category: str | int | None) -> int:
        if self.categories is None:
            if category is not None:
                raise InputError(f"category {category!r}: the night's items have no categories; leave it out")
            return -1
        return -1 if category is None else self.categories.get(str(category), -1)

    def _creator(self, creator: str | int | None) -> int:
        if creator is None or not len(self.creators):
            return -1
        if isinstance(creator, str) != (self.creators.dtype.kind == "U"):
            kind = "a string" if self.creators.dtype.kind == "U" else "an integer"
            raise InputError(f"creator {creator!r}, expected {kind} as in the night")
        place = int(np.searchsorted(self.creators, creator))
        return place if place < len(self.creators) and self.creators[place] == creator else -1

    def _content(self, content: Sequence[float] | None) -> np.ndarray:
        """float32[1, d] of length 1, or 0 where all numbers are."""
        with np.errstate(over="ignore"):
            given = np.zeros(0, np.float32) if content is None else np.asarray(content, np.float64).astype(np.float32)
        if given.shape != (self.content,):
            expected = (
                f"{self.content} numbers as in the night" if self.content else "none: the night's items have none"
            )
            raise InputError(f"content has {given.size} numbers, expected {expected}")
        bad = np.flatnonzero(~np.isfinite(given))
        if bad.size:
            raise InputError(f"content is {given[bad[0]]} at place {bad[0]}, expected finite float32 numbers")
        return unit_length(given[None])
