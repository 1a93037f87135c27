"""Stage `retrieval`: the towers, the user index, and the candidates of two-tower and i2i2u."""

import numpy as np
import torch

from ..models.similar_items import similar_item_users
from ..models.tower_inputs import item_inputs, user_inputs
from ..models.tower_training import shape_record, train_towers
from ..models.towers import Towers, all_items, all_users
from ..models.training_days import TrainingDay, training_day
from ..models.user_index import build_user_index, nearest_users
from .artifacts import load_array, save_arrays, save_json
from .errors import InputError
from .night_view import NightView, load_view
from .sources import I2I2U, TWO_TOWER
from .stage import StageContext
from .tower_store import save_towers


def run(context: StageContext) -> None:
    """Write the vectors of known users and new items, and both retrievals' candidates as CSR over known users.

    Files: `users` int64 rows of the known users, `items` int64 rows of the new items in upload order, `user_vector`,
    `user_bias`, `item_vector`, `touched`, `extra_indptr`, `extra_user` (places in `users`), `extra_code`, the weights.
    """
    torch.set_num_threads(1)
    view = load_view(context.input("tables"))
    towers, losses = _train(context, view)
    options, past = context.config.retrieval, view.past
    users = user_inputs(past, view.day, context.config.towers.history_days, view.tables.user_features)
    items = item_inputs(past, view.day, view.new_items, users.history)
    rows = np.flatnonzero(load_array(context.input("activity") / "known.npy"))
    vector, bias = all_users(towers, users, rows)
    item_vector = all_items(towers, items)
    p_active = load_array(context.input("activity") / "p_active.npy")[rows]
    task = context.progress.task("two-tower index", len(items.rows))
    index = build_user_index(vector, bias + np.log(np.maximum(p_active, 1e-6)))
    count = min(options.two_tower, len(rows))
    near = nearest_users(index, item_vector, count, context.threads, task.advance)
    similar, how = similar_item_users(past, view.day, items, options.i2i2u)
    indptr, user, code = _joined([(near, TWO_TOWER), (_places(similar, rows, view.log.users), I2I2U)])
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
    save_json(context.out / "retrieval.json", {"losses": losses, "similar_by": how, "shape": shape_record(towers)})
    save_towers(context.out, towers)


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
