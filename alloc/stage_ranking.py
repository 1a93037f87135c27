"""Stage `ranking`: how much each new item will draw, the heads, and the user's factor of the score."""

import dataclasses
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import torch

from ..models.breadth import breadth
from ..models.heads import Head, interaction_rate
from ..models.history import user_history
from ..models.item_rate import Outcomes, RateRows, damped, outcomes, predict_item_rate, rate_features, train_item_rate
from ..models.log import Log
from ..models.options import ScoreOptions
from ..models.pair_scores import DEFAULT_BETA, EXPLICIT
from ..models.tower_inputs import item_inputs
from .activity_cut import activity_factor, activity_threshold
from .artifacts import load_array, save_arrays, save_json, write_bytes
from .errors import InputError
from .night_heads import night_heads
from .night_view import NightView, load_view
from .partitions import given
from .stage import StageContext
from .tower_store import heads_vocabulary_sha256, save_heads

RATE_TREES, RATE_FILE = "item_rate_trees.json", "item_rate.json"


@dataclasses.dataclass(frozen=True, eq=False)
class PastItems:
    """What the features of past days' new items are made of."""

    log: Log
    first_day: int
    strict_cold: bool
    seen: Outcomes
    target_days: int
    creator: np.ndarray | None


def run(context: StageContext) -> None:
    """Write `item_logit`, `user_rate`, `item_rate`, `user_taste`, `item_taste`, `factor` (all for the rows of `retrieval`),
    `group_rate`, the heads' network where there is one, what it said of the interactions held out from it (`held_row`,
    `held_p`), and `ranking.json`."""
    torch.set_num_threads(1)
    view = load_view(context.input("tables"))
    folder = context.input("retrieval")
    users, items = load_array(folder / "users.npy"), load_array(folder / "items.npy")
    past, heads = view.past, view.tables.heads
    share = damped(item_shares(context, view, past), context.config.score.rate_exponent)
    found = night_heads(context, view, users, items)
    p_active = load_array(context.input("activity") / "p_active.npy")[users]
    threshold = activity_threshold(p_active, context.config.activity)
    save_arrays(
        context.out,
        item_logit=np.log(share / (1 - share)).astype(np.float32),
        item_share=share,
        user_rate=found.user_rate,
        item_rate=found.item_rate,
        user_taste=found.user_taste,
        item_taste=found.item_taste,
        group_rate=found.group_known,
        held_row=found.held[0],
        held_p=found.held[1],
        factor=user_factor(view, users, activity_factor(p_active, context.config.activity), context.config.score),
    )
    weights = head_weights(heads, context.config.score)
    if exposures_without_kinds(found.heads, weights, context.config.score):
        context.progress.note(
            "score.interaction_exponent is 0, for logs of all that users were shown, but no kind with a weight tells "
            "interactions apart: all items count alike; 1 is for logs of what users chose"
        )
    about = {
        "heads": [dataclasses.asdict(head) for head in found.heads],
        "fit": found.about,
        "beta": weights,
        "threshold": threshold,
        "interaction_exponent": context.config.score.interaction_exponent,
    }
    if found.network is not None:
        vocabulary = heads_vocabulary_sha256(view.tables, found.learnt)
        save_heads(context.out, found.network, context.config.heads, vocabulary)
    save_json(context.out / "ranking.json", about)


def user_factor(view: NightView, users: np.ndarray, active: np.ndarray, options: ScoreOptions) -> np.ndarray:
    """float32[users]: what each of ``users`` (int64 rows) multiplies a score by: ``active``, what activity makes of it, over
    the user's interaction rate (eq. 10) and times the user's breadth, each to its exponent."""
    explicit = tuple(kind for kind in view.tables.heads if kind in EXPLICIT)
    theta = interaction_rate(view.past, explicit, options.theta_smoothing)[users]
    broad = breadth(view.past, view.day)[users] ** options.breadth_exponent if options.breadth_exponent else 1.0
    return np.asarray(active / theta**options.theta_exponent * broad, np.float32)


def item_shares(context: StageContext, view: NightView, past: Log) -> np.ndarray:
    """float64[new items]: expected share of active users, from the past days whose outcome is known.

    Writes the trees, for items that come later, and `item_rate.json`.
    """
    options = context.config.towers
    seen = outcomes(past, options.target_days)
    known = PastItems(
        past, view.tables.first_day, view.strict_cold, seen, options.target_days, view.tables.item_creator
    )
    last = view.day - options.target_days
    days = list(range(max(view.tables.first_day, last - 2 * options.train_days + 1), last + 1))
    days = [day for day in days if len(view.log.new_items(day))]
    task = context.progress.task("item rates", len(days) + 1)
    rows, features = [], np.zeros(0)
    asked = [(day, view.log.new_items(day)) for day in [*days, view.day]]
    parts = context.engine.run(item_features, asked, context.engine.share(given, known))
    for (day, items), features in zip(asked, parts, strict=True):
        rows.append(RateRows(features, seen.share[items], np.full(len(items), float(last - day))))
        task.advance(1)
    trees, factor = train_item_rate(rows[:-1])
    share = predict_item_rate(trees, factor, features)
    raw = bytes(trees.save_raw("json"))
    write_bytes(context.out / RATE_TREES, raw)
    about = {"factor": factor, "mean_log_share": float(np.log(share).mean()), "trees_sha256": sha256(raw).hexdigest()}
    save_json(context.out / RATE_FILE, about)
    return share


def head_weights(heads: tuple[str, ...], options: ScoreOptions) -> list[float]:
    """beta of each head: the config's, or the defaults where it gives none. Raises InputError for a head not in the data."""
    unknown = sorted(set(options.beta) - set(heads))
    if unknown:
        raise InputError(f"score.beta names {unknown[0]!r}, which the data lacks; it has {', '.join(heads)}")
    chosen = options.beta or DEFAULT_BETA
    weights = [float(chosen.get(kind, 0.0)) for kind in heads]
    if max(weights) <= 0:
        raise InputError(f"score.beta gives no head a positive weight; the data has {', '.join(heads)}")
    return weights


def exposures_without_kinds(heads: Sequence[Head], weights: Sequence[float], options: ScoreOptions) -> bool:
    """Whether scores are the same for all items: perhaps a log of choices, read as one of exposures."""
    counted = [head for head, weight in zip(heads, weights, strict=True) if weight]
    return options.interaction_exponent == 0 and all(head.always for head in counted)


def item_features(past: PastItems, part: tuple[int, np.ndarray]) -> np.ndarray:
    """float32[n, m]: `rate_features` of a day's new items as they were known at its end."""
    day, items = part
    known = past.log.between(past.first_day, day)
    known = known.without_new_items(day) if past.strict_cold else known
    inputs = item_inputs(known, day, items, user_history(known, day), similar=False)
    return rate_features(inputs, known, day, past.seen, past.target_days, past.creator)
