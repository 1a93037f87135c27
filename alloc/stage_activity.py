"""Stage `activity`: P(user visits in the next day, or days) for every known user."""

import numpy as np

from ..models.activity import (
    PART_USERS,
    ActivityModel,
    TrainingPart,
    TrainingRows,
    joined_rows,
    part_rows,
    train_activity,
    training_parts,
)
from ..models.activity_features import Visits, activity_features, mark_sessions
from ..models.metrics import auc, brier, calibration_table, decayed_count, expected_calibration_error
from ..models.options import ActivityOptions
from .artifacts import save_arrays, save_json
from .errors import InputError
from .night_view import NightView, load_view
from .partitions import given, ranges
from .stage import StageContext


def run(context: StageContext) -> None:
    """Write `p_active` float32[users] (0 for users not seen yet), `known`, the model, and `activity.json`."""
    view, options = load_view(context.input("tables")), context.config.activity
    visits = mark_sessions(view.visits)
    shared = context.engine.share(given, visits)
    try:
        parts = training_parts(visits, view.day, options, context.config.seed)
        task, found = context.progress.task("features", len(parts)), []
        for rows in context.engine.run(rows_of, [(view.day, options, part) for part in parts], shared):
            found.append(rows)
            task.advance(1)
        trees = context.progress.task("trees", options.trees)
        model = train_activity(joined_rows(found), options, context.threads, lambda: trees.advance(1))
    except ValueError as error:
        raise InputError(f"activity: {error}") from None
    asked = [(view.day, options, part) for part in ranges(view.log.users, PART_USERS)]
    predicted = list(context.engine.run(predict, asked, shared, context.engine.share(given, model)))
    known = visits.log.known()
    p_active = np.where(known, np.concatenate(predicted), 0).astype(np.float32)
    model.save(context.out)
    save_arrays(context.out, p_active=p_active, known=known)
    save_json(context.out / "activity.json", activity_metrics(view, known, p_active, options.target_days))


def rows_of(visits: Visits, part: tuple[int, ActivityOptions, TrainingPart]) -> TrainingRows:
    """The rows of one part of the training days before a day."""
    return part_rows(visits, *part)


def predict(visits: Visits, model: ActivityModel, part: tuple[int, ActivityOptions, tuple[int, int]]) -> np.ndarray:
    """P(active) float32 of a range of users in the days after."""
    day, options, users = part
    features, _ = activity_features(visits, day, options.history_days, users)
    return model.predict(features)


def activity_metrics(view: NightView, known: np.ndarray, p_active: np.ndarray, target_days: int) -> dict[str, object]:
    """AUC, Brier score and calibration over all known users in the target days; empty where the data ends before them."""
    if not view.has_truth or view.day + target_days > view.tables.last_day:
        return {}
    came, p = view.log.between(view.day + 1, view.day + target_days).known()[known], p_active[known]
    plain = decayed_count(view.visits.user, view.day + 1 - view.visits.day, view.log.users)[known]
    table = calibration_table(came, p)
    return {
        "auc": auc(came, p),
        "auc_decayed_count": auc(came, plain),
        "brier": brier(came, p),
        "ece": expected_calibration_error(table),
        "calibration": table,
        "share_active": float(came.mean()),
        "mean_predicted": float(p.mean()),
    }
