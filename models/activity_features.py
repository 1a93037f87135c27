"""What the activity model knows of each user at the end of a day: recency, habit, rhythm, kind of visit."""

import math
from dataclasses import dataclass, replace

import numpy as np

from .log import Log

SESSION_GAP_DAYS = 0.5 / 24
_HALF_LIVES = (0.5, 1.5, 4.0, 10.0)
_SESSION_HALF_LIVES = (1.0, 3.0)
_DAYS_BACK = 7
EVENING_HOUR = 18
_OLDEST_DAYS = 5.0


@dataclass(frozen=True, eq=False)
class Visits:
    """The log with the first interaction of each session marked; sessions end after half an hour without any.

    ``starts``: bool[n]. ``gap``: float64[n], days since the same user's previous interaction, 0 for the first one.
    """

    log: Log
    starts: np.ndarray
    gap: np.ndarray


def mark_sessions(log: Log) -> Visits:
    """One sort of the log by (user, time). The marks take 9 bytes a row, the sort about 40 while it lasts."""
    order = np.lexsort((log.day, log.user))
    user, day = log.user[order], log.day[order]
    first = np.ones(len(order), bool)
    first[1:] = user[1:] != user[:-1]
    between = np.zeros(len(order))
    between[1:] = np.where(first[1:], 0.0, np.diff(day))
    starts, gap = np.empty(len(order), bool), np.empty(len(order))
    starts[order] = first | (between > SESSION_GAP_DAYS)
    gap[order] = between
    return Visits(log, starts, gap)


def activity_features(
    visits: Visits, day: int, history_days: int, part: tuple[int, int] | None = None
) -> tuple[np.ndarray, list[str]]:
    """float32[users, features] at the end of local ``day`` from the last ``history_days``, and the features' names.

    ``part``: only the users from the first to before the last; each one's features are the same bytes.

    What is counted over the whole window is divided by its days, for at the start of the data it is shorter: with plain
    counts a model learnt on short windows expects too much of everybody. What needs an interaction, a session or a gap
    that the user does not have in the window is NaN; codes are -1. About 40 passes over the window.
    """
    log = visits.log
    start, stop = np.searchsorted(log.day, [day + 1 - history_days, day + 1])
    window = slice(int(start), int(stop))
    seen = Visits(log.take(window), visits.starts[window], visits.gap[window])
    seen = seen if part is None else _of_users(seen, *part)
    first = math.floor(log.day[0]) if len(log) else day
    days = np.arange(min(max(first, day + 1 - history_days), day), day + 1)
    columns = {
        **_counts(seen, days),
        **_recency(seen, days),
        **_rhythm(seen.log, days),
        **_breadth(seen.log, days),
        **_hours(seen.log),
        **_last_context(seen.log),
    }
    return np.stack([column.astype(np.float32) for column in columns.values()], 1), list(columns)


def _of_users(visits: Visits, first: int, last: int) -> Visits:
    """What these users did, counted from the first one on."""
    rows = np.flatnonzero((visits.log.user >= first) & (visits.log.user < last))
    log = visits.log.take(rows)
    return Visits(replace(log, user=log.user - first, users=last - first), visits.starts[rows], visits.gap[rows])


def _counts(visits: Visits, days: np.ndarray) -> dict[str, np.ndarray]:
    log, users, day = visits.log, visits.log.users, days[-1]
    age, session = day + 1 - log.day, visits.starts
    columns = {f"count_half_life_{life}": _decayed(log.user, age, users, life) for life in _HALF_LIVES}
    for life in _SESSION_HALF_LIVES:
        columns[f"sessions_half_life_{life}"] = _decayed(log.user[session], age[session], users, life)
    for back in range(_DAYS_BACK):
        rows = np.floor(log.day) == day - back
        columns[f"count_{back}_days_ago"] = np.bincount(log.user[rows], minlength=users)
    for kind, flags in log.kinds.items():
        columns[f"{kind}s_a_day"] = np.bincount(log.user, flags, minlength=users) / len(days)
    return columns


