"""Seconds to score every pair by all heads, on random vectors: `python -m dualrec.alloc.bench_scoring`.

Needs 4 (2 dim + taste + heads + 2) bytes a user and item, and a block of scores for each thread.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np

from ..models.heads import Head
from ..models.options import HeadOptions
from ..models.pair_scores import DEFAULT_BETA, PairScorer
from .progress import make_progress
from .scorer import row_source

KINDS = ("effective_view", "like", "comment", "follow", "share", "profile_visit", "skip")
TASTE = HeadOptions().dim


def random_scorer(items: int, users: int, dim: int, seed: int) -> PairScorer:
    """Heads of all seven kinds over random vectors and rates."""
    rng = np.random.default_rng([seed, 8])

    def drawn(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    return PairScorer(
        user_vector=drawn(users, 2 * dim) / np.float32(dim**0.5),
        user_bias=drawn(users),
        item_vector=drawn(items, 2 * dim),
        item_logit=drawn(items) - 6,
        heads=tuple(Head(kind, -3.0, 0.3, 1.0, 1.0, taste=1.0) for kind in KINDS),
        beta=np.array([DEFAULT_BETA[kind] for kind in KINDS]),
        user_rate=drawn(users, len(KINDS)),
        item_rate=drawn(items, len(KINDS)),
        user_taste=drawn(users, TASTE) / np.float32(TASTE**0.5),
        item_taste=drawn(items, TASTE),
        factor=rng.random(users, np.float32),
        excluded=np.zeros(0, np.int64),
    )


def main(words: Sequence[str] | None = None) -> None:
    """Scores all pairs once and prints the seconds."""
    parser = argparse.ArgumentParser(prog="python -m dualrec.alloc.bench_scoring", description=__doc__)
    parser.add_argument("--items", type=int, default=3_000)
    parser.add_argument("--users", type=int, default=250_000)
    parser.add_argument("--dim", type=int, default=64, help="half the length of the vectors, as towers.dim")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    source = row_source(random_scorer(given.items, given.users, given.dim, given.seed), given.threads)
    task = make_progress().task("scoring", given.items)
    begin, pairs = time.perf_counter(), 0
    for _, rows in source.row_blocks(np.arange(given.items)):
        pairs += rows.size
        task.advance(len(rows))
    seconds = time.perf_counter() - begin
    each = 1e9 * seconds / pairs
    print(f"{pairs:,} pairs, {len(KINDS)} heads, {source.threads} threads: {seconds:.1f} s, {each:.1f} ns a pair")


if __name__ == "__main__":
    main()
