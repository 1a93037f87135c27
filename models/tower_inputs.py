"""The inputs of both towers at the end of a day, as arrays."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .activity_features import activity_features, mark_sessions
from .history import History, audience, user_history
from .log import Log

MAX_CODES = 64
_CONTEXT = "last_"


@dataclass(frozen=True, eq=False)
class UserInputs:
    """``dense`` float32[users, n]: logarithms of the activity features; ``codes`` int64[users, m] below MAX_CODES."""

    history: History
    dense: np.ndarray
    codes: np.ndarray
    known: np.ndarray


@dataclass(frozen=True, eq=False)
class ItemInputs:
    """Of some items: ``token`` int64[n] (-1 unknown), ``content`` float32[n, d], ``dense`` float32[n, m] and ``audience``.

    ``audience`` is the mean history of the users who already touched the item, ``audience_content`` likewise.
    """

    rows: np.ndarray
    token: np.ndarray
    content: np.ndarray
    dense: np.ndarray
    audience: sparse.csr_matrix
    audience_content: np.ndarray
    touched: np.ndarray


def user_inputs(log: Log, day: int, history_days: int, features: dict[str, np.ndarray]) -> UserInputs:
    """Of all users, from a log that ends with ``day``. ``features``: static categorical codes int32[users] by name."""
    columns, names = activity_features(mark_sessions(log), day, history_days)
    is_code = np.array([name.startswith(_CONTEXT) for name in names])
    dense = np.nan_to_num(columns[:, ~is_code])
    codes = [columns[:, is_code].astype(np.int64), *(values[:, None].astype(np.int64) for values in features.values())]
    return UserInputs(
        history=user_history(log, day),
        dense=np.sign(dense) * np.log1p(np.abs(dense)),
        codes=(np.concatenate(codes, 1) + 1) % MAX_CODES,
        known=log.known(),
    )


def item_inputs(log: Log, day: int, items: np.ndarray, history: History) -> ItemInputs:
    """Of ``items``, uploaded on ``day``, from a log that ends with it; strict cold when the log hides their users."""
    tokens, content, touched = audience(log, items, history)
    hour = (log.upload[items] % 1) * 2 * np.pi
    own_row = log.token[items] == items
    token = np.where(own_row & (log.tokens == log.items), -1, log.token[items])
    recent = np.bincount(log.token[log.item], 0.5 ** (day + 1 - log.day), minlength=log.tokens)
    heat = np.where(token >= 0, np.log1p(recent[token]), 0.0)
    dense = np.stack([np.sin(hour), np.cos(hour), hour / np.pi - 1, np.log1p(touched), heat / 4], 1)
    return ItemInputs(items, token, log.content[items], dense.astype(np.float32), tokens, content, touched)
