"""What the heads' network knows of users, items and groups: against plain loops, and nothing of later days."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualrec.models.head_totals import HeadTotals, add_rows, divider, log_odds
from dualrec.models.head_training import head_rows
from dualrec.models.log import Log
from dualrec.models.traits import category_codes, item_traits

USERS, ITEMS, GROUPS, TOKENS, DAYS = 4, 5, 3, 2, 9
HEADS = ("like", "comment", "skip")
GROUP = np.array([0, 0, 1, -1, 2], np.int32)
QUIET = (3, 4)
EVERYBODY, EVERY_ITEM = np.arange(USERS), np.arange(ITEMS)
SEEDS, COUNTS = st.integers(0, 10_000), st.integers(0, 40)
KNOWN_BY = st.sampled_from(["content", "category", "nothing"])


def made_log(seed: int, count: int, known_by: str) -> Log:
    """Interactions of nine days, two of them without any; few pairs, so that many meet again on the same day."""
    generator = np.random.default_rng(seed)
    days = np.setdiff1d(np.arange(DAYS), QUIET)
    token = np.arange(ITEMS) if known_by == "nothing" else np.array([0, 1, -1, 1, 0])
    return Log(
        user=generator.integers(0, USERS, count).astype(np.int32),
        item=generator.integers(0, ITEMS, count).astype(np.int32),
        day=np.sort(generator.choice(days, count) + generator.integers(0, 3, count) / 4),
        kinds={
            name: generator.random(count) < share
            for name, share in zip(HEADS, (0.5, 0.2, generator.random()), strict=True)
        },
        users=USERS,
        items=ITEMS,
        upload=np.zeros(ITEMS),
        token=token.astype(np.int32),
        tokens=ITEMS if known_by == "nothing" else TOKENS,
        content=generator.normal(size=(ITEMS, 3 if known_by == "content" else 0)).astype(np.float32),
    )


def totals_of(log: Log, last: int, divides: int = 0, group: np.ndarray = GROUP) -> HeadTotals:
    """At the end of the day ``last``."""
    totals = HeadTotals(log, HEADS, group, divides)
    for day in range(last + 1):
        totals.add_day(log.between(day, day))
    return totals


def odds(rate: np.ndarray) -> np.ndarray:
    return np.log(rate / (1 - rate))


class Told:
    """One interaction: its day, user, item, group, outcomes, and the item's traits."""

    def __init__(self, log: Log, row: int, traits: np.ndarray) -> None:
        self.day, self.user, self.item = int(log.day[row]), int(log.user[row]), int(log.item[row])
        self.group, self.traits = int(GROUP[self.item]), traits[self.item].astype(float)
        self.came = np.array([float(log.kinds[kind][row]) for kind in HEADS])


class Slow:
    """What is known at the end of a day, from the list of the interactions until then."""

    def __init__(self, log: Log, last: int, divides: int) -> None:
        self.traits, self.last, self.divides = slow_traits(log), last, divides
        told = [Told(log, row, self.traits) for row in range(len(log))]
        self.told = [one for one in told if one.day <= last]
        self.before = Slow(log, last - 1, divides) if last >= 0 else None
        came = sum((one.came for one in self.told), np.zeros(len(HEADS)))
        self.overall = (came + 0.5) / (len(self.told) + 1)

    def rate(self, told: Iterable[Told], above: np.ndarray, worth: float) -> np.ndarray:
        own = [one.came for one in told]
        return (sum(own, np.zeros(len(HEADS))) + worth * above) / (len(own) + worth)

    def user_rate(self, user: int) -> np.ndarray:
        return self.rate([one for one in self.told if one.user == user], self.overall, 20.0)

    def group_told(self, group: int) -> list[Told]:
        return [one for one in self.told if one.group == group and group >= 0]

    def group_rate(self, group: int) -> np.ndarray:
        return self.rate(self.group_told(group), self.overall, 50.0)

    def side(self, taken: bool) -> list[Told]:
        return [one for one in self.told if (one.came[self.divides] > 0) == taken]

    def taste(self, user: int, taken: bool) -> tuple[np.ndarray, float]:
        """The mean, drawn towards 0, and how many interactions it is of, each half after 15 days."""
        total, count = np.zeros(self.traits.shape[1]), 0.0
        for one in self.side(taken):
            if one.user == user:
                weight = 0.5 ** ((self.last - one.day) / 15)
                total, count = total + weight * one.traits, count + weight
        return total / (count + 1), count

    def user(self, user: int) -> np.ndarray:
        (took, some), (passed, others) = self.taste(user, True), self.taste(user, False)
        counts = np.log1p([sum(one.user == user for one in self.told), some, others])
        return np.concatenate([odds(self.user_rate(user)) - odds(self.overall), counts, took, passed])

    def group(self, group: int) -> np.ndarray:
        count = np.log1p(len(self.group_told(group)))
        return np.append(odds(self.group_rate(group)) - odds(self.overall), count)

    def met(self, item: int) -> np.ndarray:
        own = [one for one in self.told if one.item == item]
        above = self.group_rate(int(GROUP[item]))
        beyond = np.zeros(len(HEADS))
        for one in own:
            beyond += one.came - self.until(one.day - 1).user_rate(one.user)
        means = []
        for taken in (True, False):
            tastes = [self.until(one.day - 1).taste(one.user, True)[0] for one in self.side(taken) if one.item == item]
            means.append(sum(tastes, np.zeros(self.traits.shape[1])) / (len(tastes) + 3))
        counts = np.log1p([len(own), sum(one.item == item for one in self.side(True))])
        fared = odds(self.rate(own, above, 20.0)) - odds(above)
        return np.concatenate([fared, beyond / (len(own) + 20), counts, *means])

    def until(self, day: int) -> "Slow":
        return self if day >= self.last or self.before is None else self.before.until(day)


