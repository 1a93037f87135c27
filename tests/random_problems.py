"""Small random problems of every awkward kind, as plain lists and as a Problem made from the same lists."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from dualrec.solvers.problem import Problem

SCORES = ("spread", "ties", "equal", "wide", "zeros", "near ties", "float16", "wide float16", "products")
"""Lognormal, three values, one, 1e-6 to 1e6, half 0, a few float32 steps apart, half precision, item x user."""

LIMITS = ("mixed", "many", "zero", "one", "over the row", "no limit", "mostly zero")
"""Demands and capacities: 0 to 4; to half the other side; 0 for all; 1; at least the row's length; 2^31 - 1; 0 for most."""

HOW_OFTEN = (0.6, 0.12, 0.02, 0.08, 0.06, 0.06, 0.06)
"""Of LIMITS, in `random_shape`."""

ROWS = ("even", "identical", "giant row", "hubs", "isolated", "full")
"""Who is whose candidate: at random, a few rows repeated, one item with all users, two users in all rows, a third of
the items and users without any, everybody."""


FLOORS = ("none", "some", "all")
"""No floors; from 0 to the demand; the whole demand (6 at most), which can seldom be met."""


@dataclass(frozen=True)
class Shape:
    """What a random problem looks like; see SCORES, LIMITS, ROWS and FLOORS.

    creators    number of creators, 0 for none; caps from 0 to 2 a user, some creators without one
    exclusions  share of the pairs that are excluded, candidates or not
    """

    items: int = 6
    users: int = 7
    density: float = 0.5
    rows: str = "even"
    scores: str = "spread"
    demand: str = "mixed"
    capacity: str = "mixed"
    floors: str = "none"
    creators: int = 0
    exclusions: float = 0.0
    seed: int = 0


def random_shape(seed: int, items: int = 12, users: int = 14) -> Shape:
    """A shape with at most so many items and users; floors and creators in 3 of 10 each."""
    rng = np.random.default_rng([seed, 11])
    return Shape(
        items=round(items * rng.random() ** 0.5) or 1,
        users=round(users * rng.random() ** 0.5) or 1,
        density=float(rng.choice([0.15, 0.4, 0.7])),
        rows=str(rng.choice(ROWS)),
        scores=str(rng.choice(SCORES)),
        demand=str(rng.choice(LIMITS, p=HOW_OFTEN)),
        capacity=str(rng.choice(LIMITS, p=HOW_OFTEN)),
        floors=str(rng.choice(FLOORS, p=[0.7, 0.2, 0.1])),
        creators=int(rng.choice([0, 1, 3], p=[0.7, 0.1, 0.2])),
        exclusions=0.2 if rng.random() < 0.2 else 0.0,
        seed=seed,
    )


def candidates(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """bool[items, users]."""
    table = rng.random((shape.items, shape.users)) < shape.density
    if shape.rows == "identical":
        table = table[rng.integers(0, max(1, shape.items // 4), shape.items)]
    elif shape.rows == "giant row":
        table &= rng.random(table.shape) < 0.4
        table[shape.items // 2] = True
    elif shape.rows == "hubs":
        table[:, :2] = True
    elif shape.rows == "isolated":
        table[rng.random(shape.items) < 0.3] = False
        table[:, rng.random(shape.users) < 0.3] = False
    elif shape.rows == "full":
        table[:] = True
    return table


def scores(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """float32 or float16 [items, users]; identical rows have the same scores."""
    size = shape.items, shape.users
    draws = {
        "spread": lambda: rng.lognormal(size=size),
        "ties": lambda: rng.integers(1, 4, size),
        "equal": lambda: np.full(size, 0.7),
        "wide": lambda: 10.0 ** rng.uniform(-6, 6, size),
        "zeros": lambda: rng.random(size) * (rng.random(size) < 0.5),
        "near ties": lambda: 1.0 + rng.integers(0, 6, size) * 2.0**-23,
        "float16": lambda: rng.lognormal(size=size),
        "wide float16": lambda: 10.0 ** rng.uniform(-7, 4.8, size),
        "products": lambda: rng.lognormal(size=(shape.items, 1)) * rng.lognormal(size=shape.users),
    }
    table = draws[shape.scores]().astype(np.float16 if "float16" in shape.scores else np.float32)
    if shape.rows == "identical":
        table = np.tile(table[:1], (shape.items, 1))
    if shape.rows == "hubs" and shape.scores == "spread":
        table[:, :2] *= 3
    return table


def limits(kind: str, rng: np.random.Generator, count: int, longest: int) -> np.ndarray:
    """int32[count] demands or capacities of one of LIMITS; `longest`: as many candidates as there can be."""
    draws = {
        "mixed": lambda: rng.integers(0, 5, count),
        "many": lambda: rng.integers(0, longest // 2 + 2, count),
        "zero": lambda: np.zeros(count),
        "one": lambda: np.ones(count),
        "over the row": lambda: longest + rng.integers(0, 3, count),
        "no limit": lambda: np.full(count, 2**31 - 1),
        "mostly zero": lambda: rng.integers(1, 4, count) * (rng.random(count) < 0.3),
    }
    return draws[kind]().astype(np.int32)


def make(shape: Shape) -> tuple[dict[str, Any], Problem]:
    """The lists that `independent_checker.Case` takes, and the problem."""
    rng = np.random.default_rng(shape.seed)
    table, score = candidates(shape, rng), scores(shape, rng)
    item, user = np.nonzero(table)
    demand = limits(shape.demand, rng, shape.items, shape.users)
    capacity = limits(shape.capacity, rng, shape.users, shape.items)
    plain: dict[str, Any] = {"demand": demand.tolist(), "capacity": capacity.tolist()}
    given: dict[str, Any] = {}
    if shape.floors != "none":
        most = np.minimum(demand, 6).astype(np.int64)
        given["floor"] = rng.integers(0, most + 1) if shape.floors == "some" else most
        plain["floor"] = given["floor"].tolist()
    if shape.creators:
        creator = rng.integers(-1, shape.creators, shape.items)
        cap = {row: int(rng.integers(0, 3)) for row in range(shape.creators) if rng.random() < 0.8}
        plain |= {"creator": creator.tolist(), "cap": cap}
        given |= {"creator": {row: who for row, who in enumerate(creator.tolist()) if who >= 0}, "creator_cap": cap}
    if shape.exclusions:
        banned = np.nonzero(rng.random(table.shape) < shape.exclusions)
        plain["banned"] = frozenset(zip(*(rows.tolist() for rows in banned), strict=True))
        given["exclude"] = banned
    plain["score"] = dict(zip(zip(item.tolist(), user.tolist(), strict=True), score[table].tolist(), strict=True))
    indptr = np.searchsorted(item, np.arange(shape.items + 1))
    return plain, Problem.from_csr(indptr, user, score[table], demand, capacity, **given)


def shapes(items: int = 12, users: int = 14) -> st.SearchStrategy[Shape]:
    """Shapes for hypothesis, which finds the smallest that fails; at most so many items and users."""
    return st.builds(
        Shape,
        items=st.integers(1, items),
        users=st.integers(1, users),
        density=st.sampled_from([0.15, 0.4, 0.7]),
        rows=st.sampled_from(ROWS),
        scores=st.sampled_from(SCORES),
        demand=st.sampled_from(LIMITS),
        capacity=st.sampled_from(LIMITS),
        floors=st.sampled_from(FLOORS),
        creators=st.sampled_from([0, 1, 3]),
        exclusions=st.sampled_from([0.0, 0.2]),
        seed=st.integers(0, 2**32 - 1),
    )
