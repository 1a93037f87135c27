"""The built-in world: its marginals, its independence of later days, and that a seed fixes it."""

import numpy as np
import pytest

from dualrec.alloc.config import load_config
from dualrec.alloc.errors import InputError
from dualrec.alloc.tables import Interactions, Tables
from dualrec.alloc.world import WorldOptions, make_world

OPTIONS = WorldOptions(users=3000, creators=300, items_per_day=60.0, days=28)


@pytest.fixture(scope="module")
def world() -> Tables:
    return make_world(OPTIONS, seed=3)


def active_days(tables: Tables) -> np.ndarray:
    """bool[users, days]: who visited when."""
    log = tables.interactions
    active = np.zeros((len(tables.users), tables.last_day + 1), bool)
    active[log.user, tables.day_of(log.time)] = True
    return active


def gini(counts: np.ndarray) -> float:
    ordered = np.sort(counts)
    ranks = np.arange(1, len(ordered) + 1)
    return float(2 * (ranks * ordered).sum() / (len(ordered) * ordered.sum()) - (len(ordered) + 1) / len(ordered))


def assert_same(one: Interactions, other: Interactions) -> None:
    assert np.array_equal(one.user, other.user)
    assert np.array_equal(one.item, other.item)
    assert np.array_equal(one.time, other.time)
    assert one.kinds.keys() == other.kinds.keys()
    assert all(np.array_equal(one.kinds[kind], other.kinds[kind]) for kind in one.kinds)


def test_seed_fixes_the_world(world: Tables) -> None:
    again, other = make_world(OPTIONS, seed=3), make_world(OPTIONS, seed=4)
    assert_same(world.interactions, again.interactions)
    assert np.array_equal(world.item_content, again.item_content)
    assert len(other.interactions) != len(world.interactions) or not np.array_equal(
        other.interactions.user, world.interactions.user
    )


def test_longer_world_begins_with_the_shorter(world: Tables) -> None:
    short = make_world(OPTIONS.model_copy(update={"days": 10}), seed=3)
    assert_same(short.interactions, world.until(9))
    assert np.array_equal(short.items.ids, world.items.ids[: len(short.items)])
    assert np.array_equal(short.item_content, world.item_content[: len(short.items)])


def test_has_every_kind_at_a_plausible_rate(world: Tables) -> None:
    rate = {kind: float(flags.mean()) for kind, flags in world.interactions.kinds.items()}
    assert rate.pop("view") == 1.0
    assert 0.25 < rate["effective_view"] < 0.6
    assert 0.15 < rate["skip"] < 0.45
    assert 0.02 < rate["like"] < 0.12
    for rare in ("comment", "follow", "share", "profile_visit"):
        assert 0.001 < rate[rare] < rate["like"]
    kinds = world.interactions.kinds
    assert not (kinds["skip"] & kinds["effective_view"]).any()


def test_daily_active_share_and_weekend(world: Tables) -> None:
    share = active_days(world).mean(axis=0)
    weekend = np.arange(len(share)) % 7 >= 5
    assert abs(share.mean() - OPTIONS.daily_active_share) < 0.03
    assert share[weekend].mean() > 1.1 * share[~weekend].mean()


def test_most_users_come_seldom(world: Tables) -> None:
    visits = active_days(world).sum(axis=1)
    assert np.median(visits) < 0.9 * visits.mean()
    assert 0.35 < gini(visits) < 0.75
    seen = np.bincount(world.interactions.user, minlength=len(world.users))
    assert gini(seen) > gini(visits)


def test_some_users_come_at_weekends_and_some_on_weekdays(world: Tables) -> None:
    active = active_days(world)
    active = active[active.sum(axis=1) >= 8]
    share_at_weekend = active[:, np.arange(active.shape[1]) % 7 >= 5].sum(axis=1) / active.sum(axis=1)
    assert (share_at_weekend > 0.55).mean() > 0.03
    assert (share_at_weekend < 0.15).mean() > 0.03


def test_visits_come_in_runs(world: Tables) -> None:
    """Apart from the user's own week-by-week mean, a visit makes one on the next day likelier, less so later."""
    active = active_days(world).astype(float)
    residual = active - active.mean(axis=1, keepdims=True)
    weekly = residual.reshape(len(active), -1, 7)
    residual = (weekly - weekly.mean(axis=1, keepdims=True)).reshape(active.shape)
    lag = [(residual[:, k:] * residual[:, :-k]).mean() / (residual**2).mean() for k in (1, 2, 6)]
    assert lag[0] > 0.05
    assert lag[0] > lag[1] > lag[2]


