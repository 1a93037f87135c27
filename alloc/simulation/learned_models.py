"""The platform's models, fitted every night on its own recent exposures: logistic curves over a handful of features.

They stand for the night's towers and heads, which would take longer than the rest of the day here. Over pairs they are
bilinear, so that all pairs can be scored. `watch` ranks for users; `v1`, `sa`, `ef`, `sa_ef` predict the value of a match.
"""

import numpy as np

from ...models.logistic import fit_logistic, sigmoid
from ...models.metrics import auc
from .exposures import Exposures
from .items import Items
from .knowledge import Knowledge, value_of

_ROWS_A_PERIOD = 5_000
_PERIODS_KEPT = 12
_RIDGE = 1.0
_GRID = 2.0**-16
RANKERS = {"v1": (False, False), "sa": (True, False), "ef": (False, True), "sa_ef": (True, True)}
"""Name -> with sample augmentation, with features of the users of similar items (paper, section 3.3.1)."""


def record(known: Knowledge, items: Items, shown: Exposures, features: dict[str, np.ndarray]) -> None:
    """Keeps a sample of exposures with what was known at the time, for the next fits.

    ``features``: of users ``vectors``, ``user_watch``, ``user_value``, of items ``coarse``, ``watch``, ``value``,
    ``value_prior``.
    """
    rows = np.arange(0, len(shown), max(1, len(shown) // _ROWS_A_PERIOD))
    user, item = shown.user[rows], shown.item[rows]
    vector = features["vectors"][user]
    known.rows.append(
        {
            "content": np.einsum("nd,nd->n", vector, items.content[item]).astype(np.float64),
            "coarse": np.einsum("nd,nd->n", vector, features["coarse"][item]).astype(np.float64),
            "user_watch": features["user_watch"][user],
            "user_value": features["user_value"][user],
            "watch": features["watch"][item],
            "value": features["value"][item],
            "value_prior": features["value_prior"][item],
            "shows": items.shows[item].astype(np.float64),
            "watched": shown.watched[rows],
            "label": value_of(shown)[rows],
        }
    )
    del known.rows[:-_PERIODS_KEPT]


def fit_models(known: Knowledge) -> None:
    """Fits all models on the rows kept, with a small pull towards yesterday's; nothing where there are none."""
    if not known.rows:
        return
    rows = {name: np.concatenate([part[name] for part in known.rows]) for name in known.rows[0]}
    ones = np.ones(len(rows["label"]))
    x = np.stack([ones, rows["content"], rows["watch"], rows["user_watch"]], 1)
    prior = known.models.get("watch", np.array([0.0, 0.0, 1.0, 1.0]))
    known.models["watch"] = _to_grid(fit_logistic(x, rows["watched"], prior, _RIDGE))
    for name, (augmented, extended) in RANKERS.items():
        prior = known.models.get(name, np.array([0.0, 0.0, 0.0, 1.0, 1.0]))
        known.models[name] = _to_grid(_fit_value(rows, augmented, extended, prior))


def cold_auc(known: Knowledge, periods: int, least: int) -> dict[str, float]:
    """``auc_NAME`` of the rankers on views of the last periods' items with fewer than ``least`` exposures, before those are
    trained on (paper, Table 4). Empty without models or without both outcomes."""
    parts = known.rows[-periods:]
    if "sa_ef" not in known.models or not parts:
        return {}
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    cold = {name: values[rows["shows"] < least] for name, values in rows.items()}
    if not cold["watched"].any() or cold["watched"].all():
        return {}
    # Not the user's rate: it is the same for all rankers, and says nothing about which users an item is for.
    cold["user_value"] = np.zeros(len(cold["watched"]))
    return {
        f"auc_{name}": auc(cold["watched"], value_log_odds(known.models[name], cold, cold=False)) for name in RANKERS
    }


def value_log_odds(weights: np.ndarray, rows: dict[str, np.ndarray], *, cold: bool) -> np.ndarray:
    """Log-odds float64[n] of rows as `record` keeps them; ``cold``: without what is known of the item itself."""
    return np.asarray(_value_features(rows, cold=cold) @ weights)


def _fit_value(rows: dict[str, np.ndarray], augmented: bool, extended: bool, prior: np.ndarray) -> np.ndarray:
    """float64[5] on `_value_features`. A label of v counts as v of one that happened and 1 - v of one that did not."""
    x, label = _value_features(rows, cold=False), rows["label"]
    if augmented:
        x, label = np.concatenate([x, _value_features(rows, cold=True)]), np.concatenate([label, label])
    if not extended:
        x[:, 2] = 0.0
    twice = np.concatenate([x, x])
    happened = np.arange(len(twice)) < len(x)
    return fit_logistic(twice, happened, prior, _RIDGE, np.concatenate([label, 1.0 - label]))


def _value_features(rows: dict[str, np.ndarray], *, cold: bool) -> np.ndarray:
    item = rows["value_prior"] if cold else rows["value"]
    return np.stack([np.ones(len(item)), rows["coarse"], rows["content"], item, rows["user_value"]], 1)


def _to_grid(weights: np.ndarray) -> np.ndarray:
    """Sums over rows may differ in the last bit with the number of threads."""
    return np.asarray(np.round(weights / _GRID) * _GRID)


def visit_forecast(known: Knowledge, day: int) -> np.ndarray:
    """float64[users]: P(visit on ``day``) from the days before it, by a logistic curve over their visits (the paper's UAC).

    Fitted on the last three days, each as it looked from the day before. Without a week of history: 0.3 for everybody.
    """
    if not known.visited[:, 7].any():
        return np.full(len(known.visited), 0.3)
    x = np.concatenate([_visit_features(known.visited[:, back + 1 :], day - 1 - back) for back in range(3)])
    came = np.concatenate([known.visited[:, back] for back in range(3)])
    weights = _to_grid(fit_logistic(x, came, np.zeros(x.shape[1]), _RIDGE))
    return np.asarray(sigmoid(_visit_features(known.visited, day) @ weights))


def _visit_features(visited: np.ndarray, day: int) -> np.ndarray:
    """float64[users, 8] of bool[users, days], the day before ``day`` first."""
    days = visited.shape[1]
    before = visited.astype(np.float64)
    means = [before @ (weight / weight.sum()) for weight in (0.5 ** (np.arange(days) / half) for half in (1, 4, 14))]
    long = np.log(means[2] + 0.01) - np.log(1.01 - means[2])
    same_day = before[:, 6::7].mean(1)
    last = np.where(visited.any(1), visited.argmax(1), days)
    weekend = np.full(len(visited), float(day % 7 >= 5))
    return np.stack(
        [np.ones(len(visited)), before[:, 0], means[0], means[1], long, same_day, np.log1p(last), weekend * long], 1
    )