def slow_traits(log: Log) -> np.ndarray:
    if log.content.shape[1]:
        return log.content
    if log.tokens_are_items:
        return np.zeros((ITEMS, 0))
    return np.array([[float(token == place) for place in range(TOKENS)] for token in log.token])


@given(seed=SEEDS, count=COUNTS, known_by=KNOWN_BY, last=st.integers(-1, DAYS - 1), divides=st.integers(0, 2))
def test_inputs_are_those_of_a_slow_twin(seed: int, count: int, known_by: str, last: int, divides: int) -> None:
    log = made_log(seed, count, known_by)
    totals, slow = totals_of(log, last, divides), Slow(log, last, divides)
    width = slow.traits.shape[1]
    groups = np.stack([slow.group(group) for group in (*range(GROUPS), -1)])
    expected = {
        "users": np.stack([slow.user(user) for user in EVERYBODY]),
        "items": np.concatenate([slow.traits, groups[GROUP]], 1),
        "groups": groups,
        "met": np.stack([slow.met(item) for item in EVERY_ITEM]),
    }
    found = {
        "users": totals.users(EVERYBODY),
        "items": totals.items(EVERY_ITEM),
        "groups": totals.groups(),
        "met": totals.met(EVERY_ITEM),
    }
    assert found["users"].shape == (USERS, len(HEADS) + 3 + 2 * width)
    assert found["items"].shape == (ITEMS, width + len(HEADS) + 1)
    assert found["groups"].shape == (GROUPS + 1, len(HEADS) + 1)
    assert found["met"].shape == (ITEMS, 2 * len(HEADS) + 2 + 2 * width)
    for name, values in found.items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert not found["groups"][-1].any(), "nothing is known of no group"
    assert not found["users"][~np.isin(EVERYBODY, log.user[log.day < last + 1])].any(), "nor of who never came"
    assert not found["met"][~np.isin(EVERY_ITEM, log.item[log.day < last + 1])].any(), "0 where nobody met it"


@given(seed=SEEDS, count=COUNTS, known_by=KNOWN_BY)
def test_rows_are_asked_for_in_any_order(seed: int, count: int, known_by: str) -> None:
    totals = totals_of(made_log(seed, count, known_by), DAYS - 1)
    users, items = np.array([3, 0, 3], np.int64), np.array([4, 3, 4, 0], np.int64)
    assert (totals.users(users) == totals.users(EVERYBODY)[users]).all()
    assert (totals.items(items) == totals.items(EVERY_ITEM)[items]).all()
    assert (totals.met(items) == totals.met(EVERY_ITEM)[items]).all()
    nobody = np.zeros(0, np.int64)
    for asked in (totals.users, totals.items, totals.met):
        assert asked(nobody).shape == (0, asked(np.zeros(1, np.int64)).shape[1])


def test_one_pair_met_twice_on_a_day_by_hand() -> None:
    """Both interactions count, and neither knows of the other: the promise is the rate from before the day."""
    log = replace(
        made_log(0, 2, "category"),
        user=np.zeros(2, np.int32),
        item=np.zeros(2, np.int32),
        day=np.array([1.0, 1.5]),
        kinds={"like": np.array([True, False]), "comment": np.zeros(2, bool), "skip": np.zeros(2, bool)},
    )
    totals = totals_of(log, 1)
    assert totals.users(EVERYBODY)[0, 3:] == pytest.approx([np.log(3), np.log(2), np.log(2), 0.5, 0, 0.5, 0])
    met = totals.met(EVERY_ITEM)[0]
    assert met[3:8] == pytest.approx([(1 - 2 * 0.5) / 22, -1 / 22, -1 / 22, np.log(3), np.log(2)])
    assert not met[8:].any(), "the user had no taste before that day"


