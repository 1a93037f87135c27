"""What a user sees: the matches among user-side candidates, boosted (eq. 14 of the paper), at a held share of exposures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import InputError
from .match_store import Match

_LEAST, _MOST = 1e-6, 1e6


@dataclass(frozen=True)
class FeedItem:
    """One place of a user's list: the item, its score with the boost, and whether it is one of the user's matches."""

    item: str
    score: float
    match: bool


def combine(
    items: Sequence[str], scores: Sequence[float], matches: Sequence[Match], boost: float, count: int
) -> list[FeedItem]:
    """The ``count`` best of the user-side candidates and the user's matches not shown yet, best first, ties in that order.

    ``items``, ``scores``: candidates with the user-side score, finite. A match scores boost * its item-side score more than
    as a candidate, and that alone where it is none (eq. 14: s_ui + lambda * s_iu). Raises InputError where lengths differ,
    an item stands twice, or a score, the boost or the count is unfit.
    """
    values = np.asarray(scores, np.float64)
    if len(items) != len(values):
        raise InputError(f"{len(items)} items and {len(values)} scores, expected as many")
    if len(set(items)) != len(items):
        raise InputError("an item stands twice among the candidates, expected each once")
    if not np.isfinite(values).all() or not 0 <= boost < np.inf or count < 0:
        raise InputError("expected finite scores, boost and count not below 0")
    waiting = {match.item: match.score for match in matches if not match.shown}
    found = [
        FeedItem(item, score + boost * waiting.get(item, 0.0), item in waiting)
        for item, score in zip(items, values.tolist(), strict=True)
    ]
    known = set(items)
    found += [FeedItem(item, boost * score, True) for item, score in waiting.items() if item not in known]
    return sorted(found, key=lambda one: -one.score)[:count]


@dataclass
class BoostControl:
    """Holds the matches' share of all exposures at ``target`` by moving ``boost``, lambda of eq. 14.

    Each match that is shown makes the boost ``step`` smaller (as a logarithm), and 1 / target exposures make it as much
    larger: it rests where the share is the target. Between 1e-6 and 1e6; at an end the share cannot be had.
    """

    target: float = 0.02
    boost: float = 1.0
    step: float = 0.02

    def __post_init__(self) -> None:
        if not (0 < self.target < 1 and _LEAST <= self.boost <= _MOST and 0 < self.step < 1):
            raise InputError(
                f"target {self.target}, boost {self.boost}, step {self.step}, expected 0 < target < 1, "
                f"{_LEAST} <= boost <= {_MOST}, 0 < step < 1"
            )

    def note(self, exposures: int, matches: int) -> None:
        """Takes note of exposures, and how many of them were matches."""
        if not 0 <= matches <= exposures:
            raise InputError(f"{matches} matches of {exposures} exposures, expected no more than there were")
        moved = np.log(self.boost) + self.step * (self.target * exposures - matches)
        self.boost = float(np.clip(np.exp(np.clip(moved, -50, 50)), _LEAST, _MOST))
