"""The matches of one part as a Parquet file."""

import os
import secrets
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..problem import Problem


def write_pairs(problem: Problem, chosen: np.ndarray, first: int, path: Path) -> None:
    """Columns item, user (outside ids, else rows; ``first``: item of row 0) and score; written aside, flushed, renamed."""
    item, user = problem.item_of(chosen), problem.user[chosen]
    columns = {
        "item": item + first if problem.item_ids is None else problem.item_ids[item],
        "user": user.astype(np.int64) if problem.user_ids is None else problem.user_ids[user],
        "score": problem.score[chosen],
    }
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        pq.write_table(pa.table(columns), aside, compression="zstd", write_page_checksum=True)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