def test_taste_counts_half_after_fifteen_days() -> None:
    log = replace(made_log(0, 1, "category"), item=np.zeros(1, np.int32), day=np.zeros(1), user=np.zeros(1, np.int32))
    log = replace(log, kinds={kind: np.ones(1, bool) for kind in HEADS})
    assert totals_of(log, 0).users(EVERYBODY)[0, -4:] == pytest.approx([1 / 2, 0, 0, 0])
    assert totals_of(log, 15).users(EVERYBODY)[0, -4:] == pytest.approx([0.5 / 1.5, 0, 0, 0])


def test_items_without_any_group_are_as_everybodys() -> None:
    log = made_log(1, 50, "nothing")
    totals = totals_of(log, DAYS - 1, group=np.full(ITEMS, -1, np.int32))
    assert totals.groups().shape == (1, len(HEADS) + 1) and not totals.groups().any()
    assert totals.items(EVERY_ITEM).shape == (ITEMS, len(HEADS) + 1) and not totals.items(EVERY_ITEM).any()
    assert totals.met(EVERY_ITEM).any()


# Rows to learn from


def with_later_days_changed(log: Log, cut: int, seed: int) -> Log:
    """From the day ``cut`` on, other users, items and feedback."""
    generator, later = np.random.default_rng(seed), log.day >= cut
    return replace(
        log,
        user=np.where(later, generator.integers(0, USERS, len(log)), log.user).astype(np.int32),
        item=np.where(later, generator.integers(0, ITEMS, len(log)), log.item).astype(np.int32),
        kinds={name: np.where(later, generator.random(len(log)) < 0.5, flags) for name, flags in log.kinds.items()},
    )


@given(seed=SEEDS, count=COUNTS, known_by=KNOWN_BY, cut=st.integers(0, DAYS))
def test_later_days_never_change_what_is_known_of_a_day(seed: int, count: int, known_by: str, cut: int) -> None:
    log = made_log(seed, count, known_by)
    other = with_later_days_changed(log, cut, seed + 1)
    one, two = (totals_of(each, cut - 1) for each in (log, other))
    for name, rows in (("users", EVERYBODY), ("items", EVERY_ITEM), ("met", EVERY_ITEM)):
        assert getattr(one, name)(rows).tobytes() == getattr(two, name)(rows).tobytes()
    assert one.groups().tobytes() == two.groups().tobytes()


