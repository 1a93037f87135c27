"""The built-in world day by day: uploads, visits, what visitors see and how they react."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .world_options import WorldOptions
from .world_people import LAPSE, RETURN, Draw, Population, Users, generator, unit, visit_chance

DAYS_BEFORE = 5  # days of uploads before day 0, so that day 0 has something to show
HOUR_MS = 3_600_000
MOOD_MEMORY = 0.8  # correlation of a user's mood with the day before
MOST_PER_VISIT = 60
SECONDS_PER_ITEM = 25
TASTE_WEIGHT = 4.0  # log exposure per unit of cosine
POPULARITY_POWER = 0.4
UPLOADS_BY_WEEKDAY = (0.95, 0.95, 1.0, 1.0, 1.05, 1.05, 1.0)


class Reaction(NamedTuple):
    """Log-odds of one feedback kind: at the mean, and per unit of affinity, log quality, and the user's habit."""

    base: float
    affinity: float
    quality: float
    habit: float


# An effective view comes first; the explicit kinds are rarer without one, and skip only happens without one.
EFFECTIVE_VIEW = Reaction(-0.7, 2.5, 0.8, 0.3)
EXPLICIT = {
    "like": Reaction(-3.3, 1.5, 0.8, 1.0),
    "comment": Reaction(-5.3, 1.2, 0.6, 0.9),
    "follow": Reaction(-5.8, 1.5, 0.8, 0.8),
    "share": Reaction(-5.9, 1.0, 1.0, 0.9),
    "profile_visit": Reaction(-4.3, 1.2, 0.6, 0.6),
}
SKIP = Reaction(-0.2, -2.0, -0.6, 0.2)
WITHOUT_EFFECTIVE_VIEW = -2.0


@dataclass(frozen=True)
class Items:
    """Items in upload order. ``time`` ms after the start of day 0; ``creator`` rows; ``topic``; ``content``
    float32[items, d] unit vectors, what is known of ``appeal``, the same of what users react to; ``quality`` natural log;
    ``lifetime`` days."""

    time: np.ndarray
    creator: np.ndarray
    topic: np.ndarray
    content: np.ndarray
    appeal: np.ndarray
    quality: np.ndarray
    lifetime: np.ndarray


@dataclass(frozen=True)
class Seen:
    """Items seen by users, one row each: ``user``, ``item`` rows and ``time`` in ms after the start of day 0."""

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray


def make_uploads(options: WorldOptions, population: Population, seed: int, day: int) -> Items:
    """The uploads of one day: heavy-tailed over creators, quality lognormal, content = topic centre + noise."""
    creators, topics = population.creators, population.topics
    rng = generator(seed, Draw.UPLOADS, day)
    count = int(rng.poisson(options.items_per_day * UPLOADS_BY_WEEKDAY[day % 7]))
    creator = rng.choice(options.creators, count, p=creators.output)
    topic = creators.topic[creator, (rng.random(count) < 0.25).astype(np.int64)]
    hour = np.clip(rng.normal(14.0, 5.0, count), 0.0, 23.9)
    noise = rng.standard_normal((count, options.content_dim)) * options.content_noise / np.sqrt(options.content_dim)
    appeal = unit(topics.centre[topic] + noise)
    made = Items(
        time=np.sort(((day * 24 + hour) * HOUR_MS).astype(np.int64)),
        creator=creator.astype(np.int32),
        topic=topic.astype(np.int32),
        content=appeal,
        appeal=appeal,
        quality=creators.skill[creator] + 0.7 * rng.standard_normal(count),
        lifetime=options.lifetime_days * np.exp(0.5 * rng.standard_normal(count)),
    )
    return replace(made, content=_blurred(options, appeal, rng))