def _breadth(log: Log, days: np.ndarray) -> dict[str, np.ndarray]:
    """Distinct items and tokens, how new the items were; the day's own uploads count for nothing (strict cold)."""
    rows = np.flatnonzero(log.upload[log.item] < days[-1])
    user, item = log.user[rows].astype(np.int64), log.item[rows]
    age = np.clip(log.day[rows] - log.upload[item], 0, _OLDEST_DAYS)
    total = np.bincount(user, minlength=log.users)
    return {
        "distinct_items_a_day": _distinct(user, item, log.users, log.items) / len(days),
        "distinct_tokens_a_day": _distinct(user, log.token[item] + 1, log.users, log.tokens + 1) / len(days),
        "mean_item_age": _ratio(np.bincount(user, age, minlength=log.users), total),
    }


def _distinct(user: np.ndarray, thing: np.ndarray, users: int, things: int) -> np.ndarray:
    return np.bincount(np.unique(user * max(things, 1) + thing) // max(things, 1), minlength=users)


def _recency(visits: Visits, days: np.ndarray) -> dict[str, np.ndarray]:
    log, users, starts = visits.log, visits.log.users, visits.starts
    last, first = np.full(users, np.nan), np.full(users, np.nan)
    last[log.user] = log.day
    first[log.user[::-1]] = log.day[::-1]
    sessions = np.bincount(log.user[starts], minlength=users)
    later = starts & (visits.gap > 0)
    gaps = np.bincount(log.user[later], visits.gap[later], minlength=users)
    mean_gap = _ratio(gaps, np.bincount(log.user[later], minlength=users))
    recency = days[-1] + 1 - last
    return {
        "recency": recency,
        "tenure": days[-1] + 1 - first,
        "sessions_a_day": sessions / len(days),
        "mean_gap": mean_gap,
        "recency_in_gaps": recency / mean_gap,
        "interactions_a_session": _ratio(np.bincount(log.user, minlength=users), sessions),
    }


def _rhythm(log: Log, days: np.ndarray) -> dict[str, np.ndarray]:
    """Shares of days with a visit, all and those of the same sort (work or rest, weekday) as the day that is predicted."""
    users, target = log.users, days[-1] + 1
    whole = np.floor(log.day).astype(np.int64)
    user, visited = _user_days(log.user, whole)
    resting = log.is_rest(target)
    late_user, _ = _user_days(*_evening(log, whole))

    def share(of_visited: np.ndarray, of_days: np.ndarray) -> np.ndarray:
        return _ratio(np.bincount(user[of_visited], minlength=users), of_days.sum())

    return {
        "share_days": np.bincount(user, minlength=users) / len(days),
        "share_days_same_sort": share(log.is_rest(visited) == resting, log.is_rest(days) == resting),
        "share_days_other_sort": share(log.is_rest(visited) != resting, log.is_rest(days) != resting),
        "share_days_same_weekday": share(visited % 7 == target % 7, days % 7 == target % 7),
        "share_evenings": np.bincount(late_user, minlength=users) / len(days),
        "target_rests": np.full(users, float(resting)),
        "target_weekday": np.full(users, float((target + log.first_weekday) % 7)),
    }


def _hours(log: Log) -> dict[str, np.ndarray]:
    quarter = (log.day % 1 * 4).astype(np.int64)
    total = np.bincount(log.user, minlength=log.users)
    shares = np.bincount(log.user.astype(np.int64) * 4 + quarter, minlength=4 * log.users).reshape(-1, 4)
    return {f"share_hours_{6 * part}_{6 * part + 6}": _ratio(shares[:, part], total) for part in range(4)}


def _last_context(log: Log) -> dict[str, np.ndarray]:
    columns = {}
    for name, codes in log.context.items():
        column = np.full(log.users, -1)
        column[log.user] = codes
        columns[f"last_{name}"] = column
    return columns


def _evening(log: Log, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    late = log.day % 1 >= EVENING_HOUR / 24
    return log.user[late], whole[late]


def _user_days(user: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct (user, day) pairs."""
    if not len(user):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    low, span = whole.min(), int(whole.max() - whole.min()) + 1
    pairs = np.unique(user.astype(np.int64) * span + (whole - low))
    return pairs // span, pairs % span + low


def _decayed(user: np.ndarray, age: np.ndarray, users: int, half_life: float) -> np.ndarray:
    return np.log1p(np.bincount(user, 0.5 ** (age / half_life), minlength=users))


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.where(bottom > 0, top / np.maximum(bottom, 1), np.nan)
