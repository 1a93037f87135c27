"""The towers on disk: weights as safetensors, and in the header all that loading them needs, with checksums."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from ..models.options import TowerOptions
from ..models.towers import Towers, TowerShape
from .artifacts import canonical_json, write_bytes
from .errors import InputError
from .tables import Tables

FILE = "towers.safetensors"


def vocabulary_sha256(tables: Tables) -> str:
    """Of the names that the towers' inputs stand for: categories in their order (the items where there are none) and the
    users' features. Towers trained with one vocabulary mean nothing with another."""
    categories = tables.categories if tables.item_category is not None else tuple(map(str, tables.items.ids.tolist()))
    names = [*categories, "", *tables.user_features]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def save_towers(folder: Path, towers: Towers, options: TowerOptions, vocabulary: str) -> None:
    """Write weights, shape, the options that they were trained with and `vocabulary_sha256`. Raises OSError."""
    weights = {name: np.ascontiguousarray(value.numpy()) for name, value in towers.state_dict().items()}
    about = {
        "shape": json.dumps(asdict(towers.shape)),
        "options": options.model_dump_json(),
        "vocabulary": vocabulary,
        "sha256": _sha256(weights),
    }
    write_bytes(folder / FILE, _in_order(save(weights, about)))


def _in_order(raw: bytes) -> bytes:
    """The file with its header's keys sorted: safetensors writes those of the metadata in an order of chance."""
    size = int.from_bytes(raw[:8], "little")
    text = canonical_json(json.loads(raw[8 : 8 + size])).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + raw[8 + size :]


def load_towers(folder: Path, vocabulary: str | None = None) -> Towers:
    """Read what `save_towers` wrote, without the data that it was trained on; runs no code from the file.

    Raises InputError when it is missing, damaged, foreign, or of another vocabulary than the one given.
    """
    path = folder / FILE
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata()
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        towers = Towers(TowerShape(**json.loads(about["shape"])))
        towers.load_state_dict(weights)
        intact = _sha256({name: value.numpy() for name, value in weights.items()}) == about["sha256"]
        written = about["vocabulary"]
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except Exception as error:  # the library's own error class is not exported
        raise InputError(f"{path} is not a file of tower weights: {error}") from None
    if not intact:
        raise InputError(f"{path} is not a file of tower weights: it is damaged, its checksum is another")
    if vocabulary is not None and vocabulary != written:
        raise InputError(
            f"{path} was trained with other categories or user features (vocabulary {written[:12]}, expected "
            f"{vocabulary[:12]}); train anew on these data"
        )
    towers.requires_grad_(False)
    return towers.eval()


def _sha256(weights: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].shape} {weights[name].dtype}\0".encode())
        digest.update(np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()
