"""Users and creators as they truly are. The platform's own code never reads what is hidden here."""

from dataclasses import dataclass

import numpy as np

from ...models.logistic import sigmoid
from .draws import Purpose, choice, normal, normals, poisson, uniform
from .options import PlatformOptions

_WEEKEND = (0.3, 0.7)
"""Log-odds of a visit at the weekend: mean and spread between users; chosen."""
_MOST_UPLOADS = 12
_PERIOD_SHARES = (0.1, 0.25, 0.25, 0.4)
"""Of visits and uploads in the quarters of a day: quiet nights, lively evenings; chosen."""


@dataclass(eq=False)
class Users:
    """Columns of all users. Hidden and fixed: ``taste`` float32[users, dim] unit vectors, ``activity``, ``weekend``,
    ``habit`` (log-odds), ``appetite`` items a day, ``hour`` float64 from 0 to 1, usual time of day. Hidden and moving:
    ``mood``; ``satisfaction``, share watched beyond the usual, a mean that forgets."""

    taste: np.ndarray
    activity: np.ndarray
    weekend: np.ndarray
    habit: np.ndarray
    appetite: np.ndarray
    hour: np.ndarray
    mood: np.ndarray
    satisfaction: np.ndarray


@dataclass(eq=False)
class Creators:
    """Columns of all creators so far. ``user`` rows; ``skill`` mean log quality of their items; ``topic`` int64[n, 2];
    ``output`` uploads a day without encouragement; ``encouragement`` float64, a mean that forgets; ``feedback`` float64, the
    reactions of the day before; ``active`` bool."""

    user: np.ndarray
    skill: np.ndarray
    topic: np.ndarray
    output: np.ndarray
    encouragement: np.ndarray
    feedback: np.ndarray
    active: np.ndarray


def topic_centres(options: PlatformOptions, seed: int) -> np.ndarray:
    """float32[topics, dim] unit vectors."""
    return _unit(normals(seed, Purpose.TOPIC, np.arange(options.people.topics), options.people.dim))


def topic_shares(options: PlatformOptions) -> np.ndarray:
    """float64[topics], how popular topics are: a power law."""
    weight = 1.0 / (1.0 + np.arange(options.people.topics)) ** 0.7
    return np.asarray(weight / weight.sum())


def draw_users(options: PlatformOptions, seed: int) -> Users:
    """All users: tastes are mixtures of a few topics, most users come seldom, appetites have a heavy tail."""
    people, rows = options.people, np.arange(options.people.users)
    weight = topic_shares(options)
    keys = np.log(weight) - np.log(-np.log(uniform(seed, Purpose.TASTE, rows[:, None], np.arange(people.topics))))
    chosen = np.argsort(-keys, axis=1, kind="stable")[:, : people.topics_per_user]
    mix = 0.2 + uniform(seed, Purpose.TASTE, rows[:, None], people.topics + np.arange(people.topics_per_user))
    taste = np.einsum("uk,ukd->ud", mix, topic_centres(options, seed)[chosen].astype(np.float64))
    own = normals(seed, Purpose.TASTE, rows + people.users, people.dim)
    spread = people.activity_spread * normal(seed, Purpose.ACTIVITY, rows)
    weekend = _WEEKEND[0] + _WEEKEND[1] * normal(seed, Purpose.WEEKEND, rows)
    mood = normal(seed, Purpose.MOOD, rows, 0)
    level = _level(spread + people.mood_spread * mood, weekend, people.daily_active)
    appetite = people.appetite * np.exp(0.6 * normal(seed, Purpose.APPETITE, rows) - 0.18)
    return Users(
        taste=_unit(taste + 0.4 / np.sqrt(people.dim) * own),
        activity=spread + level,
        weekend=weekend,
        habit=options.feedback.habit * normal(seed, Purpose.HABIT, rows),
        appetite=appetite,
        hour=uniform(seed, Purpose.PERIOD, rows),
        mood=mood,
        satisfaction=np.zeros(people.users),
    )


