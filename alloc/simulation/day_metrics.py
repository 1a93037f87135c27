"""The figures of a day (paper, section 5.1.4): creators, reach, coverage, hit rate, shares, reactions, guardrails."""

from dataclasses import dataclass, field

import numpy as np

from .exposures import COLD, SOURCES, Exposures, in_user_order
from .items import Items
from .options import PlatformOptions
from .people import Creators, Users
from .waiting import Matches

FEEDBACK_CLASSES = (0, 1, 3, 10, 30)
"""Lower ends of the classes of a creator's feedback on a day, likes + 2 comments + 3 follows."""

MATCH_SIZES = (0, 1, 2, 3, 5, 10, 20, 50)
"""Lower ends of the classes of the match-set histogram; the last has no upper end."""


@dataclass(eq=False)
class DayTally:
    """What happened on a day: ``uploads`` int64[creators]; ``split``, whether it was a test, and who is treated, bool:
    ``user_arm``, ``creator_arm``; ``came`` bool[users]."""

    day: int
    uploads: np.ndarray
    split: bool
    user_arm: np.ndarray
    creator_arm: np.ndarray
    came: np.ndarray
    parts: list[Exposures] = field(default_factory=list)

    def add(self, shown: Exposures) -> None:
        """Exposures of a part of the day."""
        self.parts.append(shown)

    def exposures(self) -> Exposures:
        """Those of the day."""
        if self.parts:
            return in_user_order(self.parts)
        row, none = np.zeros(0, np.int64), np.zeros(0, bool)
        return Exposures(row, row, row.astype(np.int8), none, none, none, none, np.zeros(0, np.float32))


def day_metrics(
    options: PlatformOptions, items: Items, creators: Creators, tally: DayTally, matches: list[Matches]
) -> dict[str, float]:
    """Name -> figure; of the arms of a test too, as NAME_control and NAME_treated. ``matches``: by group, all of the day,
    the stream's too."""
    shown = tally.exposures()
    figures = {"day": float(tally.day), "uploads": float((items.day == tally.day).sum())}
    figures |= _users(shown, tally)
    figures |= _matches(matches, tally.came)
    figures |= _feedback(shown)
    everybody, uploaded = np.ones(len(items), bool), tally.uploads > 0
    figures |= creator_side(options, items, everybody, uploaded, tally.day)
    figures["creators"] = float(creators.active.sum())
    figures["gini"] = gini(np.bincount(items.creator[shown.item], minlength=len(creators.skill))[creators.active])
    if tally.split:
        figures |= reach_by_users(options, items, shown, tally)
        for name, arm in (("control", False), ("treated", True)):
            mine = tally.creator_arm[items.creator] == arm
            of_arm = tally.creator_arm[: len(uploaded)] == arm
            side = creator_side(options, items, mine, uploaded & of_arm, tally.day)
            figures |= {f"{key}_{name}": value for key, value in side.items()}
            figures[f"creators_{name}"] = float((creators.active[: len(of_arm)] & of_arm).sum())
            figures[f"assigned_{name}"] = float(of_arm.sum())
    return figures


def creator_side(
    options: PlatformOptions, items: Items, mine: np.ndarray, uploaded: np.ndarray, day: int
) -> dict[str, float]:
    """``dac``: creators who uploaded today; of the items whose last day it was, ``reach_X``: how many had at least X
    exposures; ``coverage``: share with as many as the index asks for; ``mean_shows``; ``short``: share below half of L.

    Counted on the last day of an item's life, so that all have had the same time.
    """
    ended = mine & (items.day == day - options.recommender.live_days + 1)
    shows = items.shows[ended]
    count = max(len(shows), 1)
    figures = {"dac": float(uploaded.sum()), "ended": float(len(shows))}
    figures |= {f"reach_{least}": float((shows >= least).sum()) for least in options.reach}
    figures["coverage"] = float((shows >= options.recommender.index_least).sum() / count)
    figures["short"] = float((shows < options.match.demand / 2).sum() / count)
    figures["mean_shows"] = float(shows.sum() / count)
    return figures


def reach_by_users(options: PlatformOptions, items: Items, shown: Exposures, tally: DayTally) -> dict[str, float]:
    """``reach_X_by_ARM_users``: items with at least X times the arm's share of exposures among the arm's users alone, as a
    user-diverted test must count them. The other arm's exposures teach the recommender about the same items: such a test
    sees less of an effect than there is."""
    ended = items.day == tally.day - options.recommender.live_days + 1
    share = np.bincount(tally.user_arm[shown.user], minlength=2) / max(len(shown), 1)
    figures: dict[str, float] = {}
    for arm, name in enumerate(("control", "treated")):
        shows = items.shows_by_arm[ended, arm]
        figures |= {f"reach_{x}_by_{name}_users": float((shows >= x * share[arm]).sum()) for x in options.reach}
    return figures


