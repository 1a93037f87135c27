"""The generic schema (see ``schema``): users.parquet, items.parquet and interactions.parquet in one folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from .. import schema
from ..columns import Columns
from ..errors import InputError
from ..interactions import KINDS, Interactions
from ..tables import DAY_MS, Tables
from ..vocabulary import Vocabulary


def read(path: Path) -> Tables:
    """Tables of the folder ``path``, every value checked. Raises InputError naming file, column, row and cure."""
    if not path.is_dir():
        files = ", ".join((schema.USERS_FILE, schema.ITEMS_FILE, schema.INTERACTIONS_FILE))
        raise InputError(f"{path}: a file, expected the folder that holds {files}; give the folder with --data")
    user_rows = _open(path / schema.USERS_FILE, "user_id")
    item_rows = _open(path / schema.ITEMS_FILE, "item_id", "upload_time")
    log = _open(path / schema.INTERACTIONS_FILE, "user_id", "item_id", "time")
    users, user_order = _vocabulary(user_rows, "user_id", "user")
    items, item_order = _vocabulary(item_rows, "item_id", "item")
    interactions = _interactions(log, users, items)
    columns = _item_columns(item_rows, item_order)
    return Tables(
        users=users,
        items=items,
        interactions=interactions,
        user_features=_named_codes(user_rows, schema.FEATURE_PREFIX, user_order),
        user_capacity=_capacities(user_rows, user_order),
        notes=(*_given_notes(log), *_notes(interactions, columns, (user_rows, item_rows, log))),
        name=log.metadata.get(schema.NAME_KEY, path.name),
        day_start=_day_start(log, interactions),
        **columns,
    )


def _open(path: Path, *required: str) -> Columns:
    columns = Columns.read(path, required, keys=[name for name in required if name.endswith("_id")], others=True)
    schema.check_version(path, columns.metadata)
    return columns


def _vocabulary(rows: Columns, column: str, what: str) -> tuple[Vocabulary, np.ndarray]:
    """The ids in order, and the file's row of each. Refuses an id that comes twice."""
    ids = rows.ids(column)
    order = np.argsort(ids, kind="stable")
    repeated = ids[order[1:]] == ids[order[:-1]]
    if repeated.any():
        place = int(np.argmax(repeated))
        found = f"the id of row {order[place]} again"
        raise rows.input_error(column, int(order[place + 1]), found, "each id once", "remove one of the rows")
    return Vocabulary(ids, what), order


def _interactions(log: Columns, users: Vocabulary, items: Vocabulary) -> Interactions:
    user = _known_rows(log, "user_id", users, schema.USERS_FILE)
    item = _known_rows(log, "item_id", items, schema.ITEMS_FILE)
    kinds = [kind for kind in KINDS if log.has(kind)]
    if not kinds:
        raise InputError(
            f"{log.path}: no feedback column, expected one or more bool columns of {', '.join(KINDS)}; "
            f"the file has {', '.join(log.table.column_names)}; add or rename a column"
        )
    interactions = Interactions(
        user=user,
        item=item,
        time=log.times("time"),
        kinds={kind: log.flags(kind) for kind in kinds},
        context=_named_codes(log, schema.CONTEXT_PREFIX, slice(None)),
    )
    _refuse_repeats(log, interactions)
    return interactions.in_order()


def _known_rows(log: Columns, column: str, known: Vocabulary, file: str) -> np.ndarray:
    ids = log.ids(column)
    if ids.dtype.kind != known.ids.dtype.kind:
        found = f"type {log.table.schema.field(column).type}"
        raise log.input_error(column, None, found, f"the type that {file} has", "write the ids of both files alike")
    rows = known.rows(ids, missing=-1)
    if (rows < 0).any():
        row = int(np.argmax(rows < 0))
        found = f"unknown {known.what} {ids[row].item()!r}"
        raise log.input_error(column, row, found, f"an id of {file}", "add it there or remove the row")
    return rows


