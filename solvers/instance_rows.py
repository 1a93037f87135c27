"""Rows of candidates and scores for seeded instances, on all cores: the seed alone decides the result."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .instance_kernels import BLOCK, alias_table, draw_lognormal, draw_users

TASKS = 64
"""Ranges that a drawing is cut into, more than the cores of most machines so that all end at about the same time."""


def draw_rows(seed: int, rows: int, length: int, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row min(length, users) distinct users, drawn one after the other with probability ~ weight, ascending.

    weight: float64[users] > 0. Returns indptr int64[rows + 1] and user int32[edges]; 17 bytes a user and 1 a user and
    core of scratch.
    """
    length = min(length, weight.size)
    keep, alias = np.empty(weight.size, np.float32), np.empty(weight.size, np.int32)
    alias_table(weight, keep, alias)
    user = np.empty(rows * length, np.int32)
    in_ranges(draw_users, rows, length, stream_seed(seed, 0), weight, keep, alias, user)
    return np.arange(rows + 1, dtype=np.int64) * length, user


def lognormal_scores(
    seed: int, user: np.ndarray, sigma: float = 1.0, user_factor: np.ndarray | None = None
) -> np.ndarray:
    """float32[edges]: exp(sigma * normal) for each edge, times user_factor[user] where given (float[users])."""
    factor = np.zeros(0, np.float32) if user_factor is None else user_factor.astype(np.float32)
    score = np.empty(user.size, np.float32)
    in_ranges(draw_lognormal, -(-user.size // BLOCK), stream_seed(seed, 1), sigma, user, factor, score)
    return score


def stream_seed(seed: int, stream: int) -> np.uint64:
    """The seed of one of an instance's independent drawings."""
    return np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]


def in_ranges(kernel: Callable[..., None], count: int, *arguments: Any) -> None:
    """kernel(first, last, *arguments) over ranges that cover 0 to count, on all cores that this process may use."""
    step = max(1, -(-count // TASKS))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
        list(pool.map(lambda first: kernel(first, min(first + step, count), *arguments), range(0, count, step)))
