"""The built-in world: a seeded generator of users, creators, items, visits and feedback of many kinds.

Marginals are those of a young content service: most users come seldom, visits come in runs and follow the week,
uploads, quality and audience are heavy-tailed, items live a few days, and some users react to everything.
"""

import numpy as np

from .errors import InputError
from .tables import DAY_MS, Interactions, Tables
from .vocabulary import Vocabulary
from .world_days import (
    DAYS_BEFORE,
    Items,
    Seen,
    exposure_weights,
    join_items,
    make_exposure,
    make_feedback,
    make_uploads,
    make_visits,
    next_mood,
)
from .world_options import WorldOptions
from .world_people import Draw, Population, Users, generator, make_population

__all__ = ["WorldOptions", "make_world"]

DAY_START_MS = 1_704_067_200_000  # 2024-01-01 00:00 UTC, a Monday
DAYS_REMEMBERED = 7  # days for which an item is not shown to the same user again
FIRST_ITEM_ID = 1_000_000
_NOTES = ("The built-in world is simulated: figures measured on it say nothing about a real service.",)


def make_world(options: WorldOptions, seed: int) -> Tables:
    """The world of ``options`` and ``seed`` (an integer >= 0): the same arguments give the same tables.

    A day depends on the days before it and on nothing later, so a longer world begins with the shorter one.
    Raises InputError if no item or no visit came about (a world of a few users and days).
    """
    if seed < 0:
        raise InputError(f"seed is {seed}, expected an integer >= 0")
    population = make_population(options, seed)
    days = range(-DAYS_BEFORE, options.days)
    items = join_items([make_uploads(options, population, seed, day) for day in days])
    if not len(items.time):
        raise InputError(f"the world has no item, expected more than items_per_day = {options.items_per_day} gives")
    return _tables(population, items, _make_interactions(options, population, items, seed))


def _make_interactions(options: WorldOptions, population: Population, items: Items, seed: int) -> Interactions:
    users = population.users
    parts: list[tuple[Seen, dict[str, np.ndarray]]] = []
    likes = np.zeros(len(items.time), np.int64)
    mood, engaged = users.mood, users.engaged
    for day in range(options.days):
        mood, engaged, rng = next_mood(mood, engaged, seed, day)
        visits = make_visits(users, mood, engaged, day, rng)
        out = int(np.searchsorted(items.time, (day + 1) * DAY_MS))  # items uploaded by the end of the day
        if not out or not len(visits[0]):
            continue
        known = Items(*(values[:out] for values in vars(items).values()))
        weight = exposure_weights(options, known, likes[:out], day)
        seen = make_exposure(population, known, weight, visits, generator(seed, Draw.EXPOSURE, day))
        seen = _drop_repeats(seen, [earlier for earlier, _ in parts[-DAYS_REMEMBERED:]], len(users.activity))
        kinds = make_feedback(users, items, seen, generator(seed, Draw.FEEDBACK, day))
        likes += np.bincount(seen.item[kinds["like"]], minlength=len(likes))
        parts.append((seen, kinds))
    return _join(parts, users)


def _drop_repeats(seen: Seen, earlier: list[Seen], users: int) -> Seen:
    pairs = seen.item.astype(np.int64) * users + seen.user
    kept = np.ones(len(pairs), bool)
    for other in earlier:
        kept &= ~np.isin(pairs, other.item.astype(np.int64) * users + other.user)
    return Seen(seen.user[kept], seen.item[kept], seen.time[kept])


def _join(parts: list[tuple[Seen, dict[str, np.ndarray]]], users: Users) -> Interactions:
    if not sum(len(seen.user) for seen, _ in parts):
        raise InputError("nobody visited the world, expected at least one visit: give it more users, days or items")
    user, item, time = (np.concatenate([getattr(seen, name) for seen, _ in parts]) for name in ("user", "item", "time"))
    return Interactions(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        time=time + DAY_START_MS,
        kinds={name: np.concatenate([kinds[name] for _, kinds in parts]) for name in parts[0][1]},
        context={"device": users.device[user]},
    ).in_order()


def _tables(population: Population, items: Items, interactions: Interactions) -> Tables:
    users, creators, topics = population.users, population.creators, population.topics
    return Tables(
        name="world",
        users=Vocabulary(np.arange(1, len(users.activity) + 1), "user"),
        items=Vocabulary(np.arange(FIRST_ITEM_ID, FIRST_ITEM_ID + len(items.time)), "item"),
        item_time=items.time + DAY_START_MS,
        interactions=interactions,
        day_start=DAY_START_MS,
        item_creator=items.creator,
        creators=Vocabulary(creators.user + 1, "creator"),
        item_category=items.topic,
        categories=tuple(f"topic {number:03d}" for number in range(len(topics.popularity))),
        item_content=items.content,
        user_features={"age_band": users.age, "region": users.region},
        notes=_NOTES,
    )