def gini(amounts: np.ndarray) -> float:
    """Gini coefficient of amounts >= 0: 0 where all are equal."""
    if not amounts.sum():
        return 0.0
    ordered = np.sort(amounts.astype(np.float64))
    rank = np.arange(1, len(ordered) + 1)
    return float((2 * rank - len(ordered) - 1) @ ordered / (len(ordered) * ordered.sum()))


def _users(shown: Exposures, tally: DayTally) -> dict[str, float]:
    """The guardrails: daily active users and their time, in hours."""
    figures = {"dau": float(tally.came.sum()), "watch_hours": float(shown.seconds.sum(dtype=np.float64) / 3600)}
    if tally.split:
        for name, arm in (("control", False), ("treated", True)):
            figures[f"dau_{name}"] = float((tally.came & (tally.user_arm == arm)).sum())
            seconds = shown.seconds[tally.user_arm[shown.user] == arm]
            figures[f"watch_hours_{name}"] = float(seconds.sum(dtype=np.float64) / 3600)
            figures[f"users_{name}"] = float((tally.user_arm == arm).sum())
    return figures


def _matches(matches: list[Matches], came: np.ndarray) -> dict[str, float]:
    """Hit rate: matched users who came after they were matched, a match each; sizes of the users' match sets."""
    user = np.concatenate([of_group.user for of_group in matches])
    if not len(user):
        return {}
    size = np.bincount(user, minlength=len(came))
    histogram = np.histogram(size, np.array([*MATCH_SIZES, np.inf]))[0]
    return {
        "hit_rate": float(came[user].mean()),
        "largest_match_set": float(size.max()),
        **{f"match_sets_{low}": float(count) for low, count in zip(MATCH_SIZES, histogram, strict=True)},
    }


def _feedback(shown: Exposures) -> dict[str, float]:
    """Exposures, their shares by source, and rates of reactions, of all and of matches."""
    count = max(len(shown), 1)
    by_source = np.bincount(shown.source, minlength=len(SOURCES))
    figures = {"exposures": float(len(shown))}
    figures |= {f"share_{name}": float(by_source[k] / count) for k, name in enumerate(SOURCES)}
    matched = shown.source > COLD
    for name, rows in (("", slice(None)), ("match_", matched)):
        for kind in ("watched", "like", "comment", "follow"):
            happened = getattr(shown, kind)[rows]
            figures[f"{name}{kind}_rate"] = float(happened.mean()) if len(happened) else float("nan")
    return figures


def uploads_by_feedback(creators: Creators, uploads: np.ndarray) -> dict[str, float]:
    """Creators, and their uploads of today, by the feedback that they got yesterday (the paper's claim that those who are
    liked upload more): ``creators_fed_X``, ``uploads_fed_X`` for classes from X on."""
    place = np.searchsorted(FEEDBACK_CLASSES, creators.feedback, side="right") - 1
    at = creators.active
    count = np.bincount(place[at], minlength=len(FEEDBACK_CLASSES))
    made = np.bincount(place[at], uploads[at], len(FEEDBACK_CLASSES))
    figures = {f"creators_fed_{low}": float(count[k]) for k, low in enumerate(FEEDBACK_CLASSES)}
    return figures | {f"uploads_fed_{low}": float(made[k]) for k, low in enumerate(FEEDBACK_CLASSES)}


def quality_table(users: Users, creators: Creators, items: Items, shown: Exposures) -> dict[str, float]:
    """``views_C_U`` and ``shows_C_U``: by third of the creators (by usual uploads) and of the users (by usual visits), 0 the
    least active third."""
    of_user, of_creator = _thirds(users.activity), _thirds(creators.output)
    place = of_creator[items.creator[shown.item]] * 3 + of_user[shown.user]
    count, watched = np.bincount(place, minlength=9), np.bincount(place, shown.watched, 9)
    names = [f"{c}_{u}" for c in range(3) for u in range(3)]
    figures = {f"shows_{name}": float(count[k]) for k, name in enumerate(names)}
    return figures | {f"views_{name}": float(watched[k]) for k, name in enumerate(names)}


def _thirds(values: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.quantile(values, (1 / 3, 2 / 3)), values)
