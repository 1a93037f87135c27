"""Random interaction logs for the tests of similarity and retrieval."""

import numpy as np

from dualrec.models.log import Log

DAY = 6
Table = dict[tuple[int, int], float]


def random_log(seed: int, categories: int, width: int, events: int = 150) -> Log:
    """30 items of days 0 to 6, 20 users; the items of day 6 are new. ``categories`` 0: every item is its own token."""
    generator = np.random.default_rng(seed)
    upload = np.sort(np.append(generator.uniform(0, DAY + 1, 29), DAY + 0.5))
    item = generator.integers(0, 30, events).astype(np.int32)
    day = np.minimum(upload[item] + generator.exponential(1.0, events), DAY + 0.99)
    order = np.argsort(day, kind="stable")
    click = generator.random(events) < 0.8
    token = generator.integers(-1, categories, 30) if categories else np.arange(30)
    return Log(
        user=generator.integers(0, 20, events).astype(np.int32)[order],
        item=item[order],
        day=day[order],
        kinds={"click": click, "skip": ~click},
        users=20,
        items=30,
        upload=upload,
        token=token.astype(np.int32),
        tokens=categories or 30,
        content=generator.normal(size=(30, width)).astype(np.float32),
    )


def slow_likes(log: Log) -> Table:
    """(item, user) -> sum of 0.5 ** (age / 4), one interaction at a time."""
    out: Table = {}
    for user, item, day, click in zip(log.user, log.item, log.day, log.kinds["click"], strict=True):
        if click:
            pair = (int(item), int(user))
            out[pair] = out.get(pair, 0.0) + 0.5 ** ((DAY + 1 - day) / 4)
    return out


def turned(table: Table) -> Table:
    """The table with rows and columns exchanged."""
    return {(column, row): value for (row, column), value in table.items()}


def best(weights: dict[int, float], count: int) -> dict[int, float]:
    """The ``count`` largest positive weights as float32 sees them, ties by key."""
    seen = {key: float(np.float32(value)) for key, value in weights.items() if np.float32(value) > 0}
    return {key: seen[key] for key in sorted(seen, key=lambda key: (-seen[key], key))[:count]}