def _blurred(options: WorldOptions, appeal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The embeddings of items: their appeal, seen through noise."""
    if not options.content_blur:
        return appeal
    return unit(appeal + rng.standard_normal(appeal.shape) * options.content_blur / np.sqrt(options.content_dim))


def join_items(parts: list[Items]) -> Items:
    """The items of several days, in the order given."""
    names = ("time", "creator", "topic", "content", "appeal", "quality", "lifetime")
    return Items(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def next_mood(
    mood: np.ndarray, engaged: np.ndarray, seed: int, day: int
) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Mood (an AR(1) of variance 1) and engagement (a two-state chain) on ``day``, and the generator to go on with."""
    rng = generator(seed, Draw.VISITS, day)
    mood = MOOD_MEMORY * mood + np.sqrt(1 - MOOD_MEMORY**2) * rng.standard_normal(len(mood))
    chance = rng.random(len(mood))
    return mood, np.where(engaged, chance >= LAPSE, chance < RETURN), rng


def make_visits(
    users: Users, mood: np.ndarray, engaged: np.ndarray, day: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who comes on ``day``, when (ms after the start of day 0), and how many items each wants to see (heavy tail)."""
    visitor = np.flatnonzero(rng.random(len(mood)) < visit_chance(users, day % 7 >= 5, mood, engaged))
    latest = 24 - MOST_PER_VISIT * SECONDS_PER_ITEM / 3600
    hour = np.minimum((users.hour[visitor] + rng.standard_normal(len(visitor))) % 24, latest - 0.01)
    wanted = rng.poisson(users.appetite[visitor] * np.exp(0.7 * rng.standard_normal(len(visitor)) - 0.245))
    return visitor, ((day * 24 + hour) * HOUR_MS).astype(np.int64), np.clip(wanted, 1, MOST_PER_VISIT)


def exposure_weights(options: WorldOptions, items: Items, likes: np.ndarray, day: int) -> np.ndarray:
    """float64[items] >= 0: popularity x recency on ``day``; the items of that day have a share of their own."""
    age = day - items.time / (24.0 * HOUR_MS)
    weight = np.exp(items.quality - np.maximum(age, 0.0) / items.lifetime) * (1.0 + likes) ** POPULARITY_POWER
    new = age <= 0
    shares = ((new, options.new_item_share), (~new, 1.0 - options.new_item_share))
    for group, share in shares:
        total = weight[group].sum()
        weight[group] *= share / total if total > 0 else 0.0
    return weight


def make_exposure(
    population: Population,
    items: Items,
    weight: np.ndarray,
    visits: tuple[np.ndarray, np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> Seen:
    """What each visitor sees: of a sample drawn by ``weight``, the best by taste with Gumbel noise, in that order.

    An item is only seen after its upload and never by its own creator.
    """
    users, author = population.users, population.creators.user[items.creator]
    visitor, start, wanted = visits
    visit = np.repeat(np.arange(len(visitor)), 8 + 3 * wanted)
    cumulative = np.cumsum(weight)
    item = np.searchsorted(cumulative, rng.random(len(visit)) * cumulative[-1], side="right")
    item = np.minimum(item, len(weight) - 1)
    score = TASTE_WEIGHT * affinity(users, items, visitor[visit], item) + rng.gumbel(size=len(visit))
    possible = (items.time[item] < start[visit]) & (author[item] != visitor[visit])
    visit, item, score = visit[possible], item[possible], score[possible]
    visit, item, score = _first_of_each_pair(visit, item, score)
    order = np.lexsort((item, -score, visit))
    visit, item = visit[order], item[order]
    place = np.arange(len(visit)) - np.searchsorted(visit, visit)
    kept = place < wanted[visit]
    visit, item, place = visit[kept], item[kept], place[kept]
    return Seen(visitor[visit], item, start[visit] + place * SECONDS_PER_ITEM * 1000)


def make_feedback(users: Users, items: Items, seen: Seen, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Feedback kind -> bool[rows of ``seen``]; every row is a view."""
    # Centred roughly at what organic exposure shows, so that the base rates are the rates seen.
    fit = affinity(users, items, seen.user, seen.item) - 0.4
    quality, habit = items.quality[seen.item], users.habit[seen.user]

    def happens(reaction: Reaction, shift: np.ndarray | float = 0.0) -> np.ndarray:
        log_odds = reaction.base + reaction.affinity * fit + reaction.quality * quality + reaction.habit * habit + shift
        return rng.random(len(fit)) * (1.0 + np.exp(-log_odds)) < 1.0

    watched = happens(EFFECTIVE_VIEW)
    kinds = {"view": np.ones(len(fit), bool), "effective_view": watched}
    shift = np.where(watched, 0.0, WITHOUT_EFFECTIVE_VIEW)
    kinds |= {kind: happens(reaction, shift) for kind, reaction in EXPLICIT.items()}
    kinds["skip"] = happens(SKIP) & ~watched
    return kinds


def affinity(users: Users, items: Items, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """float32[n]: cosine of the user's taste and the item's appeal."""
    return np.einsum("nd,nd->n", users.taste[user], items.appeal[item])


def _first_of_each_pair(visit: np.ndarray, item: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, ...]:
    _, first = np.unique(visit * (int(item.max(initial=0)) + 1) + item, return_index=True)
    return visit[first], item[first], score[first]
