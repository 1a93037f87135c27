"""KuaiRand pieces (Gao et al. 2022): liked and hated videos, and tables of users and videos."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..columns import Columns
from ..interactions import Interactions
from ..tables import Tables
from ..vocabulary import Vocabulary

LOG_FILE, USER_FILE, VIDEO_FILE = (
    "like_hate_27k_excerpt.parquet",
    "user_features_pure.parquet",
    "video_features_basic_pure.parquet",
)
DAY_START_MS = 1_649_260_800_000  # 2022-04-07 00:00 in Beijing (UTC+8), the day of the first row
_LOCAL_MS = 8 * 3_600_000
_KINDS = {
    "click": "is_click",
    "effective_view": "long_view",
    "comment": "is_comment",
    "follow": "is_follow",
    "share": "is_forward",
    "profile_visit": "is_profile_enter",
}
_FEATURES = (
    "user_active_degree",
    "is_live_streamer",
    "is_video_author",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
    *(f"onehot_feat{number}" for number in range(18)),
)
_NOTES = (
    "KuaiRand rows were chosen because the user liked or hated the video: rates and like against skip mean nothing.",
    "KuaiRand has no content embedding.",
    "Skip is a dislike (hate) here.",
)


def read(path: Path) -> Tables:
    """Tables of the folder ``path`` with the three files; local days begin at midnight in Beijing."""
    keys = ("user_id", "video_id")
    log = Columns.read(path / LOG_FILE, [*keys, "time_ms", "label", *_KINDS.values()], keys)
    users, items = Vocabulary(log.ids("user_id"), "user"), Vocabulary(log.ids("video_id"), "item")
    every = _interactions(log, users, items)
    interactions = every.without_repeats()
    repeats = len(every) - len(interactions)
    features = _user_features(path / USER_FILE, users)
    columns, described = _item_columns(path / VIDEO_FILE, items, interactions)
    return Tables(
        name="kuairand",
        users=users,
        items=items,
        interactions=interactions,
        day_start=DAY_START_MS,
        user_features=features,
        notes=(
            *_NOTES,
            f"{described} of {len(items)} videos have a creator, an upload date and tags; the others count as "
            f"uploaded at their first row. The category is the first tag.",
            f"{repeats} rows that repeat another in user, video, time and feedback are left out.",
        ),
        **columns,
    )


def _interactions(log: Columns, users: Vocabulary, items: Vocabulary) -> Interactions:
    liked = log.flags("label", allow_integers=True)
    kinds = {kind: log.flags(column, allow_integers=True) for kind, column in _KINDS.items()}
    return Interactions(
        user=users.rows(log.ids("user_id")),
        item=items.rows(log.ids("video_id")),
        time=log.times("time_ms"),
        kinds=kinds | {"like": liked, "skip": ~liked},
    ).in_order()


def _user_features(path: Path, users: Vocabulary) -> dict[str, np.ndarray]:
    """Codes of the users of the log; -1 for those that the table of users lacks."""
    rows = Columns.read(path, ["user_id", *_FEATURES], ["user_id"])
    row = _rows_of(rows.ids("user_id"), users.ids)
    return {name: np.append(rows.codes(name)[0], np.int32(-1))[row] for name in _FEATURES}


def _item_columns(path: Path, items: Vocabulary, interactions: Interactions) -> tuple[dict[str, Any], int]:
    """Upload time, creator and category of the videos of the log, and how many of them the table of videos has."""
    rows = Columns.read(path, ["video_id", "author_id", "upload_dt", "tag"], ["video_id"])
    row = _rows_of(rows.ids("video_id"), items.ids)
    known = row >= 0
    creators = Vocabulary(rows.ids("author_id")[row[known]], "creator")
    creator = np.full(len(items), -1, np.int32)
    creator[known] = creators.rows(rows.ids("author_id")[row[known]])
    tag, tags = _first_tags(rows)
    time = interactions.first_times(len(items))
    # The date alone is known; a video first seen on that day counts as uploaded at the day's begin.
    time[known] = np.minimum(time[known], _upload_times(rows)[row[known]])
    return {
        "item_time": time,
        "creators": creators,
        "item_creator": creator,
        "item_category": np.append(tag, np.int32(-1))[row],
        "categories": tags,
    }, int(known.sum())


def _upload_times(rows: Columns) -> np.ndarray:
    """int64[videos]: midnight in Beijing of the upload date, ms since 1970 UTC."""
    dates = pc.strptime(rows.table["upload_dt"], format="%Y-%m-%d", unit="ms", error_is_null=True)
    days = Columns(rows.path, rows.table.set_column(2, "upload_dt", dates), rows.keys)
    return days.times("upload_dt") - _LOCAL_MS


def _first_tags(rows: Columns) -> tuple[np.ndarray, tuple[str, ...]]:
    """int32[videos] codes of the first of each video's comma-separated tags, and the tags."""
    first = pc.list_element(pc.split_pattern(rows.table["tag"], ",", max_splits=1), 0)
    codes, tags = Columns(rows.path, pa.table({"tag": first})).codes("tag")
    return codes, tuple(f"tag {tag}" for tag in tags)


def _rows_of(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """int64[wanted]: the first row of ``ids`` with each wanted id, -1 where there is none."""
    distinct, first = np.unique(ids, return_index=True)
    place = Vocabulary(distinct).rows(wanted, missing=-1)
    return np.where(place < 0, -1, first[place])
