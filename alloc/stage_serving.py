"""Stage `serving`: all that scores an item which comes after the night against every user of the night."""

import numpy as np
import torch

from ..models.item_lookups import ItemLookups, item_lookups
from ..models.item_rate import outcomes
from .artifacts import copy_file, load_array, load_json, save_arrays, save_json
from .authors import author_rows
from .night_view import NightView, load_view
from .serving_names import ABOUT_FILE, CREATORS, HEADS_FILE, OF_ITEMS, OF_USERS, SERVING, TOWERS_FILE, TREES_FILE
from .stage import StageContext
from .stage_ranking import RATE_FILE, RATE_TREES
from .tower_store import FILE, load_towers, vocabulary_sha256

SCHEMA = 2


def run(context: StageContext) -> None:
    """Write the folder `serving`: towers, the heads' network, trees of the item's rate, what is known of the users, lookups,
    `serving.json`."""
    torch.set_num_threads(1)
    view = load_view(context.input("tables"))
    retrieval, ranking, out = context.input("retrieval"), context.input("ranking"), context.out / SERVING
    out.mkdir()
    copy_file(retrieval / FILE, out / TOWERS_FILE)
    copy_file(ranking / RATE_TREES, out / TREES_FILE)
    for name in OF_USERS:
        source = retrieval if name in {"user_vector", "user_bias"} else ranking
        copy_file(source / f"{name}.npy", out / f"{name}.npy")
    if (ranking / HEADS_FILE).exists():
        copy_file(ranking / HEADS_FILE, out / HEADS_FILE)
    lookups = _lookups(context, view)
    creators = view.tables.creators
    ids = np.zeros(0, np.int64) if view.tables.item_creator is None or creators is None else creators.ids
    save_arrays(out, **{name: getattr(lookups, name) for name in OF_ITEMS}, **{CREATORS: np.asarray(ids)})
    save_json(out / ABOUT_FILE, _about(context, view))


def _lookups(context: StageContext, view: NightView) -> ItemLookups:
    past = view.past
    known = np.array(load_array(context.input("ranking") / "group_rate.npy"))
    towers = load_towers(context.input("retrieval"), vocabulary_sha256(view.tables))
    days = context.config.towers.target_days
    return item_lookups(past, view.day, outcomes(past, days), days, view.tables.item_creator, towers, known)


def _about(context: StageContext, view: NightView) -> dict[str, object]:
    """What is no array: the heads with their weights, categories, width of the content, and how the rate is made."""
    ranking = load_json(context.input("ranking") / "ranking.json")
    rate = load_json(context.input("ranking") / RATE_FILE)
    tables = view.tables
    return {
        "schema": SCHEMA,
        "heads": ranking["heads"],
        "beta": ranking["beta"],
        "interaction_exponent": ranking["interaction_exponent"],
        "learnt": ranking["fit"].get("learnt"),
        "categories": None if tables.item_category is None else list(tables.categories),
        "content": int(view.log.content.shape[1]),
        "group": "category" if tables.item_creator is None else "creator",
        "authors_are_users": author_rows(tables) is not None,
        "rate": {**rate, "exponent": context.config.score.rate_exponent},
    }
