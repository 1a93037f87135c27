"""Options of the built-in world."""

from dataclasses import dataclass


@dataclass(frozen=True)
class WorldOptions:
    """Size of the built-in world; `days` includes the day whose new items are matched and the days after it."""

    users: int = 20_000
    creators: int = 2_000
    items_per_day: int = 1_000
    days: int = 37
    content_dim: int = 32
    topics: int = 40