@given(seed=SEEDS, count=COUNTS, known_by=KNOWN_BY, cut=st.integers(0, DAYS - 1))
def test_a_rows_own_day_is_not_among_its_inputs(seed: int, count: int, known_by: str, cut: int) -> None:
    """Of one head, so that it is this one that divides: with its outcomes of the day and later turned, the same inputs."""
    log = made_log(seed, count, known_by)
    turned = replace(log, kinds={"like": log.kinds["like"] ^ (log.day >= cut)})
    one, two = (head_rows(each, ("like",), GROUP, ((0, cut),), 1000)[0][0] for each in (log, turned))
    assert one.row.tolist() == two.row.tolist() == np.flatnonzero(log.day < cut + 1).tolist()
    for name in ("users", "items", "met", "ids", "user", "item"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    today = log.day[one.row] >= cut
    assert (one.outcomes[today] == 1 - two.outcomes[today]).all() and (one.outcomes == two.outcomes)[~today].all()


@given(seed=SEEDS, count=COUNTS, known_by=KNOWN_BY, first=st.integers(0, DAYS), length=st.integers(0, DAYS))
def test_rows_are_seen_with_what_was_known_before_their_day(
    seed: int, count: int, known_by: str, first: int, length: int
) -> None:
    log = made_log(seed, count, known_by)
    divides = divider(log, HEADS)
    spans = ((first, first + length - 1), (0, DAYS))
    parts, after = head_rows(log, HEADS, GROUP, spans, 1000)
    for (start, end), rows in zip(spans, parts, strict=True):
        assert rows.row.tolist() == np.flatnonzero((log.day >= start) & (log.day < end + 1)).tolist()
        assert rows.users.dtype == rows.items.dtype == rows.met.dtype == rows.outcomes.dtype == np.float32
        assert rows.ids.dtype == rows.user.dtype == rows.item.dtype == rows.row.dtype == np.int64
        for place, row in enumerate(rows.row):
            known = totals_of(log, int(log.day[row]) - 1, divides)
            user, item = log.user[[row]], log.item[[row]]
            assert (rows.users[rows.user[place]] == known.users(user)[0]).all()
            assert (rows.items[rows.item[place]] == known.items(item)[0]).all()
            assert (rows.met[rows.item[place]] == known.met(item)[0]).all()
            assert rows.ids[rows.item[place]] == item[0]
            assert rows.outcomes[place].tolist() == [float(log.kinds[kind][row]) for kind in HEADS]
    last = int(log.day[-1]) if count else -1
    for name, chosen in (("users", EVERYBODY), ("met", EVERY_ITEM), ("items", EVERY_ITEM)):
        assert (getattr(after, name)(chosen) == getattr(totals_of(log, last, divides), name)(chosen)).all()


def test_an_empty_log_has_rows_of_the_same_widths() -> None:
    (some,), _ = head_rows(made_log(0, 30, "category"), HEADS, GROUP, ((0, DAYS),), 1000)
    (none,), totals = head_rows(made_log(0, 0, "category"), HEADS, GROUP, ((0, DAYS),), 1000)
    for name in ("users", "items", "met", "outcomes"):
        assert getattr(none, name).shape == (0, getattr(some, name).shape[1])
    assert len(none.row) == len(none.user) == len(none.item) == len(none.ids) == 0
    assert not totals.users(EVERYBODY).any()


@pytest.mark.parametrize("most", [1, 7, 50, 299, 300, 301])
def test_thinned_rows_are_evenly_over_the_days(most: int) -> None:
    log = replace(made_log(0, 300, "category"), day=np.sort(np.random.default_rng(0).uniform(0, 4, 300)))
    (rows,), _ = head_rows(log, HEADS, GROUP, ((1, 2),), most)
    asked = np.flatnonzero((log.day >= 1) & (log.day < 3))
    assert 0 < len(rows.row) <= min(most, len(asked)) and (len(rows.row) == len(asked)) == (most >= len(asked))
    assert (np.diff(rows.row) > 0).all() and np.isin(rows.row, asked).all()
    share = len(rows.row) / len(asked)
    for day in (1, 2):
        taken, there = (np.sum(np.floor(log.day[which]) == day) for which in (rows.row, asked))
        assert abs(taken - share * there) <= 1


# Parts


@given(seed=SEEDS, count=COUNTS)
def test_the_divider_is_the_most_even_head(seed: int, count: int) -> None:
    log = made_log(seed, count, "category")
    uneven = [abs(sum(log.kinds[kind]) / count - 0.5) if count else 0.5 for kind in HEADS]
    assert divider(log, HEADS) == uneven.index(min(uneven))
    assert divider(log, HEADS[2:]) == 0


def test_log_odds_are_finite_at_both_ends() -> None:
    ends = np.log((1 - 1e-6) / 1e-6)
    assert log_odds(np.array([0.0, 1.0, 0.5, 0.2])) == pytest.approx([-ends, ends, 0.0, np.log(0.25)])


@given(seed=SEEDS, count=st.integers(0, 30), rows=st.integers(1, 5), width=st.integers(0, 3))
def test_rows_are_added_however_often_they_come(seed: int, count: int, rows: int, width: int) -> None:
    generator = np.random.default_rng(seed)
    total, row = generator.normal(size=(rows, width)), generator.integers(-1, rows, count)
    values, expected = generator.normal(size=(count, width)), total.copy()
    np.add.at(expected, row, values)
    add_rows(total, row, values)
    np.testing.assert_allclose(total, expected, atol=1e-12)


@pytest.mark.parametrize("tokens", [0, 1, 2, 32, 33, 500])
def test_category_codes_are_as_good_as_one_number_each(tokens: int) -> None:
    codes = category_codes(tokens)
    assert codes.shape == (tokens + 1, min(tokens, 32)) and codes.dtype == np.float32
    assert codes.tobytes() == category_codes(tokens).tobytes()
    assert not codes[-1].any()
    product = (codes @ codes.T)[:-1, :-1]
    np.testing.assert_allclose(np.diag(product), 1, rtol=1e-6)
    others = product[~np.eye(tokens, dtype=bool)]
    if tokens <= 32:
        assert not others.any()
    else:
        assert abs(others.mean()) < 0.03 and others.std() == pytest.approx(32**-0.5, rel=0.1)
        assert np.abs(others).max() < 1, "no two have the same code"


def test_traits_are_the_content_or_the_category() -> None:
    with_content, with_category, with_nothing = (made_log(3, 5, by) for by in ("content", "category", "nothing"))
    assert (item_traits(with_content) == with_content.content).all()
    assert item_traits(with_category).tolist() == [[1, 0], [0, 1], [0, 0], [0, 1], [1, 0]]
    assert item_traits(with_nothing).shape == (ITEMS, 0)
    many = replace(with_category, tokens=100)
    assert item_traits(many).tobytes() == category_codes(100)[many.token].tobytes()
