"""What a visitor does with the list it is shown: the truth, which no policy sees."""

import numpy as np

from ...models.logistic import sigmoid
from .draws import Purpose, normal, poisson, uniform
from .exposures import Exposures
from .options import PlatformOptions
from .people import Users
from .serving import Visits


def wanted(options: PlatformOptions, users: Users, seed: int, day: int, visitor: np.ndarray) -> np.ndarray:
    """int64[visitors]: how many items each would look at today, at least 1."""
    spread = np.exp(0.5 * normal(seed, Purpose.SESSION, visitor, day) - 0.125)
    return np.clip((users.appetite[visitor] * spread).astype(np.int64), 1, options.people.longest)


def sessions(visits: Visits, users: Users, item: np.ndarray, source: np.ndarray) -> Exposures:
    """Lists int64[visitors, n], -1 past the end, looked at from the first on, until too many were not worth watching.

    ``source`` int8[visitors, n]. Memory: 80 bytes a place of the lists.
    """
    options, visitor = visits.options, visits.visitor
    there = item >= 0
    row, place = np.nonzero(there)
    user, what = visitor[row], item[row, place]
    watched = np.zeros(item.shape, bool)
    odds = _log_odds(visits, users, user, what)
    watched[row, place] = uniform(visits.seed, Purpose.WATCH, user, what) < sigmoid(options.feedback.watch + odds)
    at = uniform(visits.seed, Purpose.PATIENCE, visitor, visits.day)
    patience = 1 + poisson(np.full(len(visitor), options.people.patience - 1), at, 4 * int(options.people.patience) + 8)
    unwatched = there & ~watched
    looks = there & (np.cumsum(unwatched, axis=1) - unwatched < patience[:, None])
    kept = looks[row, place]
    row, place, user, what, odds = row[kept], place[kept], user[kept], what[kept], odds[kept]
    return _reactions(visits, (user, what), source[row, place], watched[row, place], odds)


def _reactions(
    visits: Visits, pair: tuple[np.ndarray, np.ndarray], source: np.ndarray, watched: np.ndarray, odds: np.ndarray
) -> Exposures:
    feedback = visits.options.feedback
    shift = np.where(watched, 0.0, feedback.unwatched)

    def happens(purpose: Purpose, level: float) -> np.ndarray:
        return np.asarray(uniform(visits.seed, purpose, *pair) < sigmoid(level + odds + shift))

    return Exposures(
        *pair,
        source=source,
        watched=watched,
        like=happens(Purpose.LIKE, feedback.like),
        comment=happens(Purpose.COMMENT, feedback.comment),
        follow=happens(Purpose.FOLLOW, feedback.follow),
        seconds=np.where(watched, feedback.view_seconds, feedback.skip_seconds).astype(np.float32),
    )


def _log_odds(visits: Visits, users: Users, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """float64[n], what all kinds of feedback share."""
    feedback, items = visits.options.feedback, visits.items
    cosine = np.einsum("nd,nd->n", users.taste[user], items.appeal[item])
    old = feedback.ageing * (visits.day - items.day[item])
    return np.asarray(feedback.affinity * cosine + feedback.quality * items.quality[item] + users.habit[user] - old)
