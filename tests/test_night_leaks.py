"""What a night may know: nothing of later days, and in the strict-cold regime nothing of who met the new items."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dualrec.alloc.night import NightResult
from dualrec.alloc.tables import Tables

Night = Callable[..., NightResult]
Edit = Callable[..., Path]


def matches_of(result: NightResult) -> pd.DataFrame:
    return pd.read_parquet(result.run_dir / "matches.parquet")


def in_window(table: pa.Table, tables: Tables, first_day: int, last_day: int) -> np.ndarray:
    """bool[rows of interactions.parquet]: those of the days."""
    time = table["time"].cast(pa.int64()).to_numpy()
    day = tables.day_of(time)
    return (day >= first_day) & (day <= last_day)


def on_new_items(table: pa.Table, tables: Tables, day: int) -> np.ndarray:
    """bool[rows of interactions.parquet]: those of `day` with the items uploaded on it."""
    new = tables.items.ids[tables.new_items(day)]
    return in_window(table, tables, day, day) & np.isin(table["item_id"].to_numpy(), new)


def test_strict_cold_does_not_know_which_new_item_was_met(
    night: Night, cold: NightResult, tables: Tables, edited_data: Edit, tmp_path: Path
) -> None:
    """With the day's interactions with new items moved to other new items, the matches are the same bytes."""
    day = cold.metrics["data"]["day"]
    new = tables.items.ids[tables.new_items(day)]
    other = dict(zip(new.tolist(), np.roll(new, 3).tolist(), strict=True))
    moved = 0

    def move(table: pa.Table) -> pa.Table:
        nonlocal moved
        rows = on_new_items(table, tables, day)
        moved = int(rows.sum())
        ids = [other[item] if row else item for item, row in zip(table["item_id"].to_pylist(), rows, strict=True)]
        return table.set_column(table.column_names.index("item_id"), "item_id", pa.array(ids))

    result = night(tmp_path / "out", f"data.day={day}", data=edited_data(interactions=move))
    assert moved > 50
    assert same_bytes(result, cold)


@pytest.mark.parametrize("regime", ["strict_cold", "warm"])
def test_only_warm_uses_the_days_interactions_with_new_items(
    night: Night, tables: Tables, small_data: Path, edited_data: Edit, tmp_path: Path, regime: str
) -> None:
    """Without them, and with the activity model (which may know that somebody came) out of the game."""
    day = tables.last_day - 1
    known = tables.until(day)
    old = ~np.isin(known.item, tables.new_items(day))
    known_without = set(tables.users.ids[known.user[old]].tolist())
    setting = (
        "activity.mode=threshold",
        "activity.threshold=0",
        "retrieval.two_tower=0",
        f"data.regime={regime}",
        f"data.day={day}",
    )

    def remove(table: pa.Table) -> pa.Table:
        rows = on_new_items(table, tables, day) & np.isin(table["user_id"].to_numpy(), list(known_without))
        return table.filter(pa.array(~rows))

    whole = night(tmp_path / "whole", *setting, data=small_data)
    cut = night(tmp_path / "cut", *setting, data=edited_data(interactions=remove))
    columns = ["item", "user", "score", "rank"]
    same = matches_of(whole)[columns].equals(matches_of(cut)[columns])
    assert same == (regime == "strict_cold")


@pytest.mark.parametrize("regime", ["cold", "warm"])
def test_the_future_does_not_leak(
    night: Night, tables: Tables, edited_data: Edit, tmp_path: Path, regime: str, request: pytest.FixtureRequest
) -> None:
    """Without the interactions and the items of later days, matches and prices are the same; only the outcome is gone."""
    whole = request.getfixturevalue(regime)
    day = whole.metrics["data"]["day"]
    later = tables.items.ids[tables.day_of(tables.item_time) > day]
    data = edited_data(
        interactions=lambda table: table.filter(pa.array(in_window(table, tables, 0, day))),
        items=lambda table: table.filter(pa.array(~np.isin(table["item_id"].to_numpy(), later))),
    )
    past = night(tmp_path / "out", f"data.regime={whole.metrics['data']['regime']}", f"data.day={day}", data=data)
    assert same_bytes(past, whole)
    assert "outcome" in whole.metrics
    assert "outcome" not in past.metrics
    assert any("before the truth window" in note for note in past.metrics["notes"])
    assert past.metrics["baselines"] == whole.metrics["baselines"]


def same_bytes(one: NightResult, other: NightResult) -> bool:
    return all(
        (one.run_dir / name).read_bytes() == (other.run_dir / name).read_bytes()
        for name in ("matches.parquet", "prices.parquet")
    )


def test_the_regimes_differ(cold: NightResult, warm: NightResult) -> None:
    assert (cold.metrics["data"]["regime"], warm.metrics["data"]["regime"]) == ("strict_cold", "warm")
    assert cold.run_dir.name != warm.run_dir.name
    assert not matches_of(cold)[["item", "user"]].equals(matches_of(warm)[["item", "user"]])
