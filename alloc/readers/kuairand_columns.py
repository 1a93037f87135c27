"""What KuaiRand's files tell the rankers beyond the tables: durations, numbers of users, what was measured in a row."""

from pathlib import Path

import numpy as np

from ...models.cross_features import FeatureSources
from ...models.log import Log
from ..columns import Columns
from ..tables import Tables
from .kuairand import LOG_FILE, USER_FILE

_MEASURED = ("play_time_ms", "duration_ms", "comment_stay_time")
_USER_NUMBERS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
_LONGEST_RATIO = 3.0


def feature_sources(path: Path, tables: Tables, log: Log) -> FeatureSources:
    """Of the tables that were read from the folder ``path``. Raises InputError for missing columns.

    A video's duration (0 for a picture) is known when it is uploaded; watch time and stay in the comments only after the
    row. The users' numbers are a snapshot of a date that KuaiRand does not give. Its file of video statistics is not
    read: it counts over the whole month, the test days too.
    """
    keys = ("user_id", "video_id")
    rows = Columns.read(path / LOG_FILE, [*keys, "time_ms", *_MEASURED], keys)
    order = _order(rows, tables)
    play, duration, stay = (rows.integers(name)[order] / 1000 for name in _MEASURED)
    of_item = np.full(len(tables.items), np.nan, np.float32)
    of_item[log.item] = duration
    ratio = np.minimum(play / np.where(duration > 0, duration, np.nan), _LONGEST_RATIO)
    return FeatureSources(
        log=log,
        creator=tables.item_creator,
        item_numbers={"duration": of_item},
        crossed=("duration",),
        user_numbers=_user_numbers(path / USER_FILE, tables),
        user_codes=tables.user_features,
        measured={"watch time": np.log1p(play), "watch ratio": ratio, "stay in comments": np.log1p(stay)},
    )


def _order(rows: Columns, tables: Tables) -> np.ndarray:
    """int64[interactions]: the row of the file of each interaction, the first one where it was repeated."""
    user, item = tables.users.rows(rows.ids("user_id")), tables.items.rows(rows.ids("video_id"))
    time = rows.times("time_ms")
    order = np.lexsort((item, user, time))
    log = tables.interactions
    same = np.ones(len(order), bool)
    for key in (time, user, item):
        same[1:] &= key[order[1:]] == key[order[:-1]]
    same[:1] = False
    order = order[~same]
    if len(order) == len(log):
        return order
    # Rows that agree in all three but not in feedback are kept apart in the tables.
    place = np.cumsum(np.r_[False, np.any([np.diff(key) != 0 for key in (log.time, log.user, log.item)], axis=0)])
    return order[place]


def _user_numbers(path: Path, tables: Tables) -> dict[str, np.ndarray]:
    """float32[users] by name, NaN for users that the file lacks."""
    rows = Columns.read(path, ["user_id", *_USER_NUMBERS], ["user_id"])
    place = tables.users.rows(rows.ids("user_id"), missing=-1)
    known = place >= 0
    numbers = {}
    for name in _USER_NUMBERS:
        values = np.full(len(tables.users), np.nan, np.float32)
        values[place[known]] = rows.integers(name)[known]
        numbers[name.replace("_", " ")] = values
    return numbers
