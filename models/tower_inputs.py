"""The inputs of both towers at the end of a day, as arrays."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .activity_features import activity_features, mark_sessions
from .history import History, audience, user_history
from .log import Log
from .similar_audience import nobody, similar_audience
from .tastes import fan_tastes, user_tastes

MAX_CODES = 64
_CONTEXT = "last_"
TOUCHED = 3
"""Column of an item's dense features: how many users already touched it."""


@dataclass(frozen=True, eq=False)
class UserInputs:
    """Of all users: ``dense`` float32[users, n], logarithms of the activity features, 0 where these are NaN; ``codes``
    int64[users, m] below MAX_CODES, 0 unknown, larger codes folded onto the others; ``known`` bool[users]: seen before;
    ``tastes`` float32[users, k]: see `user_tastes`; ``mean_taste`` float32[k] of the users seen before."""

    history: History
    dense: np.ndarray
    codes: np.ndarray
    known: np.ndarray
    tastes: np.ndarray
    mean_taste: np.ndarray


@dataclass(frozen=True, eq=False)
class ItemInputs:
    """Of the items ``rows`` int64[n]: ``token`` int64[n] (-1 unknown), ``content`` float32[n, d], ``dense`` float32[n, m].

    ``audience`` CSR float32[n, tokens] is the mean history of the users who already touched the item,
    ``audience_content`` float32[n, d] their mean content, ``touched`` int64[n] how many they are. ``similar`` and
    ``similar_content`` are the same of the users who touched the items most similar to it. ``fans`` float32[n, k]: the
    tastes of the users who touched it on the day of its upload, their sum over the square root of how many they are.
    """

    rows: np.ndarray
    token: np.ndarray
    content: np.ndarray
    dense: np.ndarray
    audience: sparse.csr_matrix
    audience_content: np.ndarray
    touched: np.ndarray
    similar: sparse.csr_matrix
    similar_content: np.ndarray
    fans: np.ndarray


def user_inputs(
    log: Log, day: int, history_days: int, features: dict[str, np.ndarray], *, tastes: int = 0
) -> UserInputs:
    """Of all users, from a log that ends with ``day``. ``features``: static categorical codes int32[users] by name.
    ``tastes``: length of `user_tastes`."""
    columns, names = activity_features(mark_sessions(log), day, history_days)
    is_code = np.array([name.startswith(_CONTEXT) for name in names])
    dense = np.nan_to_num(columns[:, ~is_code])
    codes = [columns[:, is_code].astype(np.int64), *(values[:, None].astype(np.int64) for values in features.values())]
    known, taste = log.known(), user_tastes(log, day, tastes)
    return UserInputs(
        history=user_history(log, day),
        dense=np.sign(dense) * np.log1p(np.abs(dense)),
        codes=(np.concatenate(codes, 1) + 1) % MAX_CODES,
        known=known,
        tastes=taste,
        mean_taste=taste.sum(0) / np.float32(max(known.sum(), 1)),
    )


def item_inputs(
    log: Log,
    day: int,
    items: np.ndarray,
    history: History,
    *,
    similar: bool = True,
    tastes: np.ndarray | None = None,
) -> ItemInputs:
    """Of ``items``, uploaded on ``day``, from a log that ends with it; strict cold when the log hides their users.

    ``similar``: whether the users of similar items are wanted, which cost about as much as all the rest; else they are 0.
    ``tastes``: the users', float32[users, k] of the same log; none when None.
    """
    tokens, content, touched = audience(log, items, history)
    # A new item that is its own token has no weights of its own yet.
    token = np.full(len(items), -1, np.int64) if log.tokens_are_items else log.token[items].astype(np.int64)
    dense = item_dense(log.upload[items] % 1, touched, token_heat(log, day)[token])
    others = similar_audience(log, day, items, history) if similar else nobody(log, len(items))
    fans = np.zeros((len(items), 0), np.float32) if tastes is None else fan_tastes(log, items, tastes)
    return ItemInputs(items, token, log.content[items], dense, tokens, content, touched, *others, fans)


def item_dense(moment: np.ndarray, touched: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """float32[n, 5] of items uploaded at ``moment`` of their day, from 0 to 1, which so many users have touched."""
    angle = moment * 2 * np.pi
    return np.stack([np.sin(angle), np.cos(angle), angle / np.pi - 1, np.log1p(touched), heat], 1).astype(np.float32)


def token_heat(log: Log, day: int) -> np.ndarray:
    """float64[tokens + 1]: how much each token was used lately, 0 for token -1, the last."""
    heat: np.ndarray = np.log1p(_recent(log, day)) / 4
    return heat


def _recent(log: Log, day: int) -> np.ndarray:
    """float64[tokens + 1]: interactions with each token, weighted by 0.5 ** age in days; 0 for token -1, the last."""
    token = log.token[log.item]
    rows = np.flatnonzero(token >= 0)
    return np.bincount(token[rows], 0.5 ** (day + 1 - log.day[rows]), minlength=log.tokens + 1)
