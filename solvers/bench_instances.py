"""The instances of the benchmark: a family and a size make one, with sizes and limits as stated here."""

from collections.abc import Callable
from typing import Any, Protocol

from .instances import Skewed, TiedGroups, TightFlat
from .problem import Problem
from .uneven_instances import GiantRow, HubUsers, Ratings, SkewedLists


class Family(Protocol):
    """Options of a seeded family."""

    def make(self, seed: int = 0) -> Problem:
        """The problem; the same seed always gives the same one."""
        ...


SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"items": 200, "users": 1_000, "candidates": 100, "demand": 20, "capacity": 5},
    "2M": {"items": 10_000, "users": 50_000, "candidates": 200, "demand": 40, "capacity": 10},
    "25M": {"items": 50_000, "users": 200_000, "candidates": 500, "demand": 100, "capacity": 30},
    "200M": {"items": 200_000, "users": 1_500_000, "candidates": 1_000, "demand": 200, "capacity": 30},
    "1G": {"items": 1_000_000, "users": 7_500_000, "candidates": 1_000, "demand": 200, "capacity": 30},
}
"""Each size's items, users, candidates an item, and limits, for the families that are not scaled from 2 M edges."""


def instance(family: str, size: str) -> Family:
    """The options of a family (one of FAMILIES) at a size (one of SHAPES)."""
    return FAMILIES[family](SHAPES[size])


def scale(shape: dict[str, int]) -> float:
    """Edges of a shape as a multiple of 2 M."""
    return shape["items"] * shape["candidates"] / 2_000_000


def giant(shape: dict[str, int]) -> GiantRow:
    """As many edges as the shape has, those of the giant row among them."""
    return GiantRow(**{**shape, "items": shape["items"] - shape["users"] // shape["candidates"] + 1})


def tied(shape: dict[str, int]) -> TiedGroups:
    """13 items a group, as on a news site."""
    items = round(5_000 * scale(shape))
    return TiedGroups(items=items, groups=items // 13, users=round(400_000 * scale(shape)))


def tight(shape: dict[str, int]) -> TightFlat:
    """4,000 items and 30,000 users at 2 M edges."""
    return TightFlat(items=round(4_000 * scale(shape)), users=round(30_000 * scale(shape)))


def ratings(shape: dict[str, int]) -> Ratings:
    """10,000 items and 80,000 users at 2 M edges."""
    times = scale(shape)
    return Ratings(items=round(10_000 * times), users=round(80_000 * times), ratings=round(2_160_000 * times))


FAMILIES: dict[str, Callable[[dict[str, Any]], Family]] = {
    "skewed": lambda shape: Skewed(**shape),
    "lists": lambda shape: SkewedLists(**shape),
    "tight": tight,
    "ties": lambda shape: Skewed(**shape, levels=5),
    "tied": tied,
    "hubs": lambda shape: HubUsers(**shape),
    "giant": giant,
    "ratings": ratings,
}
"""Name of each family and its options for a shape."""
