"""What every interaction so far tells the heads' network of users, items and groups of items: running totals, day by day."""

import numpy as np
from scipy import sparse

from .log import Log
from .traits import item_traits

HALF_LIFE = 15.0
"""Days in which what a user took, and passed over, counts half."""

_USER, _ITEM, _GROUP, _AUDIENCE = 20.0, 20.0, 50.0, 3.0
_SMALL = 1e-6


class HeadTotals:
    """Totals of the interactions added so far, and the network's inputs made of them; all in the order of the columns below.

    A group is an item's creator, or its category where the data has no creators; ``group`` int32[items], -1 unknown. The
    kind of feedback that divides the interactions most evenly says what users *take* and what they *pass over*; the means
    of the traits (see `item_traits`) of both are a user's taste. Float64: 8 (k (users + 2 items + groups) + d (2 users +
    2 items)) bytes for k heads and d traits; one pass over the log.
    """

    def __init__(self, log: Log, heads: tuple[str, ...], group: np.ndarray, divider: int) -> None:
        self._heads, self._group, self._divider = heads, group, divider
        self._traits = item_traits(log)
        kinds, width = len(heads), self._traits.shape[1]
        self._rows, self._total = 0.0, np.zeros(kinds)
        self._user, self._user_rows = np.zeros((log.users, kinds)), np.zeros(log.users)
        self._item, self._item_rows = np.zeros((log.items, kinds)), np.zeros(log.items)
        self._promised = np.zeros((log.items, kinds))
        groups = int(group.max(initial=-1)) + 2  # the last one is of items of no group
        self._of_group, self._group_rows = np.zeros((groups, kinds)), np.zeros(groups)
        # Both sides of each: what was taken, and what was passed over.
        self._taste, self._taste_rows = np.zeros((2, log.users, width)), np.zeros((2, log.users))
        self._audience, self._audience_rows = np.zeros((2, log.items, width)), np.zeros((2, log.items))

    def add_day(self, part: Log) -> None:
        """Add the interactions of the day after those so far."""
        kinds = self.outcomes(part)
        user, item = np.asarray(part.user), np.asarray(part.item)
        self._meet(user, item, kinds)
        self._remember(user, item, kinds)
        self._rows += len(user)
        self._total += kinds.sum(0)
        add_rows(self._user, user, kinds)
        add_rows(self._item, item, kinds)
        add_rows(self._of_group, self._group[item], kinds)
        for counts, row in ((self._user_rows, user), (self._item_rows, item), (self._group_rows, self._group[item])):
            np.add.at(counts, row, 1.0)
        # Nothing is known of no group.
        self._of_group[-1], self._group_rows[-1] = 0.0, 0.0

    def outcomes(self, part: Log) -> np.ndarray:
        """float64[n, heads]: which feedback each interaction brought."""
        return np.stack([part.kinds[kind] for kind in self._heads], 1).astype(np.float64)

    def users(self, rows: np.ndarray) -> np.ndarray:
        """float32[n, heads + 3 + 2 d]: log-odds of the user's rates less everybody's, log counts (of all, of what was taken
        and passed over lately), and the user's taste."""
        counts = np.stack([self._user_rows[rows], *self._taste_rows[:, rows]], 1)
        odds = log_odds(self._user_rates(rows)) - log_odds(self._overall)
        return np.concatenate([odds, np.log1p(counts), *self._tastes(rows)], 1).astype(np.float32)

    def items(self, rows: np.ndarray) -> np.ndarray:
        """float32[n, d + heads + 1]: what is known of an item that nobody has met: traits, and how its group fared."""
        return new_item_inputs(self._traits[rows], self.groups()[self._group[rows]])

    def groups(self) -> np.ndarray:
        """float32[groups + 1, heads + 1]: log-odds of each group's rates less everybody's, and log count; unknown last."""
        odds = log_odds(self._group_rates(slice(None))) - log_odds(self._overall)
        return np.concatenate([odds, np.log1p(self._group_rows)[:, None]], 1).astype(np.float32)

    def met(self, rows: np.ndarray) -> np.ndarray:
        """float32[n, 2 heads + 2 + 2 d]: who met an item so far, and what came of it (the paper's EF).

        Log-odds of its rates less its group's, how much more than its users' own rates promised, log counts (of all and of
        those who took it), and the mean tastes, as they were before that day, of those who took it and of those who passed
        it over. 0 where nobody met it.
        """
        above = self._group_rates(self._group[rows])
        odds = log_odds(_drawn(self._item[rows], self._item_rows[rows], above, _ITEM)) - log_odds(above)
        beyond = (self._item[rows] - self._promised[rows]) / (self._item_rows[rows] + _ITEM)[:, None]
        counts = np.log1p(np.stack([self._item_rows[rows], self._audience_rows[0, rows]], 1))
        mean = self._audience[:, rows] / (self._audience_rows[:, rows] + _AUDIENCE)[:, :, None]
        return np.concatenate([odds, beyond, counts, *mean], 1).astype(np.float32)

    @property
    def _overall(self) -> np.ndarray:
        return (self._total + 0.5) / (self._rows + 1.0)

    def _user_rates(self, rows: np.ndarray) -> np.ndarray:
        return _drawn(self._user[rows], self._user_rows[rows], self._overall, _USER)

    def _group_rates(self, rows: np.ndarray | slice) -> np.ndarray:
        return _drawn(self._of_group[rows], self._group_rows[rows], self._overall, _GROUP)

    def _tastes(self, rows: np.ndarray) -> np.ndarray:
        """float64[2, n, d]: means over what the users took and passed over, drawn towards 0 by one interaction."""
        return np.asarray(self._taste[:, rows] / (self._taste_rows[:, rows] + 1.0)[:, :, None])

    def _meet(self, user: np.ndarray, item: np.ndarray, kinds: np.ndarray) -> None:
        """Who met the items, as they were known before this day."""
        add_rows(self._promised, item, self._user_rates(user))
        who, place = np.unique(user, return_inverse=True)
        taste = self._taste[0, who] / (self._taste_rows[0, who] + 1.0)[:, None]
        for side, rows in enumerate(self._sides(kinds)):
            add_products(self._audience[side], item[rows], place[rows], taste)
            np.add.at(self._audience_rows[side], item[rows], 1.0)

    def _remember(self, user: np.ndarray, item: np.ndarray, kinds: np.ndarray) -> None:
        fade = 0.5 ** (1.0 / HALF_LIFE)
        self._taste *= fade
        self._taste_rows *= fade
        for side, rows in enumerate(self._sides(kinds)):
            what, place = np.unique(item[rows], return_inverse=True)
            add_products(self._taste[side], user[rows], place, self._traits[what].astype(np.float64))
            np.add.at(self._taste_rows[side], user[rows], 1.0)

    def _sides(self, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        taken = kinds[:, self._divider] > 0
        return np.flatnonzero(taken), np.flatnonzero(~taken)


def new_item_inputs(traits: np.ndarray, group: np.ndarray) -> np.ndarray:
    """As `HeadTotals.items`, from float32[n, d] traits and float32[n, heads + 1] rows of `HeadTotals.groups`."""
    return np.concatenate([traits, group], 1).astype(np.float32)


def _drawn(total: np.ndarray, count: np.ndarray, above: np.ndarray, worth: float) -> np.ndarray:
    """float64[n, heads]: total / count drawn towards ``above`` by ``worth`` interactions; exactly that where count is 0."""
    return np.asarray(above + (total - count[:, None] * above) / (count + worth)[:, None])


def divider(log: Log, heads: tuple[str, ...]) -> int:
    """Place of the head that happened in most nearly half of the interactions."""
    shares = [abs(float(log.kinds[kind].mean()) - 0.5) if len(log) else 0.5 for kind in heads]
    return int(np.argmin(shares))


def log_odds(rate: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of rates kept within 1e-6 of 0 and 1."""
    kept = np.clip(rate, _SMALL, 1 - _SMALL)
    return np.asarray(np.log(kept / (1 - kept)))


def add_rows(total: np.ndarray, row: np.ndarray, values: np.ndarray) -> None:
    """total[row] += values, rows that come more than once too, row -1 being the last; values float[n, m]."""
    add_products(total, row, np.arange(len(row)), values)


def add_products(total: np.ndarray, row: np.ndarray, place: np.ndarray, values: np.ndarray) -> None:
    """total[row] += values[place], without making values[place]; ``row``, ``place`` int[n], ``values`` float[p, m]."""
    if not len(row) or not values.shape[1]:
        return
    here, at = np.unique(np.where(row < 0, len(total) - 1, row), return_inverse=True)
    times = sparse.csr_matrix((np.ones(len(row)), (at, place)), shape=(len(here), len(values)))
    total[here] += times @ values
