"""The towers and the heads' network on disk, each with the options and the vocabulary that it was trained with."""

import hashlib
from pathlib import Path

from ..models.head_network import HeadNetwork, HeadShape
from ..models.options import HeadOptions, TowerOptions
from ..models.towers import Towers, TowerShape
from .serving_names import HEADS_FILE
from .tables import Tables
from .weights_file import load_weights, save_weights

FILE = "towers.safetensors"


def vocabulary_sha256(tables: Tables) -> str:
    """Of the names that the towers' inputs stand for: categories in their order (the items where there are none) and the
    users' features. Towers trained with one vocabulary mean nothing with another."""
    categories = tables.categories if tables.item_category is not None else tuple(map(str, tables.items.ids.tolist()))
    return _names_sha256([*categories, "", *tables.user_features])


def heads_vocabulary_sha256(tables: Tables, learnt: tuple[str, ...]) -> str:
    """As `vocabulary_sha256`, of the categories and the kinds of feedback that the network learnt."""
    categories = tables.categories if tables.item_category is not None else ()
    return _names_sha256([*categories, "", *learnt])


def save_towers(folder: Path, towers: Towers, options: TowerOptions, vocabulary: str) -> None:
    """Write weights, shape, the options that they were trained with and `vocabulary_sha256`. Raises OSError."""
    about = {"options": options.model_dump_json(), "vocabulary": vocabulary}
    save_weights(folder / FILE, towers, towers.shape, about)


def load_towers(folder: Path, vocabulary: str | None = None) -> Towers:
    """Read what `save_towers` wrote, without the data that it was trained on; runs no code from the file.

    Raises InputError when it is missing, damaged, foreign, or of another vocabulary than the one given.
    """
    return load_weights(folder / FILE, lambda shape: Towers(TowerShape(**shape)), "tower weights", vocabulary)


def save_heads(folder: Path, network: HeadNetwork, options: HeadOptions, vocabulary: str) -> None:
    """Write weights, shape, the options that they were trained with and `heads_vocabulary_sha256`. Raises OSError."""
    about = {"options": options.model_dump_json(), "vocabulary": vocabulary}
    save_weights(folder / HEADS_FILE, network, network.shape, about)


def load_heads(folder: Path, vocabulary: str | None = None) -> HeadNetwork:
    """Read what `save_heads` wrote, as `load_towers` does."""
    return load_weights(
        folder / HEADS_FILE, lambda shape: HeadNetwork(HeadShape(**shape)), "weights of the heads", vocabulary
    )


def _names_sha256(names: list[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
