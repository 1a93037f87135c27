"""Rows of candidates and scores for seeded instances, on all cores: the seed alone decides the result."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .instance_kernels import BLOCK, alias_table, draw_lognormal, draw_users
from .threads import cores

TASKS = 64
"""Ranges that a drawing is cut into, more than the cores of most machines so that all end at about the same time."""


def draw_rows(seed: int, lengths: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For row r min(lengths[r], users) distinct users, drawn one after the other with probability ~ weight, ascending.

    weight: float64[users] > 0. Returns indptr int64[rows + 1] and user int32[edges]; 17 bytes a user and 1 a user and
    core of scratch.
    """
    indptr = np.zeros(lengths.size + 1, np.int64)
    np.cumsum(np.minimum(lengths, weight.size), out=indptr[1:])
    user = np.empty(indptr[-1], np.int32)
    in_ranges(draw_users, lengths.size, indptr, stream_seed(seed, 0), weight, *alias_of(weight), user)
    return indptr, user


def alias_of(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vose's alias table of weight (float64[users] > 0): float32[users] and int32[users]."""
    keep, alias = np.empty(weight.size, np.float32), np.empty(weight.size, np.int32)
    alias_table(weight, keep, alias)
    return keep, alias


def lognormal_scores(
    seed: int, user: np.ndarray, sigma: float = 1.0, user_factor: np.ndarray | None = None
) -> np.ndarray:
    """float32[edges]: exp(sigma * normal) for each edge, times user_factor[user] where given (float[users])."""
    factor = np.zeros(0, np.float32) if user_factor is None else user_factor.astype(np.float32)
    score = np.empty(user.size, np.float32)
    in_ranges(draw_lognormal, -(-user.size // BLOCK), stream_seed(seed, 1), sigma, user, factor, score)
    return score


def to_levels(score: np.ndarray, levels: np.ndarray, share: np.ndarray | None = None) -> np.ndarray:
    """Overwrites score (float32[edges]) with `levels` in rising order, the lowest scores with the first; returns it.

    share: float64[levels], how frequent each is, equal if None; met on the first million scores, so nearly on all.
    """
    part = np.full(levels.size, 1.0 / levels.size) if share is None else share / share.sum()
    if score.size:
        cuts = np.quantile(score[:1_000_000], np.cumsum(part)[:-1]).astype(np.float32)
        for block in np.split(score, range(BLOCK, score.size, BLOCK)):
            block[:] = levels[np.searchsorted(cuts, block)]
    return score


def stream_seed(seed: int, stream: int) -> np.uint64:
    """The seed of one of an instance's independent drawings."""
    return np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]


def in_ranges(kernel: Callable[..., None], count: int, *arguments: Any) -> None:
    """kernel(first, last, *arguments) over ranges that cover 0 to count, on all cores that this process may use."""
    step = max(1, -(-count // TASKS))
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(lambda first: kernel(first, min(first + step, count), *arguments), range(0, count, step)))
