"""Creators' and users' metrics of an A/B test (5.1.4 of the paper): DAC, ExpoReach, coverage, DAU.

Where creators are split, each metric is a total for each creator and the arms are disjoint. Under creator_only it is biased
all the same: both arms want the same users' attention, so what treatment gains its control loses, and the difference
is overstated.

Where users alone are split, every creator is in both arms, and all that can be done is to count an item's exposures among
each arm's users, against a threshold scaled by the arm's share. That is biased: what the treatment does for an item
(feedback, a place in the indices) works on the control's users too, through the item that they share, so the difference
is understated; and who uploads when cannot be put down to either arm at all.
"""

from collections.abc import Sequence

import numpy as np

from .ab_assign import Assignment, Design
from .ab_estimate import Metric
from .ab_log import ExposureLog, Window
from .errors import InputError

_NO_ARM = "under user_diverted an upload belongs to no arm: both arms share the creators"
_UNSCALED = "under user_diverted an arm of {share:g} of the users cannot be held against {least:,} exposures"
_UNEQUAL = "under user_diverted arms of unequal shares do not cover alike"
_NOT_SPLIT = "under creator_only users are in no arm"


def creator_metrics(
    log: ExposureLog,
    assignment: Assignment,
    window: Window,
    reach: Sequence[int] = (1_000, 5_000, 10_000),
    within: int = 7,
    before: Window | None = None,
) -> dict[str, Metric]:
    """Metrics by name, their units the assignment's creators.

    DAC: days with an upload, per creator and day of the ``window``: the share of creators active on a day. uploads: new
    items, those uploaded in the window. exposures: of new items, in the first ``within`` days of each (the upload day is
    the first), none after the window. ExpoReach-X: new items with at least X of them. All per creator. coverage: share of
    the new items with any. ``before``: days before the test, whose values adjust the means (CUPED), where creators
    are split. Raises InputError for an X or ``within`` below 1.
    """
    if within < 1 or any(least < 1 for least in reach):
        raise InputError(f"reach {list(reach)} within {within} days, expected numbers from 1")
    if assignment.design is Design.USER_DIVERTED:
        return _shared_metrics(log, assignment, window, reach, within)
    creators = len(assignment.creators)
    now = _creator_totals(log, creators, window, reach, within)
    then = {} if before is None else _creator_totals(log, creators, before, reach, within)
    covered = _items_with(log, creators, window, item_exposures(log, window, within)[0] > 0)
    metrics = {name: Metric(column, before=then.get(name)) for name, column in now.items()}
    return metrics | {"coverage": Metric(covered, now["uploads"])}


def user_metrics(
    log: ExposureLog, assignment: Assignment, window: Window, before: Window | None = None
) -> dict[str, Metric]:
    """Metrics by name, their units the assignment's users: DAU, days with an exposure, and exposures; per user and day."""
    if assignment.design is Design.CREATOR_ONLY:
        return {name: Metric(np.zeros(0), missing=_NOT_SPLIT) for name in ("DAU", "exposures")}
    now = _user_totals(log, len(assignment.users), window)
    then = {} if before is None else _user_totals(log, len(assignment.users), before)
    return {name: Metric(column, before=then.get(name)) for name, column in now.items()}


def active_creators(log: ExposureLog, assignment: Assignment, window: Window) -> np.ndarray:
    """int64[arms, days]: creators of each arm who uploaded on each day of the window (Figure 7 of the paper)."""
    creator, day = _active_days(log, window)
    arm = assignment.creator_arm[creator].astype(np.int64)
    cells = (arm * window.days + day)[arm >= 0]
    arms = len(assignment.arms)
    return np.bincount(cells, minlength=arms * window.days).reshape(arms, window.days)


def item_exposures(
    log: ExposureLog, window: Window, within: int, user_arm: np.ndarray | None = None, arms: int = 1
) -> np.ndarray:
    """int64[arms, items]: exposures in the window and each item's first ``within`` days, by the users' arm if given."""
    age = log.day - log.upload[log.item]
    counted = np.flatnonzero((age >= 0) & (age < within) & window.holds(log.day))
    items, cells = len(log.upload), log.item[counted].astype(np.int64)
    if user_arm is not None:
        arm = user_arm[log.user[counted]].astype(np.int64)
        cells = (arm * items + cells)[arm >= 0]
    return np.bincount(cells, minlength=arms * items).reshape(arms, items)


def _creator_totals(
    log: ExposureLog, creators: int, window: Window, reach: Sequence[int], within: int
) -> dict[str, np.ndarray]:
    shown = item_exposures(log, window, within)[0]
    totals = {"DAC": np.bincount(_active_days(log, window)[0], minlength=creators) / window.days}
    totals |= {f"ExpoReach-{least}": _items_with(log, creators, window, shown >= least) for least in reach}
    totals["uploads"] = _items_with(log, creators, window, np.ones(len(shown)))
    return totals | {"exposures": _items_with(log, creators, window, shown)}


def _shared_metrics(
    log: ExposureLog, assignment: Assignment, window: Window, reach: Sequence[int], within: int
) -> dict[str, Metric]:
    """What each arm's users saw of all creators, as a share of what the arm could see."""
    share, creators = np.array(assignment.user_shares), len(assignment.creators)
    shown = item_exposures(log, window, within, assignment.user_arm, len(share))

    def per_arm(amount: np.ndarray) -> np.ndarray:
        return np.stack([_items_with(log, creators, window, one) for one in amount])

    nothing = np.zeros(0)
    metrics = {"DAC": Metric(nothing, missing=_NO_ARM)}
    for least in reach:
        lost = _UNSCALED.format(share=share.min(), least=least) if least * share.min() < 1 else ""
        values = nothing if lost else per_arm(shown >= least * share[:, None])
        metrics[f"ExpoReach-{least}"] = Metric(values, missing=lost)
    metrics["uploads"] = Metric(nothing, missing=_NO_ARM)
    metrics["exposures"] = Metric(per_arm(shown / share[:, None]))
    uneven = _UNEQUAL if np.ptp(share) > 1e-9 else ""
    uploads = per_arm(np.ones(shown.shape))
    return metrics | {"coverage": Metric(per_arm(shown > 0), uploads, missing=uneven)}


def _items_with(log: ExposureLog, creators: int, window: Window, amount: np.ndarray) -> np.ndarray:
    """float64[creators]: the sum of ``amount`` (of each item) over a creator's new items."""
    new = np.flatnonzero((log.creator >= 0) & window.holds(log.upload))
    return np.bincount(log.creator[new], amount[new], minlength=creators)


def _active_days(log: ExposureLog, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Creator and day of the window, from 0, of every day with an upload, each once."""
    new = np.flatnonzero((log.creator >= 0) & window.holds(log.upload))
    cells = np.unique(log.creator[new].astype(np.int64) * window.days + log.upload[new] - window.first)
    return cells // window.days, cells % window.days


def _user_totals(log: ExposureLog, users: int, window: Window) -> dict[str, np.ndarray]:
    rows = np.flatnonzero(window.holds(log.day))
    cells = log.user[rows].astype(np.int64) * window.days + log.day[rows] - window.first
    shown = np.bincount(cells, minlength=users * window.days).reshape(users, window.days)
    return {"DAU": (shown > 0).sum(1) / window.days, "exposures": shown.sum(1) / window.days}