def draw_creators(options: PlatformOptions, seed: int, first: int, count: int) -> Creators:
    """The creators first, first + 1, ...; who joins later is drawn in the same way."""
    rows, made = np.arange(first, first + count), options.creators
    output = np.exp(made.output_spread * normal(seed, Purpose.OUTPUT, rows) - made.output_spread**2 / 2)
    shares = topic_shares(options)
    topic = [choice(shares, uniform(seed, purpose, rows)) for purpose in (Purpose.TOPIC, Purpose.SECOND_TOPIC)]
    return Creators(
        user=(uniform(seed, Purpose.OUTPUT, rows, 1) * options.people.users).astype(np.int64),
        skill=made.skill_spread * normal(seed, Purpose.SKILL, rows),
        topic=np.stack(topic, 1),
        output=made.uploads * output,
        encouragement=np.full(count, made.encouragement_half / 2),
        feedback=np.zeros(count),
        active=np.ones(count, bool),
    )


def join(creators: Creators, more: Creators) -> Creators:
    """Both, one after the other."""
    return Creators(
        *(np.concatenate([a, b]) for a, b in zip(vars(creators).values(), vars(more).values(), strict=True))
    )


def visitors(options: PlatformOptions, users: Users, seed: int, day: int) -> np.ndarray:
    """int64[users]: the part of the day in which a user comes, -1 where it stays away. Moves the mood on by a day."""
    people, rows = options.people, np.arange(len(users.activity))
    memory = people.mood_memory
    users.mood = memory * users.mood + np.sqrt(1 - memory**2) * normal(seed, Purpose.MOOD, rows, day + 1)
    comes = uniform(seed, Purpose.VISIT, rows, day) < visit_chance(options, users, day)
    usual = (users.hour + 0.15 * normal(seed, Purpose.PERIOD, rows, day)) % 1.0
    return np.where(comes, period_of(options, usual), -1)


def visit_chance(options: PlatformOptions, users: Users, day: int) -> np.ndarray:
    """float64[users]: the true chance of a visit on a day, given the mood of that day."""
    people = options.people
    shift = users.weekend if day % 7 >= 5 else 0.0
    pleased = people.satisfaction * users.satisfaction
    return np.asarray(sigmoid(users.activity + shift + people.mood_spread * users.mood + pleased))


def period_of(options: PlatformOptions, time: np.ndarray) -> np.ndarray:
    """int64: the part of the day in which the share ``time`` of all visits has come."""
    quarters = np.repeat(np.array(_PERIOD_SHARES) / options.periods, options.periods)  # of 4 * periods equal times
    shares = quarters.reshape(options.periods, 4).sum(1)
    return choice(shares, time)


def upload_counts(options: PlatformOptions, creators: Creators, seed: int, day: int) -> np.ndarray:
    """int64[creators]: uploads of a day, Poisson; encouraged creators upload more, with diminishing returns (paper, E10)."""
    made = options.creators
    gained = made.encouragement * creators.encouragement / (creators.encouragement + made.encouragement_half)
    at = uniform(seed, Purpose.UPLOAD, np.arange(len(creators.skill)), day)
    return np.where(creators.active, poisson(creators.output * (1.0 + gained), at, _MOST_UPLOADS), 0)


def encourage(options: PlatformOptions, creators: Creators, feedback: np.ndarray) -> None:
    """A day's ``feedback`` float64[creators], likes + 2 comments + 3 follows on all their items, moves encouragement on."""
    memory = options.creators.memory
    creators.encouragement = memory * creators.encouragement + (1 - memory) * np.log1p(feedback)
    creators.feedback = feedback


def leave(options: PlatformOptions, creators: Creators, seed: int, day: int, for_nothing: np.ndarray) -> None:
    """Creators with uploads that hardly anybody saw (int64[creators], how many) may give up for good."""
    stays = (1.0 - options.creators.leaving) ** for_nothing
    at = uniform(seed, Purpose.LEAVE, np.arange(len(creators.skill)), day)
    creators.active &= at < stays


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.asarray(vectors / length, np.float32)


def _level(usual: np.ndarray, weekend: np.ndarray, share: float) -> float:
    """The log-odds, added to all users, at which the expected share of visitors over a week is ``share``."""
    low, high = -20.0, 20.0
    for _ in range(50):
        level = (low + high) / 2
        mean = (5 * sigmoid(usual + level).mean() + 2 * sigmoid(usual + weekend + level).mean()) / 7
        low, high = (level, high) if mean < share else (low, level)
    return level
