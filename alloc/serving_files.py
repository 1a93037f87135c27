"""Reads the folder `serving` of a published run, without the data that it was made from; runs no code from the files."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from ..models.heads import Head
from ..models.item_lookups import ItemLookups
from ..models.pair_scores import PairScorer
from .artifacts import load_array, load_json
from .errors import InputError
from .item_scorer import ItemScorer, Rate
from .serving_names import ABOUT_FILE, CREATORS, OF_ITEMS, OF_USERS, SERVING, TREES_FILE
from .tower_store import load_towers


def load_item_scorer(run_dir: Path, user_ids: np.ndarray) -> ItemScorer:
    """Of a run, whose checksums were verified; ``user_ids`` are those of its prices.

    Raises InputError when the run has no such folder or it cannot be used.
    """
    folder = run_dir / SERVING
    if not folder.is_dir():
        raise InputError(f"{run_dir} holds nothing to score new items with; run the night again with this version")
    about = load_json(folder / ABOUT_FILE)
    arrays = {name: np.array(load_array(folder / f"{name}.npy")) for name in (*OF_USERS, *OF_ITEMS, CREATORS)}
    try:
        if about["schema"] != 1:
            raise ValueError(f"schema {about['schema']}, expected 1")
        rate = _rate(folder, about["rate"])
        names = about["categories"]
        return ItemScorer(
            towers=load_towers(folder),
            rate=rate,
            lookups=ItemLookups(**{name: arrays[name] for name in OF_ITEMS}),
            users=_users(arrays, tuple(Head(**head) for head in about["heads"]), np.array(about["beta"])),
            categories=None if names is None else {name: code for code, name in enumerate(names)},
            creators=arrays[CREATORS],
            author=_authors(arrays[CREATORS], user_ids, about["authors_are_users"]),
            content=int(about["content"]),
        )
    except (KeyError, TypeError, ValueError, xgboost.core.XGBoostError) as error:
        raise InputError(f"{folder} is not a folder to score new items with: {error}") from None


def _users(arrays: dict[str, np.ndarray], heads: tuple[Head, ...], beta: np.ndarray) -> PairScorer:
    """A scorer of the users that has no items yet."""
    none = np.zeros((0, arrays["user_vector"].shape[1]), np.float32)
    return PairScorer(
        **{name: arrays[name] for name in OF_USERS},
        item_vector=none,
        item_logit=none[:, 0],
        item_rate=np.zeros((0, len(heads)), np.float32),
        heads=heads,
        beta=beta,
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
