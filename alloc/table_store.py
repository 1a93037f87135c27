"""Tables as a folder of .npy files and one JSON file: no pickle, loaded memory-mapped."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from .artifacts import save_array, write_text
from .errors import InputError
from .tables import Interactions, Tables
from .vocabulary import Vocabulary

STORE_VERSION = 1
_FILE = "tables.json"
_OPTIONAL = ("item_creator", "item_category", "item_content")


def save_tables(tables: Tables, folder: Path) -> None:
    """Write ``tables`` into ``folder`` (made if missing). The same tables give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in _arrays(tables).items():
        save_array(folder / f"{name}.npy", values)
    log = tables.interactions
    about = {
        "version": STORE_VERSION,
        "name": tables.name,
        "day_start": int(tables.day_start),
        "categories": list(tables.categories),
        "notes": list(tables.notes),
        "kinds": list(log.kinds),
        "context": list(log.context),
        "user_features": list(tables.user_features),
        "user_capacity": list(tables.user_capacity),
        "present": [name for name in _OPTIONAL if getattr(tables, name) is not None],
        "has_creators": tables.creators is not None,
    }
    write_text(folder / _FILE, json.dumps(about, indent=1, ensure_ascii=False) + "\n")


def load_tables(folder: Path) -> Tables:
    """Tables written by ``save_tables``, its arrays memory-mapped read-only. Raises InputError if damaged."""
    about = _read_about(folder)
    present = {name: _load(folder, name) for name in about["present"]}
    return Tables(
        name=about["name"],
        users=Vocabulary(_load(folder, "users"), "user"),
        items=Vocabulary(_load(folder, "items"), "item"),
        item_time=_load(folder, "item_time"),
        interactions=Interactions(
            user=_load(folder, "user"),
            item=_load(folder, "item"),
            time=_load(folder, "time"),
            kinds=_load_named(folder, "kind", about["kinds"]),
            context=_load_named(folder, "context", about["context"]),
        ),
        day_start=about["day_start"],
        creators=Vocabulary(_load(folder, "creators"), "creator") if about["has_creators"] else None,
        categories=tuple(about["categories"]),
        user_features=_load_named(folder, "feature", about["user_features"]),
        user_capacity=_load_named(folder, "capacity", about["user_capacity"]),
        notes=tuple(about["notes"]),
        **present,
    )


def _arrays(tables: Tables) -> dict[str, np.ndarray]:
    log = tables.interactions
    arrays = {
        "users": tables.users.ids,
        "items": tables.items.ids,
        "item_time": tables.item_time,
        "user": log.user,
        "item": log.item,
        "time": log.time,
    }
    if tables.creators is not None:
        arrays["creators"] = tables.creators.ids
    arrays |= {name: getattr(tables, name) for name in _OPTIONAL if getattr(tables, name) is not None}
    # Numbered, not named after the column: a column's name need not be fit for a file's name.
    named = {
        "kind": log.kinds,
        "context": log.context,
        "feature": tables.user_features,
        "capacity": tables.user_capacity,
    }
    for prefix, columns in named.items():
        arrays |= {f"{prefix}_{number}": values for number, values in enumerate(columns.values())}
    return arrays


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / _FILE
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise InputError(f"{path}: not a readable description of stored tables ({error}); store them again") from error
    if about.get("version") != STORE_VERSION:
        raise InputError(f"{path}: version {about.get('version')}, expected {STORE_VERSION}; store the tables again")
    return about


def _load(folder: Path, name: str) -> np.ndarray:
    path = folder / f"{name}.npy"
    try:
        values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable array ({error}); store the tables again") from error
    return values


def _load_named(folder: Path, prefix: str, names: list[str]) -> dict[str, np.ndarray]:
    return {name: _load(folder, f"{prefix}_{number}") for number, name in enumerate(names)}