def test_uploads_audience_and_visits_are_heavy_tailed(world: Tables) -> None:
    assert gini(np.bincount(world.item_creator, minlength=OPTIONS.creators)) > 0.5
    assert gini(np.bincount(world.interactions.item, minlength=len(world.items))) > 0.4
    log = world.interactions
    visit = log.user.astype(np.int64) * 100 + world.day_of(log.time)
    size = np.unique(visit, return_counts=True)[1]
    assert np.median(size) < 0.8 * size.mean()
    assert np.quantile(size, 0.99) > 4 * size.mean()
    assert abs(size.mean() / OPTIONS.items_per_visit - 1) < 0.25


def test_items_live_a_few_days_and_new_ones_have_their_share(world: Tables) -> None:
    log = world.interactions
    age = world.day_of(log.time) - world.day_of(world.item_time)[log.item]
    share = np.bincount(age, minlength=12) / len(age)
    assert 0.08 < share[0] < OPTIONS.new_item_share + 0.05
    assert share[1] > share[3] > share[6]
    assert share[:8].sum() > 0.9


def test_nothing_is_seen_before_its_upload_or_by_its_creator(world: Tables) -> None:
    log = world.interactions
    assert (world.item_time[log.item] < log.time).all()
    author = world.creators.ids[world.item_creator[log.item]]
    assert (author != world.users.ids[log.user]).all()
    assert np.isin(world.creators.ids, world.users.ids).all()


def test_content_is_unit_and_of_its_topic(world: Tables) -> None:
    assert np.allclose(np.linalg.norm(world.item_content, axis=1), 1, atol=1e-5)
    centre = np.stack([world.item_content[world.item_category == topic].mean(axis=0) for topic in range(5)])
    nearest = np.argmax(world.item_content @ centre.T, axis=1)
    known = world.item_category < 5
    assert (nearest[known] == world.item_category[known]).mean() > 0.95


def test_taste_learned_in_the_first_half_shows_in_the_second(world: Tables) -> None:
    early, late = world.until(13), world.between(14, world.last_day)
    watched = early.kinds["effective_view"]
    taste = np.zeros((len(world.users), OPTIONS.content_dim), np.float64)
    np.add.at(taste, early.user[watched], world.item_content[early.item[watched]])
    taste /= np.maximum(np.linalg.norm(taste, axis=1, keepdims=True), 1e-9)
    fit = np.einsum("nd,nd->n", taste[late.user], world.item_content[late.item])
    known = np.linalg.norm(taste, axis=1)[late.user] > 0.5
    liked, skipped = known & late.kinds["like"], known & late.kinds["skip"]
    assert fit[liked].mean() > fit[skipped].mean() + 0.05


def test_some_users_react_to_everything(world: Tables) -> None:
    """The share of likes of the same users agrees between odd and even rows far beyond chance."""
    log = world.interactions
    half = np.arange(len(log)) % 2 == 0
    seen = [np.bincount(log.user[part], minlength=len(world.users)) for part in (half, ~half)]
    likes = [np.bincount(log.user[part & log.kinds["like"]], minlength=len(world.users)) for part in (half, ~half)]
    often = (seen[0] >= 30) & (seen[1] >= 30)
    rates = [like[often] / count[often] for like, count in zip(likes, seen, strict=True)]
    assert np.corrcoef(*rates)[0, 1] > 0.3
    assert np.quantile(rates[0], 0.95) > 3 * np.median(rates[0])


def test_options_refuse_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="creators is 50, expected at most users = 20"):
        WorldOptions(users=20, creators=50)
    with pytest.raises(ValueError, match="topics_per_user is 3, expected at most topics = 2"):
        WorldOptions(topics=2)
    with pytest.raises(ValueError, match="item_per_day"):
        WorldOptions(item_per_day=3)  # type: ignore[call-arg]


def test_seed_must_not_be_negative() -> None:
    with pytest.raises(InputError, match="seed is -1, expected an integer >= 0"):
        make_world(OPTIONS, seed=-1)


@pytest.mark.parametrize("seed", range(3))
def test_tiny_worlds_work_or_say_why_not(seed: int) -> None:
    options = WorldOptions(users=10, creators=1, items_per_day=0.05, days=1, topics=3, content_dim=2)
    try:
        tables = make_world(options, seed)
    except InputError as error:
        assert "expected" in str(error)
    else:
        assert len(tables.interactions)


def test_the_default_config_holds_the_default_world() -> None:
    assert load_config("nightly", []).data.world == WorldOptions()
