"""Arms of an A/B test: shares, stability, independence of order, one person in one arm, strata, and what may be seen."""

import hashlib
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualrec.alloc.ab_assign import Assignment, Design, assign, visible
from dualrec.alloc.ab_hash import uniform
from dualrec.alloc.ab_split import by_stratum
from dualrec.alloc.errors import InputError

HALVES = {"control": 0.5, "treatment": 0.5}
SMALL = {"control": 0.05, "a": 0.1, "b": 0.2}
ids_of_one_kind = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=30),
    st.lists(st.text(max_size=6).filter(lambda text: not text.endswith("\0")), unique=True, max_size=30),
)


def slow_uniform(seed: int, salt: str, one: int | str) -> float:
    """The same number from Python's own integers."""
    mask = 2**64 - 1

    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    kind = "text" if isinstance(one, str) else "integer"
    key = int.from_bytes(hashlib.sha256(f"{seed}:{salt}:{kind}".encode()).digest()[:8], "little")
    if isinstance(one, str):
        for letter in one:
            key = mix((key ^ ord(letter)) + 0x9E3779B97F4A7C15 & mask)
        return (mix(key + len(one) & mask) >> 11) / 2**53
    return (mix(key + 0x9E3779B97F4A7C15 * one & mask) >> 11) / 2**53


def within(count: int, trials: int, share: float) -> bool:
    """Whether a binomial count is within five standard deviations."""
    return abs(count - trials * share) <= 5 * sqrt(trials * share * (1 - share))


@given(ids_of_one_kind, st.integers(-5, 5), st.text(max_size=3))
def test_numbers_are_those_of_the_slow_way(ids: list, seed: int, salt: str) -> None:
    assert uniform(seed, salt, ids).tolist() == [slow_uniform(seed, salt, one) for one in ids]


def test_numbers_are_uniform_and_independent_between_seeds_and_salts() -> None:
    ids = np.arange(40_000)
    draws = [uniform(1, "a", ids), uniform(2, "a", ids), uniform(1, "b", ids), uniform(1, "a", ids.astype(str))]
    for draw in draws:
        cells = np.bincount((draw * 20).astype(int), minlength=20)
        assert ((cells - 2_000) ** 2 / 2_000).sum() < 50  # chi-square with 19 degrees of freedom; P = 1.3e-4
    assert np.abs(np.corrcoef([*draws, np.roll(draws[0], 1)]) - np.eye(5)).max() < 5 / sqrt(40_000)


@pytest.mark.parametrize("shares", [HALVES, SMALL])
@pytest.mark.parametrize("text", [False, True])
def test_arms_have_their_shares(shares: dict, text: bool) -> None:
    creators, users = np.arange(6_000), np.arange(10_000, 50_000)
    if text:
        creators, users = np.char.add("c", creators.astype(str)), np.char.add("u", users.astype(str))
    found = assign("co_diverted", shares, 5, creators, users)
    for arm, share in enumerate(shares.values()):
        assert within(int((found.creator_arm == arm).sum()), 6_000, share)
        assert within(int((found.user_arm == arm).sum()), 40_000, share)
    rest = 1 - sum(shares.values())
    assert within(int((found.user_arm == -1).sum()), 40_000, rest) if rest > 0.01 else (found.user_arm >= 0).all()


