"""What users were shown and how they reacted, in columns."""

from dataclasses import dataclass

import numpy as np

ORGANIC, COLD = 0, 1
SOURCES = ("organic", "cold", "two-tower", "i2i2u", "i2u2u")
"""Where an exposure came from: the user-side recommender, Base's items of few exposures, or a match, by its retrieval."""


@dataclass(frozen=True, eq=False)
class Exposures:
    """One row each, by user, in the order seen: ``user``, ``item`` rows int64; ``source`` int8, a place in SOURCES;
    ``watched``, ``like``, ``comment``, ``follow`` bool; ``seconds`` float32."""

    user: np.ndarray
    item: np.ndarray
    source: np.ndarray
    watched: np.ndarray
    like: np.ndarray
    comment: np.ndarray
    follow: np.ndarray
    seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.user)


def in_user_order(parts: list[Exposures]) -> Exposures:
    """All rows, by user; those of one user in the order of the parts."""
    columns = [np.concatenate(values) for values in zip(*(vars(part).values() for part in parts), strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return Exposures(*(values[order] for values in columns))
