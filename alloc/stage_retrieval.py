"""Stage `retrieval`: the towers, the user index, and the candidates of two-tower, i2i2u and i2u2u."""

import numpy as np
import torch

from ..models.retrievals import Retrievals
from ..models.similarity import interactions
from ..models.similarity_choice import similar_items, similar_users
from ..models.sparse_top import ranked
from ..models.tower_inputs import ItemInputs, UserInputs, item_inputs, user_inputs
from ..models.tower_training import shape_record, train_towers
from ..models.towers import Towers, all_items, all_users
from ..models.training_days import TrainingDay, training_day
from ..models.user_index import build_user_index, nearest_users
from .activity_cut import activity_factor
from .artifacts import load_array, save_arrays, save_json
from .errors import InputError
from .night_view import NightView, load_view
from .sources import I2I2U, I2U2U, TWO_TOWER
from .stage import StageContext
from .tower_store import save_towers, vocabulary_sha256


def run(context: StageContext) -> None:
    """Write the vectors of known users and new items, and both retrievals' candidates as CSR over known users.

    Files: `users` int64 rows of the known users, `items` int64 rows of the new items in upload order, `user_vector`,
    `user_bias`, `item_vector`, `touched`, `extra_indptr`, `extra_user` (places in `users`), `extra_code`, the weights.
    """
    torch.set_num_threads(1)
    view = load_view(context.input("tables"))
    towers, losses = _train(context, view)
    past = view.past
    users = user_inputs(past, view.day, context.config.towers.history_days, view.tables.user_features)
    items = item_inputs(past, view.day, view.new_items, users.history, similar=context.config.towers.ef)
    rows = np.flatnonzero(load_array(context.input("activity") / "known.npy"))
    vector, bias = all_users(towers, users, rows)
    item_vector = all_items(towers, items)
    p_active = load_array(context.input("activity") / "p_active.npy")[rows]
    factor = activity_factor(p_active, context.config.activity)
    near = _near(context, (vector, bias + np.log(np.maximum(factor, 1e-6))), factor > 0, item_vector)
    similar, how = _similar(context, view, users, items, rows[factor > 0])
    indptr, user, code = _joined([(near, TWO_TOWER), *((_places(found, rows, past.users), c) for found, c in similar)])
    save_arrays(
        context.out,
        users=rows,
        items=items.rows,
        user_vector=vector,
        user_bias=bias,
        item_vector=item_vector,
        touched=items.touched,
        extra_indptr=indptr,
        extra_user=user,
        extra_code=code,
    )
    save_json(context.out / "retrieval.json", {"losses": losses, **how, "shape": shape_record(towers)})
    save_towers(context.out, towers, context.config.towers, vocabulary_sha256(view.tables))


def _near(
    context: StageContext, users: tuple[np.ndarray, np.ndarray], available: np.ndarray, items: np.ndarray
) -> np.ndarray:
    """int64[items, two_tower]: places of the best available users by the towers, padded with -1."""
    task = context.progress.task("two-tower index", len(items))
    places = np.flatnonzero(available)
    index = build_user_index(users[0][places], users[1][places])
    count = min(context.config.retrieval.two_tower, len(places))
    return np.append(places, -1)[nearest_users(index, items, count, context.threads, task.advance)]


def _similar(
    context: StageContext, view: NightView, users: UserInputs, items: ItemInputs, rows: np.ndarray
) -> tuple[list[tuple[np.ndarray, int]], dict[str, str]]:
    """User rows among ``rows`` by i2i2u and i2u2u, best first, padded with -1, with their codes; and by what."""
    options, past = context.config.retrieval, view.past
    liked = interactions(past, view.day)
    item_lists = similar_items(options.similarity, past, liked, users.history, context.threads)
    user_lists = similar_users(options.user_similarity, past, liked, context.threads)
    retrievals = Retrievals(liked, item_lists, user_lists, context.threads)
    available = np.zeros(past.users, bool)
    available[rows] = True
    searches = (
        ("i2i2u", I2I2U, retrievals.i2i2u, options.i2i2u),
        ("i2u2u", I2U2U, retrievals.i2u2u, options.i2u2u),
    )
    found = []
    for name, code, search, count in searches:
        task = context.progress.task(name, 1)
        # A source of quota 0 is not asked at all.
        lists = search(items.rows if count else items.rows[:0], count, available)
        found.append((ranked(lists, count) if count else np.zeros((len(items.rows), 0), np.int64), code))
        task.advance(1)
    return found, {"similar_by": item_lists.service.how, "similar_users_by": user_lists.service.how}


def training_days(context: StageContext, view: NightView) -> list[TrainingDay]:
    """The past days that the towers learn from: those whose whole target window lies before the end of the night's day."""
    options = context.config.towers
    last = view.day - options.target_days
    days = list(range(max(view.tables.first_day, last - options.train_days + 1), last + 1))
    days = [day for day in days if len(view.log.new_items(day))]
    task = context.progress.task("training days", len(days))
    # Nothing after the night's day, and nothing that the regime hides, is learnt from.
    made, known = [], view.past
    for day in days:
        made.append(training_day(known, day, options, view.strict_cold, view.tables.user_features))
        task.advance(1)
    return made


def _train(context: StageContext, view: NightView) -> tuple[Towers, list[float]]:
    days = training_days(context, view)
    task = context.progress.task("training", 1.0)
    try:
        return train_towers(days, context.config.towers, context.config.seed, task.advance, items=view.log.items)
    except ValueError as error:
        raise InputError(f"retrieval: {error}; more towers.train_days or another --day may help") from None


def _places(users: np.ndarray, rows: np.ndarray, total: int) -> np.ndarray:
    """User rows as places in ``rows``, -1 for those that are not there."""
    place = np.full(total + 1, -1, np.int64)
    place[rows] = np.arange(len(rows))
    return place[users]


def _joined(parts: list[tuple[np.ndarray, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CSR of padded lists side by side, padding (-1) dropped: indptr int64, user int32, code int8."""
    user = np.concatenate([users for users, _ in parts], 1)
    code = np.concatenate([np.full(users.shape, code, np.int8) for users, code in parts], 1)
    there = user >= 0
    indptr = np.concatenate([[0], np.cumsum(there.sum(1))]).astype(np.int64)
    return indptr, user[there].astype(np.int32), code[there]