@given(ids_of_one_kind, ids_of_one_kind, st.sampled_from(list(Design)), st.booleans(), st.randoms())
def test_an_arm_depends_on_seed_and_id_alone(first: list, second: list, design: Design, together: bool, mixer) -> None:
    whole = assign(design, SMALL, 3, first, second, together=together)
    creators = dict(zip(whole.creators.tolist(), whole.creator_arm.tolist(), strict=True))
    users = dict(zip(whole.users.tolist(), whole.user_arm.tolist(), strict=True))
    some, others = mixer.sample(first, len(first) // 2), mixer.sample(second, len(second) // 2)
    part = assign(design, SMALL, 3, some, others, together=together)
    assert part.creator_arm.tolist() == [creators[one] for one in some]
    assert part.user_arm.tolist() == [users[one] for one in others]
    assert whole.creators.tolist() == first and whole.users.tolist() == second
    later = part.extended(first, second)
    assert dict(zip(later.creators.tolist(), later.creator_arm.tolist(), strict=True)) == creators
    assert dict(zip(later.users.tolist(), later.user_arm.tolist(), strict=True)) == users


@pytest.mark.parametrize("users_by", ["shares", "creators", "weight"])
def test_arms_stay_when_others_come_whatever_the_options(users_by: str) -> None:
    rng = np.random.default_rng(2)
    creators, users = rng.permutation(400), rng.permutation(3_000)
    weight = rng.lognormal(size=300)
    options = {"weight": weight} if users_by == "weight" else {}
    early = assign(
        "co_diverted", HALVES, 1, creators[:300], users[:2_000], stratum=weight, users_by=users_by, **options
    )
    late = early.extended(creators, users)
    assert late.user_shares == early.user_shares
    assert np.array_equal(late.arms_of_creators(creators[:300]), early.creator_arm)
    assert np.array_equal(late.arms_of_users(users[:2_000]), early.user_arm)
    assert np.array_equal(early.arms_of_users(users), late.arms_of_users(users))
    assert np.array_equal(early.arms_of_creators(creators), late.arms_of_creators(creators))
    # Those who are both are in one arm, whichever side they came from first.
    assert np.array_equal(late.arms_of_users(creators), late.arms_of_creators(creators))
    in_another_order = assign(
        "co_diverted", HALVES, 1, creators[:300][::-1], users, stratum=weight[::-1], users_by="creators"
    )
    assert np.array_equal(in_another_order.creator_arm[::-1], early.creator_arm)


def test_users_are_drawn_by_the_arms_creators_or_their_weight() -> None:
    creators, users = np.arange(2_000), np.arange(100_000, 160_000)
    weight = np.where(np.arange(2_000) < 20, 100.0, 1.0)
    plain, heavy = (
        assign("co_diverted", SMALL, 9, creators, users, users_by=by, weight=weight) for by in ("creators", "weight")
    )
    assert np.array_equal(plain.creator_arm, heavy.creator_arm)
    for arm in range(3):
        mine = plain.creator_arm == arm
        assert plain.user_shares[arm] == pytest.approx(mine.mean())
        assert heavy.user_shares[arm] == pytest.approx(weight[mine].sum() / weight.sum())
        assert within(int((heavy.user_arm == arm).sum()), 60_000, heavy.user_shares[arm])


def test_one_person_or_two() -> None:
    both = np.arange(5_000)
    found = assign("co_diverted", HALVES, 0, both, both, stratum=both % 7)
    assert np.array_equal(found.creator_arm, found.user_arm)
    apart = assign("co_diverted", HALVES, 0, both, both, together=False)
    assert within(int((apart.creator_arm == apart.user_arm).sum()), 5_000, 0.5)


def test_a_side_that_is_not_split_is_outside() -> None:
    ids = np.arange(50)
    assert (assign("user_diverted", HALVES, 0, ids, ids).creator_arm == -1).all()
    assert (assign("creator_only", HALVES, 0, ids, ids).user_arm == -1).all()


def test_strata_balance_better_than_chance() -> None:
    stratum = np.random.default_rng(0).lognormal(0, 1.5, 1_000)
    creators = np.arange(1_000)

    def imbalance(found: Assignment) -> float:
        one, two = (np.log(stratum)[found.creator_arm == arm].mean() for arm in (0, 1))
        return abs(one - two)

    plain = [imbalance(assign("co_diverted", HALVES, seed, creators, [])) for seed in range(40)]
    even = [imbalance(assign("co_diverted", HALVES, seed, creators, [], stratum=stratum)) for seed in range(40)]
    assert max(even) < np.median(plain) / 4
    assert np.mean(even) < np.mean(plain) / 10


@given(st.integers(1, 60), st.sampled_from([HALVES, SMALL, {"c": 1 / 3, "t": 1 / 3, "s": 1 / 3}]))
def test_a_stratum_keeps_the_chances(count: int, shares: dict) -> None:
    """Over many seeds each creator is in each arm as often as in the plain draw, wherever it stands in its stratum."""
    stratum, parts, seeds = np.arange(count) // 3, tuple(shares.values()), 400
    arms = np.array([by_stratum(uniform(s, "x", np.arange(count)), stratum, parts, s) for s in range(seeds)])
    for arm, share in enumerate(parts):
        assert all(within(int(hits), seeds, share) for hits in (arms == arm).sum(0))
        assert within(int((arms == arm).sum()), seeds * count, share)


def test_what_may_be_seen() -> None:
    user, creator = np.array([0, 1, -1]), np.array([1, -1])
    assert visible("co_diverted", user[:, None], creator).tolist() == [[False, False], [True, False], [False, True]]
    assert visible(Design.USER_DIVERTED, user[:, None], creator).all()
    assert visible("creator_only", user, 1).shape == (3,)
    assert visible("co_diverted", user, 1).tolist() == [False, True, False]


def test_arms_are_disjoint_in_what_they_see() -> None:
    found = assign("co_diverted", SMALL, 4, np.arange(500), np.arange(1_000, 3_000))
    seen = visible(found.design, found.user_arm[:, None], found.creator_arm)
    for creator in range(500):
        assert set(found.user_arm[seen[:, creator]].tolist()) <= {int(found.creator_arm[creator])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"design": "codiverted"}, "design 'codiverted', expected one of co_diverted, user_diverted, creator_only"),
        ({"shares": {"control": 1.0}}, "expected 2 to 100 arms"),
        ({"shares": {}}, "none; expected 2 to 100 arms"),
        ({"shares": {"control": 0.6, "treatment": 0.6}}, "sum to at most 1"),
        ({"shares": {"control": 0.6, "treatment": -0.1}}, "numbers over 0"),
        ({"shares": {"control": 0.6, "treatment": float("nan")}}, "numbers over 0"),
        ({"shares": {"outside": 0.5, "treatment": 0.5}}, "none of them empty or 'outside'"),
        ({"creators": ["a", "b", "a"]}, "creator id 'a' stands twice"),
        ({"users": [4, 5, 4]}, "user id 4 stands twice"),
        ({"users": [1.5]}, "user ids have dtype float64"),
        ({"stratum": [1.0]}, r"stratum has shape \(1,\), expected 3 finite numbers"),
        ({"stratum": [1.0, float("nan"), 2.0]}, "3 finite numbers"),
        ({"users_by": "weight"}, "weight has shape"),
        ({"users_by": "weight", "weight": [0.0, 0.0, 0.0]}, "arm '.*' has 0"),
        ({"users_by": "weight", "weight": [5.0, -1.0, 9.0]}, "weights >= 0"),
        ({"users_by": "creators", "creators": [1]}, "has 0"),
        ({"design": "user_diverted", "stratum": [1.0, 2.0, 3.0]}, "designs that split creators"),
    ],
)
def test_what_is_unfit_is_refused(change: dict, message: str) -> None:
    given = {"design": "co_diverted", "shares": HALVES, "seed": 0, "creators": [1, 2, 3], "users": [4, 5]} | change
    with pytest.raises(InputError, match=message):
        assign(**given)


def test_ids_of_another_kind_are_refused_where_they_are_looked_up() -> None:
    found = assign("co_diverted", HALVES, 0, ["a", "b"], [1, 2])  # a creator "1" would be another person
    assert found.arms_of_users([1, 2]).tolist() == found.user_arm.tolist()
    with pytest.raises(InputError, match="user ids are strings here"):
        found.arms_of_users(["1"])
    with pytest.raises(InputError, match="creator ids are integers here"):
        found.extended([3], [])
