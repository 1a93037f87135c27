"""Files of an A/B test: ids to assign, the assignment, and logs of exposures and items, every value checked."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from .ab_assign import Assignment, Design
from .ab_log import ExposureLog, exposure_log, rows_of
from .ab_split import checked_shares
from .columns import Columns
from .errors import InputError
from .parquet import read_schema, write_parquet
from .schema import DAY_START_KEY
from .tables import DAY_MS

KEY = "dualrec.ab"  # metadata of an assignment: JSON of its design, shares, user_shares, seed, together
OUTSIDE_NAME = "outside"
_CURE = "give it an arm with dualrec ab assign --earlier"


def read_ids(path: Path, column: str, numbers: Sequence[str] = ()) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The distinct ids of a column in order, nulls left out, and for each the sums of the columns ``numbers`` over its rows.

    "rows" is the number of its rows, where the file has no column of that name. Raises InputError.
    """
    have = _names(path)
    wanted = [column, *(name for name in numbers if name != "rows" or "rows" in have)]
    file = Columns.read(path, list(dict.fromkeys(wanted)))
    ids, known = file.known_ids(column)
    if not len(ids):
        raise file.input_error(column, None, "nulls only", "ids", "give the ids")
    distinct, place = np.unique(ids, return_inverse=True)
    sums = {}
    for name in numbers:
        values = np.ones(len(file)) if not file.has(name) else _numbers(file, name)
        sums[name] = np.bincount(place, values[known], minlength=len(distinct))
    return distinct, sums


def write_assignment(path: Path, assignment: Assignment) -> None:
    """Columns creator_id, user_id (one of them null in each row) and arm, whole or not at all. Raises OSError."""
    creators, users = (pa.array(ids) for ids in (assignment.creators, assignment.users))
    arm = np.concatenate([assignment.creator_arm, assignment.user_arm])
    about = {
        "design": str(assignment.design),
        "shares": list(assignment.shares.items()),
        "user_shares": assignment.user_shares,
        "seed": assignment.seed,
        "together": assignment.together,
    }
    columns = {
        "creator_id": pa.concat_arrays([creators, pa.nulls(len(users), creators.type)]),
        "user_id": pa.concat_arrays([pa.nulls(len(creators), users.type), users]),
        "arm": pa.array([*assignment.arms, OUTSIDE_NAME]).take(
            pa.array(arm.astype(np.int64) % (len(assignment.arms) + 1))
        ),
    }
    write_parquet(path, columns, {KEY: json.dumps(about)})


def read_assignment(path: Path) -> Assignment:
    """What `write_assignment` wrote. Raises InputError for a file that is none, or not whole."""
    _names(path)
    file = Columns.read(path, ("creator_id", "user_id", "arm"))
    try:
        about = json.loads(file.metadata[KEY])
        shares = checked_shares(dict(about["shares"]))
        user_shares = tuple(float(share) for share in about["user_shares"])
        design, seed, together = Design(about["design"]), int(about["seed"]), bool(about["together"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: its metadata {KEY!r} are missing or damaged; write it with dualrec ab assign"
        ) from error
    names = [*shares, OUTSIDE_NAME]
    place = {name: number for number, name in enumerate(shares)} | {OUTSIDE_NAME: -1}
    labels, code = np.unique(file.labels("arm", names), return_inverse=True)
    arm = np.array([place[label] for label in labels.tolist()], np.int8)[code]
    (creators, is_creator), (users, is_user) = (file.known_ids(name) for name in ("creator_id", "user_id"))
    for name, ids in (("creator_id", creators), ("user_id", users)):
        if len(np.unique(ids)) < len(ids):
            raise file.input_error(name, None, "an id twice", "each id once", "write the file with dualrec ab assign")
    return Assignment(design, shares, user_shares, seed, together, creators, users, arm[is_creator], arm[is_user])


def read_log(exposures: Path, items: Path, assignment: Assignment) -> ExposureLog:
    """The log of two Parquet files in rows of the assignment.

    ``exposures``: user_id, item_id, and day (integers) or time. ``items``: item_id, creator_id (null: unknown), and
    upload_day or upload_time. Times are as in `schema`; day 0 begins at dualrec.day_start_ms of the exposures' metadata, or
    at the first exposure's midnight UTC. Raises InputError for ids without an arm and files that name days in two ways.
    """
    shown, given = (
        _open(exposures, ("user_id", "item_id"), "time", "day"),
        _open(items, ("item_id", "creator_id"), "upload_time", "upload_day"),
    )
    if shown.has("day") != given.has("upload_day"):
        raise InputError(f"{exposures}, {items}: a day in one file and a time in the other, expected the same in both")
    start = None if shown.has("day") else _day_start(shown)
    creators, known = given.known_ids("creator_id")
    creator = np.full(len(given), -1, np.int64)
    try:
        creator[known] = rows_of(assignment.creators, creators, "creator")
    except InputError as error:
        raise InputError(f"{items}: {error}; {_CURE}") from None
    what = shown.ids("user_id"), shown.ids("item_id"), _days(shown, "time", "day", start)
    try:
        return exposure_log(
            assignment, what, (given.ids("item_id"), creator, _days(given, "upload_time", "upload_day", start))
        )
    except InputError as error:
        raise InputError(f"{exposures}, {items}: {error}; add items to the second, and users: {_CURE}") from None


def _open(path: Path, ids: tuple[str, str], time: str, day: str) -> Columns:
    names = _names(path)
    return Columns.read(path, [*ids, day if day in names else time], keys=ids)


def _names(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a Parquet file")
    return list(read_schema(path).names)


def _days(file: Columns, time: str, day: str, start: int | None) -> np.ndarray:
    return file.integers(day) if start is None else (file.times(time) - start) // DAY_MS


def _day_start(shown: Columns) -> int:
    given = shown.metadata.get(DAY_START_KEY)
    if given is None:
        return int(shown.times("time").min()) // DAY_MS * DAY_MS
    if not given.isdecimal():
        raise InputError(f"{shown.path}: metadata key {DAY_START_KEY!r} is {given!r}, expected ms since 1970 UTC")
    return int(given)


def _numbers(file: Columns, name: str) -> np.ndarray:
    column = file.table[name]
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise file.input_error(name, None, f"type {column.type}", "numbers", "convert the column")
    values = np.asarray(column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy())
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise file.input_error(name, row, f"{values[row]}", "a finite number", "give the number or remove the row")
    return values
