"""The items so far, in upload order: what they are, and what has been counted of them."""

from dataclasses import dataclass

import numpy as np

from .draws import Purpose, normal, normals, uniform
from .options import PlatformOptions
from .people import Creators, period_of, topic_centres

COUNTS = ("shows", "watches", "likes", "comments", "follows")


@dataclass(eq=False)
class Items:
    """Columns. ``day``, ``period`` of the upload; ``creator`` rows; ``topic``; ``content`` float32[items, dim] unit vectors,
    what the platform knows; hidden: ``appeal`` float32[items, dim], what users react to, ``quality``. Counted so far:
    ``shows``, ``watches``, ``likes``, ``comments``, ``follows`` int64, ``shows_by_arm`` int64[items, 2]."""

    day: np.ndarray
    period: np.ndarray
    creator: np.ndarray
    topic: np.ndarray
    content: np.ndarray
    appeal: np.ndarray
    quality: np.ndarray
    shows: np.ndarray
    watches: np.ndarray
    likes: np.ndarray
    comments: np.ndarray
    follows: np.ndarray
    shows_by_arm: np.ndarray

    def __len__(self) -> int:
        return len(self.day)


def no_items(options: PlatformOptions) -> Items:
    """Before the first day."""
    row, vector = np.zeros(0, np.int64), np.zeros((0, options.people.dim), np.float32)
    return Items(row, row, row, row, vector, vector, np.zeros(0), **_counters(0))


def uploads(options: PlatformOptions, creators: Creators, counts: np.ndarray, seed: int, day: int) -> Items:
    """A day's items, by period, then creator. ``counts`` int64[creators]: how many each uploads."""
    made = options.creators
    creator = np.repeat(np.arange(len(counts)), counts)
    nth = np.arange(len(creator)) - np.repeat(np.cumsum(counts) - counts, counts)
    key = creator * 16 + nth  # at most 12 uploads a day
    period = period_of(options, uniform(seed, Purpose.UPLOAD_PERIOD, key, day))
    order = np.lexsort((key, period))
    creator, key, period = creator[order], key[order], period[order]
    second = uniform(seed, Purpose.SECOND_TOPIC, key, day) < 0.25
    topic = creators.topic[creator, second.astype(np.int64)]
    rows = key + day * 2**40
    dim = options.people.dim
    noise = made.content_noise / np.sqrt(dim) * normals(seed, Purpose.CONTENT, rows, dim)
    appeal = _unit(topic_centres(options, seed)[topic] + noise)
    content = _unit(appeal + made.content_blur / np.sqrt(dim) * normals(seed, Purpose.BLUR, rows, dim))
    quality = creators.skill[creator] + made.quality_spread * normal(seed, Purpose.QUALITY, rows)
    days = np.full(len(creator), day, np.int64)
    return Items(days, period, creator, topic, content, appeal, quality, **_counters(len(creator)))


def joined(items: Items, more: Items) -> Items:
    """Both, one after the other."""
    return Items(*(np.concatenate([a, b]) for a, b in zip(vars(items).values(), vars(more).values(), strict=True)))


def _counters(count: int) -> dict[str, np.ndarray]:
    counters = {name: np.zeros(count, np.int64) for name in COUNTS}
    return counters | {"shows_by_arm": np.zeros((count, 2), np.int64)}


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)
