"""Stage `retrieval`: the towers, the user index, and the candidates of two-tower, i2i2u and i2u2u."""

import numpy as np
import torch

from ..models.similarity import interactions
from ..models.similarity_choice import similar_items, similar_users
from ..models.tower_inputs import ItemInputs, UserInputs, item_inputs, user_inputs
from ..models.tower_training import shape_record, train_towers
from ..models.towers import Towers
from ..models.training_days import TrainingDay
from ..models.user_index import build_user_index, nearest_users
from .activity_cut import activity_factor
from .artifacts import load_array, save_arrays, save_json
from .errors import InputError
from .night_view import NightView, load_view
from .partitions import given, ranges
from .retrieval_parts import (
    SIMILAR_ITEMS,
    Past,
    Similar,
    day_of,
    found_by,
    item_vectors,
    nearest_of,
    nearest_parts,
    user_vectors,
)
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
    asked, features = context.config.towers, view.tables.user_features
    users = user_inputs(past, view.day, asked.history_days, features, tastes=asked.tastes)
    items = item_inputs(past, view.day, view.new_items, users.history, similar=asked.ef, tastes=users.tastes)
    rows = np.flatnonzero(load_array(context.input("activity") / "known.npy"))
    vector, bias = user_vectors(context.engine, towers, users, rows)
    item_vector = item_vectors(context.engine, towers, items)
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
    count = min(context.config.retrieval.two_tower, len(places))
    vectors, engine = (users[0][places], users[1][places]), context.engine
    if engine.name == "local":
        found = nearest_users(build_user_index(*vectors), items, count, context.threads, task.advance)
        return np.append(places, -1)[found]
    parts = [np.zeros((0, count), np.int64)]
    for part in engine.run(nearest_of, nearest_parts(items, count), engine.share(build_user_index, *vectors)):
        parts.append(part)
        task.advance(len(part))
    return np.append(places, -1)[np.concatenate(parts)]


def _similar(
    context: StageContext, view: NightView, users: UserInputs, items: ItemInputs, rows: np.ndarray
) -> tuple[list[tuple[np.ndarray, int]], dict[str, str]]:
    """User rows among ``rows`` by i2i2u and i2u2u, best first, padded with -1, with their codes; and by what."""
    options, past = context.config.retrieval, view.past
    liked = interactions(past, view.day)
    item_lists = similar_items(options.similarity, past, liked, users.history, context.threads)
    user_lists = similar_users(options.user_similarity, past, liked, context.threads)
    available = np.zeros(past.users, bool)
    available[rows] = True
    of_items, of_users = ((lists.service, lists.count, lists.size) for lists in (item_lists, user_lists))
    similar = Similar(liked, of_items, of_users, available)
    found = []
    for name, code, count in (("i2i2u", I2I2U, options.i2i2u), ("i2u2u", I2U2U, options.i2u2u)):
        task = context.progress.task(name, 1)
        # A source of quota 0 is not asked at all.
        lists = _found_by(context, similar, name, items.rows, count) if count else np.zeros((len(items.rows), 0), int)
        found.append((lists, code))
        task.advance(1)
    return found, {"similar_by": item_lists.service.how, "similar_users_by": user_lists.service.how}


def _found_by(context: StageContext, similar: Similar, method: str, rows: np.ndarray, count: int) -> np.ndarray:
    """All items' users by a method; the lists do not depend on how items are grouped."""
    engine = context.engine
    if engine.name == "local":
        return found_by(similar, (method, rows, count), context.threads)
    parts = [(method, rows[low:high], count) for low, high in ranges(len(rows), SIMILAR_ITEMS)]
    return np.concatenate(list(engine.run(found_by, parts, engine.share(given, similar))))


def training_days(context: StageContext, view: NightView) -> list[TrainingDay]:
    """The past days that the towers learn from: those whose whole target window lies before the end of the night's day."""
    options = context.config.towers
    last = view.day - options.target_days
    days = list(range(max(view.tables.first_day, last - options.train_days + 1), last + 1))
    days = [day for day in days if len(view.log.new_items(day))]
    task = context.progress.task("training days", len(days))
    # Nothing after the night's day, and nothing that the regime hides, is learnt from.
    past = context.engine.share(given, Past(view.past, options, view.strict_cold, view.tables.user_features))
    made = []
    for day in context.engine.run(day_of, days, past):
        made.append(day)
        task.advance(1)
    return made


def _train(context: StageContext, view: NightView) -> tuple[Towers, list[float]]:
    days = training_days(context, view)
    task = context.progress.task("training", 1.0)
    try:
        return train_towers(
            days,
            context.config.towers,
            context.config.seed,
            task.advance,
            items=view.log.items,
            device=context.config.device,
        )
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
