"""The scores of all pairs of a night, from the files of the stages `retrieval` and `ranking`."""

from pathlib import Path

import numpy as np

from ..models.exact_search import ExactSearch
from ..models.heads import Head
from ..models.pair_scores import PairScorer
from ..models.torch_threads import each_on_one_thread
from ..solvers.candidate_source import BLOCK_BYTES, RowSource
from .artifacts import load_array, load_json
from .authors import author_rows
from .night_view import NightView


def load_scorer(view: NightView, retrieval: Path, ranking: Path) -> PairScorer:
    """The scorer over the known users and the new items, in the order of `retrieval`'s `users` and `items`."""
    about = load_json(ranking / "ranking.json")
    users, items = load_array(retrieval / "users.npy"), load_array(retrieval / "items.npy")
    return PairScorer(
        user_vector=np.array(load_array(retrieval / "user_vector.npy")),
        user_bias=np.array(load_array(retrieval / "user_bias.npy")),
        item_vector=np.array(load_array(retrieval / "item_vector.npy")),
        item_logit=np.array(load_array(ranking / "item_logit.npy")),
        heads=tuple(Head(**head) for head in about["heads"]),
        beta=np.array(about["beta"]),
        user_rate=np.array(load_array(ranking / "user_rate.npy")),
        item_rate=np.array(load_array(ranking / "item_rate.npy")),
        user_taste=np.array(load_array(ranking / "user_taste.npy")),
        item_taste=np.array(load_array(ranking / "item_taste.npy")),
        factor=np.array(load_array(ranking / "factor.npy")),
        interaction_exponent=float(about["interaction_exponent"]),
        excluded=excluded_pairs(view, users, items),
    )


def excluded_pairs(view: NightView, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """int64 item place * users + user place, sorted: pairs already seen, as far as the regime knows, and authors."""
    user_place, item_place = np.full(view.log.users, -1, np.int64), np.full(view.log.items, -1, np.int64)
    user_place[users], item_place[items] = np.arange(len(users)), np.arange(len(items))
    past = view.past
    seen = np.flatnonzero(item_place[past.item] >= 0)
    item, user = item_place[past.item[seen]], user_place[past.user[seen]]
    author = author_rows(view.tables)
    if author is not None and view.tables.item_creator is not None:
        creator = view.tables.item_creator[items]
        of_item = np.where(creator >= 0, author[creator], -1)
        known = np.flatnonzero(of_item >= 0)
        item, user = np.append(item, known), np.append(user, user_place[of_item[known]])
    there = user >= 0
    return np.unique(item[there] * len(users) + user[there])


ROWS = 64
"""Items of a block of scores, at most; a power of two, as every block: searches that ask for 1,024 items or fewer of a list
then meet the same blocks, whoever computes them."""


def block_items(users: int) -> int:
    """Items of a block of score rows: as many as fit BLOCK_BYTES, a power of two, 1 to ROWS."""
    return 1 << max(0, min(ROWS, BLOCK_BYTES // (4 * max(users, 1))).bit_length() - 1)


def row_source(scorer: PairScorer, threads: int) -> RowSource:
    """The scorer as a source of candidates: exact, over all pairs. Matrix products run on one thread a block."""
    block = block_items(scorer.users)
    return RowSource(each_on_one_thread(scorer.rows), scorer.items, scorer.users, block_items=block, threads=threads)


def tile_search(scorer: PairScorer, device: str) -> ExactSearch:
    """The same source by tiles on a device that is there, see `settle_device`."""
    return ExactSearch(
        lambda items, first, last: scorer.tile(items, first, last, device), scorer.items, scorer.users, device=device
    )
