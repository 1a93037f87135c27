"""Numbers in [0, 1) turned into arms of given shares, one by one or evenly over strata."""

from collections.abc import Mapping, Sequence
from math import ceil, fsum, isfinite

import numpy as np

from .ab_hash import uniform
from .errors import InputError

_EXACT = 1e-9  # shares such as 1/3 three times may miss 1 by rounding
_EACH = 2  # ids of the smallest share that a block holds


def checked_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """The shares as given. Raises InputError unless there are two arms or more, each over 0, and at most 1 in all."""
    found = {name: float(share) for name, share in shares.items()}
    said = ", ".join(f"{name} {share:g}" for name, share in found.items()) or "none"
    if len(found) < 2 or len(found) > 100:
        raise InputError(f"shares of the arms: {said}; expected 2 to 100 arms, the control first")
    if any(not name or name == "outside" for name in found):
        raise InputError(f"shares of the arms: {said}; expected names, none of them empty or 'outside'")
    if any(not isfinite(share) or share <= 0 for share in found.values()) or fsum(found.values()) > 1 + _EXACT:
        raise InputError(f"shares of the arms: {said}; expected numbers over 0 that sum to at most 1")
    return found


def draw_arms(draw: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """int8[n]: the arm in whose part of [0, 1) each number of ``draw`` lies, -1 beyond the last."""
    ends = np.cumsum(shares)
    if ends[-1] > 1 - _EXACT:
        ends[-1] = 1.0
    arm = np.searchsorted(ends, draw, side="right").astype(np.int8)
    arm[arm == len(ends)] = -1
    return arm


def by_stratum(draw: np.ndarray, stratum: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    """int8[n]: arms such that ids of like ``stratum`` float64[n] are spread over the arms by their shares.

    In order of stratum, ties by ``draw``, ids are cut into blocks in which every arm can have its share, and each block is
    handed out in random order from a random start: every id's chance of an arm is the arm's share.
    """
    count = len(draw)
    rest = 1 - fsum(shares)
    least = min([*shares, rest] if rest > _EXACT else shares)
    blocks = max(1, count // ceil(_EACH / least))
    block = np.arange(count) * blocks // max(count, 1)
    order = np.lexsort((draw, stratum))
    # Not by draw again: of ids with one stratum, those in the earlier block have the smaller draws.
    turn = uniform(seed, "turn", (draw * 2.0**53).astype(np.int64))
    order = order[np.lexsort((turn[order], block))]
    first = np.searchsorted(block, np.arange(blocks))
    size = np.bincount(block, minlength=blocks)
    start = uniform(seed, "block", np.arange(blocks))
    arm = np.empty(count, np.int8)
    arm[order] = draw_arms((np.arange(count) - first[block] + start[block]) / np.maximum(size[block], 1), shares)
    return arm