def _refuse_repeats(log: Columns, interactions: Interactions) -> None:
    first, second = interactions.first_repeat()
    if second >= 0:
        found = f"row {first} again: the same user, item, time and feedback"
        raise log.input_error("time", second, found, "each event once", "remove one of the rows")


def _item_columns(rows: Columns, order: np.ndarray) -> dict[str, Any]:
    """The fields of Tables that describe items, those that the file has."""
    columns: dict[str, Any] = {"item_time": rows.times("upload_time")[order]}
    if rows.has("creator_id"):
        ids, known = rows.known_ids("creator_id")
        columns["creators"] = Vocabulary(ids, "creator")
        creator = np.full(len(rows), -1, np.int32)
        creator[known] = columns["creators"].rows(ids)
        columns["item_creator"] = creator[order]
    if rows.has("category"):
        codes, columns["categories"] = rows.codes("category")
        columns["item_category"] = codes[order]
    if rows.has("content"):
        columns["item_content"] = rows.vectors("content")[order]
    return columns


def _named_codes(rows: Columns, prefix: str, order: np.ndarray | slice) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): rows.codes(name)[0][order] for name in rows.with_prefix(prefix)}


def _capacities(rows: Columns, order: np.ndarray) -> dict[str, np.ndarray]:
    capacities = {}
    for name in rows.with_prefix(schema.CAPACITY_PREFIX):
        values = rows.integers(name)
        wrong = (values < 0) | (values > np.iinfo(np.int32).max)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise rows.input_error(
                name, row, f"capacity {values[row]}", "an integer from 0 to 2**31 - 1", "correct the value"
            )
        capacities[name] = values[order].astype(np.int32)
    return capacities


def _day_start(log: Columns, interactions: Interactions) -> int:
    given = log.metadata.get(schema.DAY_START_KEY)
    if given is None:
        return int(interactions.time[0]) // DAY_MS * DAY_MS
    first = int(interactions.time[0])
    if not given.isdecimal() or int(given) > first:
        raise InputError(
            f"{log.path}: metadata key {schema.DAY_START_KEY!r} is {given!r}, expected an integer, ms since 1970 UTC, "
            f"up to the first interaction at {first}; correct or remove it"
        )
    return int(given)


def _given_notes(log: Columns) -> tuple[str, ...]:
    try:
        notes = json.loads(log.metadata.get(schema.NOTES_KEY, "[]"))
    except ValueError:
        notes = None
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise InputError(
            f"{log.path}: metadata key {schema.NOTES_KEY!r} is not a JSON list of strings; correct or remove it"
        )
    return tuple(notes)


def _notes(interactions: Interactions, columns: dict[str, Any], files: tuple[Columns, ...]) -> tuple[str, ...]:
    notes = []
    if "item_creator" not in columns:
        notes.append("The data has no creators: nothing is excluded or capped by creator.")
    if "item_content" not in columns:
        shared = "users" if "item_category" not in columns else "category"
        notes.append(f"The data has no content: similar items are those of the same {shared}.")
    if "item_category" not in columns:
        notes.append("The data has no categories: the category heuristic is not compared with.")
    lacking = [kind for kind in KINDS if kind not in interactions.kinds]
    if lacking:
        notes.append(f"The data has no feedback of the kinds {', '.join(lacking)}: there is no ranking head for them.")
    early = int((interactions.time < columns["item_time"][interactions.item]).sum())
    if early:
        notes.append(f"{early} interactions are earlier than the upload of their item.")
    for file in files:
        notes.extend(_unused(file))
    return tuple(notes)


def _unused(file: Columns) -> list[str]:
    known = ("user_id", "item_id", "upload_time", "time", "creator_id", "category", "content", *KINDS)
    prefixes = (schema.FEATURE_PREFIX, schema.CAPACITY_PREFIX, schema.CONTEXT_PREFIX)
    unused = [name for name in file.table.column_names if name not in known and not name.startswith(prefixes)]
    return [f"{file.path.name}: not part of the schema and not used: {', '.join(unused)}."] if unused else []
