"""Globo.com news clicks (Moreira et al. 2018): one or more Parquet files of clicks with the original's columns."""

from pathlib import Path

import numpy as np

from ..columns import Columns
from ..interactions import Interactions
from ..tables import Tables
from ..vocabulary import Vocabulary

DAY_START_MS = 1_506_826_800_000  # 2017-10-01 03:00 UTC, midnight in Brasilia
_CONTEXT = {
    "environment": "click_environment",
    "device": "click_deviceGroup",
    "os": "click_os",
    "country": "click_country",
    "region": "click_region",
    "referrer": "click_referrer_type",
}
_KEYS = ("user_id", "click_article_id", "click_timestamp")
_NOTES = (
    "Globo has no creators: nothing is excluded or capped by creator.",
    "Globo has no content: the category is article_id // 1000, a coarse id-bin category.",
    "Globo has one feedback kind, the click: there is one ranking head.",
    "Globo has no upload times: an item counts as uploaded at its first click, which mis-dates items of days 0 to 2.",
    "Globo logs show what the old system exposed: recall against them is a lower bound.",
)


def read(path: Path) -> Tables:
    """Tables of the click files at ``path``; local days begin at 03:00 UTC, day 0 is 2017-10-01."""
    log = Columns.read_all(path, [*_KEYS, *_CONTEXT.values()], _KEYS)
    users = Vocabulary(log.ids("user_id"), "user")
    article = log.ids("click_article_id")
    items = Vocabulary(article, "item")
    interactions = Interactions(
        user=users.rows(log.ids("user_id")),
        item=items.rows(article),
        time=log.times("click_timestamp"),
        kinds={"click": np.ones(len(log), bool)},
        context={name: log.codes(column)[0] for name, column in _CONTEXT.items()},
    ).in_order()
    bins, category = np.unique(items.ids // 1000, return_inverse=True)
    return Tables(
        name="globo",
        users=users,
        items=items,
        item_time=interactions.first_times(len(items)),
        interactions=interactions,
        day_start=DAY_START_MS,
        item_category=category.astype(np.int32),
        categories=tuple(f"id-bin {number}" for number in bins),
        notes=_NOTES,
    )
