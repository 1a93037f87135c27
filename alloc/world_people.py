"""The built-in world's users, creators and topics: everything that is drawn once."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from .world_options import WorldOptions

WEEKEND_SHIFT = 0.3  # log-odds of a visit, every user
MOOD_SCALE = 0.8  # log-odds per unit of a user's slowly moving mood
LAPSE, RETURN = 0.02, 0.08  # daily chance of dropping out, and of coming back
AGE_BANDS, REGIONS, DEVICES = 6, 12, 4


class Draw(IntEnum):
    """What randomness is for: each (seed, Draw, day) has a generator of its own."""

    TOPICS = 0
    USERS = 1
    CREATORS = 2
    UPLOADS = 3
    VISITS = 4
    EXPOSURE = 5
    FEEDBACK = 6


def generator(seed: int, draw: Draw, day: int = 0) -> np.random.Generator:
    """The generator of one purpose and day; days before 0 are allowed down to -1000."""
    return np.random.default_rng(np.random.SeedSequence([seed, int(draw), day + 1000]))


@dataclass(frozen=True)
class Topics:
    """``centre`` float32[topics, d] unit vectors; ``popularity`` float64[topics] sums to 1."""

    centre: np.ndarray
    popularity: np.ndarray


@dataclass(frozen=True)
class Users:
    """All arrays have one entry for each user.

    ``taste`` float32[users, d] unit vectors; ``activity`` log-odds of a weekday visit in a normal mood;
    ``weekend`` its change at the weekend; ``mood`` on the day before day 0; ``engaged`` bool on that day;
    ``hour`` of the day at which the user likes to come; ``appetite`` mean items per visit; ``habit`` log-odds with
    which the user reacts more than others; ``age``, ``region``, ``device`` int32 codes.
    """

    taste: np.ndarray
    activity: np.ndarray
    weekend: np.ndarray
    mood: np.ndarray
    engaged: np.ndarray
    hour: np.ndarray
    appetite: np.ndarray
    habit: np.ndarray
    age: np.ndarray
    region: np.ndarray
    device: np.ndarray


@dataclass(frozen=True)
class Creators:
    """``user`` int64[creators] ascending user rows; ``output`` shares of the uploads; ``topic`` int64[creators, 2]
    first and second topic; ``skill`` float64, the mean log quality of the creator's items."""

    user: np.ndarray
    output: np.ndarray
    topic: np.ndarray
    skill: np.ndarray


@dataclass(frozen=True)
class Population:
    """Everything that is drawn once."""

    topics: Topics
    users: Users
    creators: Creators


def make_population(options: WorldOptions, seed: int) -> Population:
    """Topics, users and creators of a world."""
    topics = make_topics(options, seed)
    return Population(topics, make_users(options, topics, seed), make_creators(options, topics, seed))


def make_topics(options: WorldOptions, seed: int) -> Topics:
    """Topics with random directions and Zipf-like popularity."""
    rng = generator(seed, Draw.TOPICS)
    popularity = 1.0 / (1.0 + np.arange(options.topics)) ** 0.7
    return Topics(unit(rng.standard_normal((options.topics, options.content_dim))), popularity / popularity.sum())


def make_users(options: WorldOptions, topics: Topics, seed: int) -> Users:
    """Users: most come seldom; tastes are mixtures of a few topics that depend on age; some come at weekends only."""
    rng, count = generator(seed, Draw.USERS), options.users
    age = rng.choice(AGE_BANDS, count, p=_falling(AGE_BANDS))
    weekend = WEEKEND_SHIFT + rng.choice([0.0, 2.0, -1.5], count, p=[0.7, 0.2, 0.1]) + 0.2 * rng.standard_normal(count)
    mood = rng.standard_normal(count)
    spread = options.activity_spread * rng.standard_normal(count)
    # Users who come often also stay longer; the lognormal has mean 1.
    appetite = np.exp(0.6 * rng.standard_normal(count) - 0.18) * options.items_per_visit
    hour = rng.choice([8.0, 13.0, 20.0], count, p=[0.25, 0.25, 0.5]) + 1.5 * rng.standard_normal(count)
    return Users(
        taste=_tastes(options, topics, age, rng),
        activity=spread + _activity_level(spread, weekend, mood, options.daily_active_share),
        weekend=weekend,
        mood=mood,
        engaged=rng.random(count) < RETURN / (LAPSE + RETURN),
        hour=hour,
        appetite=np.maximum(appetite, 1.0),
        habit=options.interaction_spread * rng.standard_normal(count),
        age=age.astype(np.int32),
        region=rng.choice(REGIONS, count, p=_falling(REGIONS)).astype(np.int32),
        device=rng.choice(DEVICES, count, p=_falling(DEVICES)).astype(np.int32),
    )


def make_creators(options: WorldOptions, topics: Topics, seed: int) -> Creators:
    """Creators, a random part of the users: a few upload much of everything, each in one or two topics."""
    rng, count = generator(seed, Draw.CREATORS), options.creators
    output = np.exp(1.3 * rng.standard_normal(count))
    return Creators(
        user=np.sort(rng.choice(options.users, count, replace=False)),
        output=output / output.sum(),
        topic=rng.choice(options.topics, (count, 2), p=topics.popularity),
        skill=0.4 * rng.standard_normal(count),
    )


def visit_chance(users: Users, weekend_day: bool, mood: np.ndarray, engaged: np.ndarray) -> np.ndarray:
    """float64[users]: the chance of a visit on a day."""
    return engaged * _logistic(users.activity + users.weekend * weekend_day + MOOD_SCALE * mood)


def unit(vectors: np.ndarray) -> np.ndarray:
    """float32 rows of length 1."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _tastes(options: WorldOptions, topics: Topics, age: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dirichlet mixtures of topics; each age band likes some topics more (Gumbel draws without replacement)."""
    fashion = np.log(topics.popularity) + 0.8 * rng.standard_normal((AGE_BANDS, options.topics))
    keys = fashion[age] + rng.gumbel(size=(options.users, options.topics))
    chosen = np.argsort(-keys, axis=1, kind="stable")[:, : options.topics_per_user]
    weights = rng.dirichlet(np.full(options.topics_per_user, 1.5), options.users)
    # einsum, not a matrix product: its result does not depend on the number of threads.
    taste = np.einsum("uk,ukd->ud", weights, topics.centre[chosen].astype(np.float64))
    return unit(taste + 0.3 / np.sqrt(options.content_dim) * rng.standard_normal(taste.shape))


def _activity_level(spread: np.ndarray, weekend: np.ndarray, mood: np.ndarray, share: float) -> float:
    """The log-odds, added to all users, at which the expected daily active share over a week is ``share``."""
    target, low, high = share * (LAPSE + RETURN) / RETURN, -20.0, 20.0
    usual = spread + MOOD_SCALE * mood
    for _ in range(50):
        level = (low + high) / 2
        mean = (5 * _logistic(usual + level).mean() + 2 * _logistic(usual + weekend + level).mean()) / 7
        low, high = (level, high) if mean < target else (low, level)
    return level


def _logistic(log_odds: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-log_odds))


def _falling(count: int) -> np.ndarray:
    weights = 1.0 / np.arange(1, count + 1)
    return weights / weights.sum()
