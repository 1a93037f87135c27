"""What nobody can know of a real service: the chances by which the built-in world acts."""

from dataclasses import dataclass

import numpy as np

from .world_days import (
    DAYS_BEFORE,
    EFFECTIVE_VIEW,
    EXPLICIT,
    SKIP,
    WITHOUT_EFFECTIVE_VIEW,
    Items,
    Reaction,
    affinity,
    join_items,
    make_uploads,
    next_mood,
)
from .world_options import WorldOptions
from .world_people import Users, make_population, visit_chance


@dataclass(frozen=True, eq=False)
class WorldTruth:
    """The users and items of a world, rows as in its tables, and ``comes`` float64[users]: each one's chance of a visit on
    the day asked for, given everybody's mood on it."""

    users: Users
    items: Items
    comes: np.ndarray

    def feedback(self, item: np.ndarray, user: np.ndarray, beta: dict[str, float]) -> np.ndarray:
        """float64[n]: expected sum of beta over the feedback of a user who is shown an item; rows int[n] of both."""
        fit = affinity(self.users, self.items, user, item) - 0.4
        quality, habit = self.items.quality[item], self.users.habit[user]

        def chance(reaction: Reaction, shift: float = 0.0) -> np.ndarray:
            odds = reaction.base + reaction.affinity * fit + reaction.quality * quality + reaction.habit * habit + shift
            return np.asarray(1 / (1 + np.exp(-odds)))

        watched = chance(EFFECTIVE_VIEW)
        total = beta.get("view", 0.0) + beta.get("effective_view", 0.0) * watched
        for kind, reaction in EXPLICIT.items():
            with_view, without = chance(reaction), chance(reaction, WITHOUT_EFFECTIVE_VIEW)
            total = total + beta.get(kind, 0.0) * (watched * with_view + (1 - watched) * without)
        return np.asarray(total + beta.get("skip", 0.0) * (1 - watched) * chance(SKIP))


def world_truth(options: WorldOptions, seed: int, day: int) -> WorldTruth:
    """The truth about ``day`` of the world that `make_world` makes of the same options and seed."""
    population = make_population(options, seed)
    users = population.users
    mood, engaged = users.mood, users.engaged
    for past in range(day + 1):
        mood, engaged, _ = next_mood(mood, engaged, seed, past)
    items = join_items([make_uploads(options, population, seed, when) for when in range(-DAYS_BEFORE, options.days)])
    return WorldTruth(users, items, visit_chance(users, day % 7 >= 5, mood, engaged))
