"""What a stream starts from: the users, capacities and bids that a night published, and when uploads come."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..solvers.online_prices import BidCurves
from .errors import InputError
from .parquet import read_parquet
from .publish import verify_run
from .schema import ARRIVALS_KEY, DAY_START_KEY, QUARTERS
from .tables import DAY_MS


@dataclass(frozen=True, eq=False)
class StreamPrices:
    """Of a night: ``user_ids`` of its known users, ``capacity`` int64[users], their bid curves.

    ``arrivals`` int64[96]: uploads by quarter of an hour of the local day. ``day_start``: milliseconds since 1970 at which
    a local day begins.
    """

    user_ids: np.ndarray
    capacity: np.ndarray
    curves: BidCurves
    arrivals: np.ndarray
    day_start: int

    def day(self, now: int) -> int:
        """Local days since 1970 at a time in milliseconds since 1970."""
        return (now - self.day_start % DAY_MS) // DAY_MS

    def moment(self, now: int) -> float:
        """Time of day as a share of the local day, from 0 to 1."""
        return (now - self.day_start) % DAY_MS / DAY_MS

    def gone(self, now: int) -> float:
        """Share of a usual day's uploads that has come by the time of day of ``now``; by the clock where there were none."""
        at = self.moment(now) * QUARTERS
        if not self.arrivals.sum():
            return at / QUARTERS
        full, part = int(at), at % 1
        return float((self.arrivals[:full].sum() + part * self.arrivals[full]) / self.arrivals.sum())


def load_stream_prices(run_dir: Path) -> StreamPrices:
    """Of a published run, its checksums verified first. Raises InputError when it cannot be used."""
    verify_run(run_dir)
    return read_stream_prices(run_dir / "prices.parquet")


def read_stream_prices(path: Path) -> StreamPrices:
    """From a night's prices. Raises InputError when they cannot be used."""
    table = read_parquet(path, ("user", "capacity", "bids"))
    about = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    try:
        arrivals = np.array(about[ARRIVALS_KEY].split(), np.int64)
        day_start = int(about[DAY_START_KEY])
    except (KeyError, ValueError):
        raise InputError(f"{path}: says nothing of arrivals; run the night again with this version") from None
    if len(arrivals) != QUARTERS:
        raise InputError(f"{path}: has arrivals of {len(arrivals)} quarters of an hour, expected {QUARTERS}")
    bids = table["bids"].combine_chunks()
    width = bids.type.list_size
    values = np.ascontiguousarray(bids.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(-1, width)
    ids = table["user"].to_pandas().to_numpy()
    return StreamPrices(
        ids if ids.dtype.kind in "iu" else ids.astype(str),
        table["capacity"].to_numpy().astype(np.int64),
        BidCurves(values, max(int(arrivals.sum()), 1)),
        arrivals,
        day_start,
    )
