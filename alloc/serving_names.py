"""The names of the files that a night publishes for items that come after it, and their reader when it is first needed."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .item_scorer import ItemScorer

SERVING = "serving"
"""Their folder in a run."""

TOWERS_FILE, TREES_FILE, ABOUT_FILE = "towers.safetensors", "item_rate_trees.json", "serving.json"
HEADS_FILE = "heads.safetensors"

OF_USERS = ("user_vector", "user_bias", "user_rate", "user_taste", "factor")
OF_ITEMS = (
    "heat",
    "same_day",
    "token_rate",
    "creator_rate",
    "group_rate",
    "similar",
    "near_content",
    "near_met",
    "near_weight",
)
CREATORS = "creators"

SERVING_FILES = (
    TOWERS_FILE,
    HEADS_FILE,
    TREES_FILE,
    ABOUT_FILE,
    *(f"{name}.npy" for name in (*OF_USERS, *OF_ITEMS, CREATORS)),
)


def scorer_of(run_dir: Path, user_ids: np.ndarray) -> "Callable[[], ItemScorer]":
    """Loads the scorer of a run when it is first called: a stream whose uploads bring candidates never does."""

    @functools.cache
    def load() -> "ItemScorer":
        from .serving_files import load_item_scorer

        return load_item_scorer(run_dir, user_ids)

    return load
