"""A Stack Exchange site: questions are items, answers, comments, favourites and bounties are feedback on them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..columns import Columns
from ..interactions import Interactions
from ..tables import DAY_MS, Tables
from ..vocabulary import Vocabulary

KIND_OF_EVENT = {
    "answer": "comment",
    "comment": "comment",
    "comment_on_answer": "comment",
    "favourite": "bookmark",
    "bounty_start": "share",
}
_NOTES = (
    "Stack Exchange here has no views and no votes: answers and comments count as comment, favourites as bookmark, "
    "bounties, which spread a question, as share.",
    "The content of a question is its tags as a unit vector, its category the first tag.",
)


def read(path: Path) -> Tables:
    """Tables of items.parquet and interactions.parquet in the folder ``path``; days begin at midnight UTC."""
    questions = Columns.read(path / "items.parquet", ["item_id", "creator_id", "created_at", "tags"], ["item_id"])
    items = Vocabulary(questions.ids("item_id"), "item")
    order = np.argsort(questions.ids("item_id"), kind="stable")
    log = Columns.read(path / "interactions.parquet", ["user_id", "item_id", "event", "time"], ["user_id", "item_id"])
    item_time = questions.times("created_at")[order]
    users, interactions, moved = _interactions(log, items, item_time)
    creators = Vocabulary(questions.ids("creator_id"), "creator")
    content, category, tags = _tags(questions)
    return Tables(
        name="stackexchange",
        users=users,
        items=items,
        item_time=item_time,
        interactions=interactions,
        day_start=int(item_time.min()) // DAY_MS * DAY_MS,
        item_creator=creators.rows(questions.ids("creator_id"))[order],
        creators=creators,
        item_category=category[order],
        categories=tags,
        item_content=content[order],
        notes=(*_NOTES, f"{moved} favourites, which have a date only, were moved to the time of their question."),
    )


def _interactions(log: Columns, items: Vocabulary, item_time: np.ndarray) -> tuple[Vocabulary, Interactions, int]:
    """Users, interactions in order, and how many favourites were dated earlier than their question."""
    users = Vocabulary(log.ids("user_id"), "user")
    item, time, event = items.rows(log.ids("item_id")), log.times("time"), log.labels("event", KIND_OF_EVENT)
    early = (event == "favourite") & (time < item_time[item])
    kind = np.array([KIND_OF_EVENT[name] for name in event])
    interactions = Interactions(
        user=users.rows(log.ids("user_id")),
        item=item,
        time=np.where(early, item_time[item], time),
        kinds={name: kind == name for name in dict.fromkeys(KIND_OF_EVENT.values())},
    )
    return users, interactions.in_order(), int(early.sum())


def _tags(questions: Columns) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """float32[items, tags] unit rows, int32[items] the first tag of each, and the tags; written ``<one><two>``."""
    stripped = pc.utf8_trim(questions.table["tags"], "<>")
    lists = pc.split_pattern(stripped, "><").combine_chunks()
    codes, tags = Columns(questions.path, pa.table({"tag": pc.list_flatten(lists)})).codes("tag")
    counts = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    content = np.zeros((len(questions), len(tags)), np.float32)
    content[np.repeat(np.arange(len(questions)), counts), codes] = 1.0
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    norm = np.maximum(np.linalg.norm(content, axis=1, keepdims=True), 1e-9)
    return content / norm, codes[first], tags
