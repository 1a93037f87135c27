"""The parts of the stage `retrieval` that workers compute, and how they are put together."""

from dataclasses import dataclass

import faiss
import numpy as np

from ..models.log import Log
from ..models.options import TowerOptions
from ..models.retrievals import Retrievals
from ..models.similarity import Interactions, Similarity, SimilarLists
from ..models.sparse_top import ranked
from ..models.tower_inputs import ItemInputs, UserInputs
from ..models.towers import BATCH, Towers, all_items, all_users
from ..models.training_days import TrainingDay, training_day
from ..models.user_index import BLOCK, nearest_users
from .partitions import Engine, given, ranges

SIMILAR_ITEMS = 1024
"""Items of a part of a retrieval by similar lists; users that two parts ask about have their lists computed twice."""

Lists = tuple[Similarity, int, int]
"""A service, how many similar rows to keep, and how many rows there are."""


@dataclass(frozen=True, eq=False)
class Past:
    """What the days that the towers learn from are made of: see `training_day`."""

    log: Log
    options: TowerOptions
    strict_cold: bool
    features: dict[str, np.ndarray]


def day_of(past: Past, day: int) -> TrainingDay:
    """One of the days that the towers learn from."""
    return training_day(past.log, day, past.options, past.strict_cold, past.features)


def user_vectors(engine: Engine, towers: Towers, inputs: UserInputs, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `all_users`, a batch a part."""
    shared, batches = engine.share(given, (towers, inputs)), ranges(len(rows), BATCH)
    parts = [all_users(towers, inputs, rows[:0])]
    parts += engine.run(encode_users, [rows[low:high] for low, high in batches], shared)
    vectors, biases = zip(*parts, strict=True)
    return np.concatenate(vectors), np.concatenate(biases)


def item_vectors(engine: Engine, towers: Towers, inputs: ItemInputs) -> np.ndarray:
    """As `all_items`, a batch a part."""
    shared, batches = engine.share(given, (towers, inputs)), ranges(len(inputs.rows), BATCH)
    return np.concatenate([all_items(towers, inputs, (0, 0)), *engine.run(encode_items, batches, shared)])


def encode_users(shared: tuple[Towers, UserInputs], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors and biases of a batch of users."""
    return all_users(*shared, rows)


def encode_items(shared: tuple[Towers, ItemInputs], part: tuple[int, int]) -> np.ndarray:
    """Vectors of a batch of items."""
    return all_items(*shared, part)


def nearest_parts(items: np.ndarray, count: int) -> list[tuple[np.ndarray, int]]:
    """The parts of a search for the nearest users of item vectors: a block each."""
    return [(items[low:high], count) for low, high in ranges(len(items), BLOCK)]


def nearest_of(index: faiss.Index, part: tuple[np.ndarray, int]) -> np.ndarray:
    """As `nearest_users` of a block of item vectors."""
    return nearest_users(index, *part, threads=1)


@dataclass(frozen=True, eq=False)
class Similar:
    """What the retrievals by similar lists read: the likes, both sides' lists, and which users may be found."""

    liked: Interactions
    items: Lists
    users: Lists
    available: np.ndarray


def found_by(similar: Similar, part: tuple[str, np.ndarray, int], threads: int = 1) -> np.ndarray:
    """int64[items, count] users of a method of `Retrievals` for some items, best first, padded with -1."""
    method, rows, count = part
    items, users = (SimilarLists(*lists, threads) for lists in (similar.items, similar.users))
    search = getattr(Retrievals(similar.liked, items, users, threads), method)
    return ranked(search(rows, count, similar.available), count)
