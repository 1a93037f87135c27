"""The scores of all pairs as a source of candidates whose blocks of items are computed by the workers of an engine."""

from collections.abc import Iterator

import numpy as np

from ..models.pair_scores import PairScorer
from ..solvers.candidate_source import RowSource, masked_prices
from .partitions import Engine, given, ranges
from .scorer import block_items


class PartitionedRows(RowSource):
    """As `row_source` of the same scorer, to the byte: the same blocks of items, each computed by one worker.

    Of a search each worker sends the best users alone; for first come, whose items take their turns here, whole rows.
    """

    def __init__(self, scorer: PairScorer, engine: Engine) -> None:
        super().__init__(scorer.rows, scorer.items, scorer.users, block_items=block_items(scorer.users), threads=1)
        self._engine, self._scorer = engine, engine.share(given, scorer)

    def row_blocks(self, item_rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `RowSource`."""
        blocks = self._blocks(item_rows)
        yield from zip(blocks, self._engine.run(rows_of, blocks, self._scorer), strict=True)

    def best(
        self, item_rows: np.ndarray, user_prices: np.ndarray, count: int, available: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `RowSource`."""
        asked = self._engine.share(given, (masked_prices(user_prices, available, self.users), count))
        found = list(self._engine.run(best_of, self._blocks(np.asarray(item_rows, np.int64)), self._scorer, asked))
        if not found:
            return np.empty((0, count), np.int32), np.empty((0, count), np.float32)
        return np.concatenate([user for user, _ in found]), np.concatenate([score for _, score in found])

    def scores_of(self, indptr: np.ndarray, user: np.ndarray) -> np.ndarray:
        """See `RowSource`."""
        blocks = self._blocks(np.flatnonzero(np.diff(indptr)))
        parts = [(block, [user[indptr[item] : indptr[item + 1]] for item in block]) for block in blocks]
        found = list(self._engine.run(scores_of, parts, self._scorer))
        return np.concatenate([np.empty(0, np.float32), *found])

    def _blocks(self, item_rows: np.ndarray) -> list[np.ndarray]:
        return [item_rows[first:last] for first, last in ranges(item_rows.size, self.block_items)]


def rows_of(scorer: PairScorer, block: np.ndarray) -> np.ndarray:
    """float32[block, users]: the scores of a block of items."""
    return scorer.rows(block)


def best_of(scorer: PairScorer, asked: tuple[np.ndarray, int], block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best users of a block of items at prices, float64[users], as `RowSource.best`."""
    price, count = asked
    return RowSource(scorer.rows, scorer.items, scorer.users, threads=1).best_of_block(block, price, count)


def scores_of(scorer: PairScorer, part: tuple[np.ndarray, list[np.ndarray]]) -> np.ndarray:
    """Scores float32[pairs] of a block of items, each with its own users."""
    block, users = part
    rows = scorer.rows(block)
    return np.concatenate([row[user] for row, user in zip(rows, users, strict=True)])
