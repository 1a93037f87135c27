"""Tables written in the generic schema."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from . import schema
from .parquet import write_parquet
from .tables import Tables


def write_tables(tables: Tables, folder: Path) -> None:
    """Write users.parquet, items.parquet and interactions.parquet (see ``schema``) into ``folder``, made if missing.

    Outside ids, names and times come back as they were; codes without names (features, contexts) may be renumbered.
    """
    folder.mkdir(parents=True, exist_ok=True)
    version = {schema.VERSION_KEY: str(schema.SCHEMA_VERSION)}
    about = {
        schema.NAME_KEY: tables.name,
        schema.DAY_START_KEY: str(tables.day_start),
        schema.NOTES_KEY: json.dumps(tables.notes),
    }
    write_parquet(folder / schema.USERS_FILE, _users(tables), version)
    write_parquet(folder / schema.ITEMS_FILE, _items(tables), version)
    write_parquet(folder / schema.INTERACTIONS_FILE, _interactions(tables), version | about)


def _users(tables: Tables) -> dict[str, pa.Array]:
    columns = {"user_id": pa.array(tables.users.ids)}
    columns |= {schema.FEATURE_PREFIX + name: _codes(codes) for name, codes in tables.user_features.items()}
    return columns | {name: pa.array(capacity) for name, capacity in tables.user_capacity.items()}


def _items(tables: Tables) -> dict[str, pa.Array]:
    columns = {"item_id": pa.array(tables.items.ids), "upload_time": _times(tables.item_time)}
    if tables.item_creator is not None and tables.creators is not None:
        columns["creator_id"] = pa.array(tables.creators.ids).take(_codes(tables.item_creator))
    if tables.item_category is not None:
        columns["category"] = pa.array(tables.categories, pa.string()).take(_codes(tables.item_category))
    if tables.item_content is not None:
        flat = pa.array(np.ravel(tables.item_content))
        columns["content"] = pa.FixedSizeListArray.from_arrays(flat, tables.item_content.shape[1])
    return columns


def _interactions(tables: Tables) -> dict[str, pa.Array]:
    log = tables.interactions
    columns = {
        "user_id": pa.array(tables.users.ids[log.user]),
        "item_id": pa.array(tables.items.ids[log.item]),
        "time": _times(log.time),
    }
    columns |= {kind: pa.array(log.kinds[kind]) for kind in tables.heads}
    return columns | {schema.CONTEXT_PREFIX + name: _codes(codes) for name, codes in log.context.items()}


def _times(times: np.ndarray) -> pa.Array:
    return pa.array(times).cast(pa.timestamp("ms", "UTC"))


def _codes(codes: np.ndarray) -> pa.Array:
    return pa.array(codes, mask=np.asarray(codes) < 0)
