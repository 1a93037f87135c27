"""Reads the folder `serving` of a published run, without the data that it was made from; runs no code from the files."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from ..models.heads import Head
from ..models.item_lookups import ItemLookups
from ..models.pair_scores import PairScorer
from ..models.traits import category_codes
from .artifacts import load_array, load_json
from .errors import InputError
from .item_scorer import ItemScorer, Rate
from .new_item_heads import NewItemHeads
from .serving_names import ABOUT_FILE, CREATORS, OF_ITEMS, OF_USERS, SERVING, TREES_FILE
from .tower_store import load_heads, load_towers


def load_item_scorer(run_dir: Path, user_ids: np.ndarray) -> ItemScorer:
    """Of a run, whose checksums were verified; ``user_ids`` are those of its prices.

    Raises InputError when the run has no such folder or it cannot be used.
    """
    folder = run_dir / SERVING
    if not folder.is_dir():
        raise InputError(f"{run_dir} holds nothing to score new items with; run the night again with this version")
    about = load_json(folder / ABOUT_FILE)
    try:
        before_tastes = _schema(about) == 1
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder} is not a folder to score new items with: {error}") from None
    names = [name for name in (*OF_USERS, *OF_ITEMS, CREATORS) if not (before_tastes and name == "user_taste")]
    arrays = {name: np.array(load_array(folder / f"{name}.npy")) for name in names}
    if before_tastes:
        arrays["user_taste"] = np.zeros((len(arrays["user_vector"]), 0), np.float32)
    try:
        rate = _rate(folder, about["rate"])
        names = about["categories"]
        return ItemScorer(
            towers=load_towers(folder),
            network=_network(folder, about, len(about["heads"])),
            rate=rate,
            lookups=ItemLookups(**{name: arrays[name] for name in OF_ITEMS}),
            users=_users(arrays, about),
            categories=None if names is None else {name: code for code, name in enumerate(names)},
            creators=arrays[CREATORS],
            author=_authors(arrays[CREATORS], user_ids, about["authors_are_users"]),
            content=int(about["content"]),
        )
    except (KeyError, TypeError, ValueError, xgboost.core.XGBoostError) as error:
        raise InputError(f"{folder} is not a folder to score new items with: {error}") from None


def _schema(about: dict[str, Any]) -> int:
    """1: a version without the heads' network, 2: this one. Raises ValueError for another."""
    if about["schema"] not in {1, 2}:
        raise ValueError(f"schema {about['schema']}, expected 1 or 2")
    return int(about["schema"])


def _network(folder: Path, about: dict[str, Any], heads: int) -> NewItemHeads | None:
    """The heads' network for new items; None where the night's heads were smoothed rates."""
    learnt = about.get("learnt")
    if learnt is None:
        return None
    kinds, network = [head["kind"] for head in about["heads"]], load_heads(folder)
    # Traits are the content, codes of the categories, or none: so too where each item is its own category.
    traits = network.shape.item - len(learnt) - 1
    codes = category_codes(len(about["categories"])) if traits > about["content"] else None
    return NewItemHeads(network, [kinds.index(kind) for kind in learnt], heads, codes)


def _users(arrays: dict[str, np.ndarray], about: dict[str, Any]) -> PairScorer:
    """A scorer of the users that has no items yet."""
    heads = tuple(Head(**head) for head in about["heads"])
    none = np.zeros((0, arrays["user_vector"].shape[1]), np.float32)
    return PairScorer(
        **{name: arrays[name] for name in OF_USERS},
        item_vector=none,
        item_logit=none[:, 0],
        item_rate=np.zeros((0, len(heads)), np.float32),
        item_taste=np.zeros((0, arrays["user_taste"].shape[1]), np.float32),
        heads=heads,
        beta=np.array(about["beta"]),
        interaction_exponent=float(about.get("interaction_exponent", 1.0)),
        excluded=np.zeros(0, np.int64),
    )


def _rate(folder: Path, about: dict[str, Any]) -> Rate:
    raw = (folder / TREES_FILE).read_bytes()
    if sha256(raw).hexdigest() != about["trees_sha256"]:
        raise ValueError(f"{TREES_FILE} is damaged, its checksum is another")
    trees = xgboost.Booster({"nthread": 1})
    trees.load_model(bytearray(raw))
    return Rate(trees, float(about["factor"]), float(about["mean_log_share"]), float(about["exponent"]))


def _authors(creators: np.ndarray, user_ids: np.ndarray, known: bool) -> np.ndarray:
    """int64[creators]: the place of each creator among the users, -1 for those who are none."""
    if not known or not len(user_ids) or creators.dtype.kind != user_ids.dtype.kind:
        return np.full(len(creators), -1, np.int64)
    order = np.argsort(user_ids, kind="stable")
    place = np.minimum(np.searchsorted(user_ids[order], creators), len(user_ids) - 1)
    return np.where(user_ids[order][place] == creators, order[place], -1)
