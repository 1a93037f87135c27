"""A whole night on a small world: what is published, the certificate by other code, policies, other data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse
from scipy.optimize import linprog

from dualrec.alloc.night import NightResult
from dualrec.alloc.publish import verify_run
from dualrec.alloc.tables import Tables

Night = Callable[..., NightResult]
Edit = Callable[..., Path]
BASELINES = {"first_come", "activity", "random", "category"}  # strict cold: nobody is an early user
SOURCES = {"two_tower", "i2i2u", "i2u2u", "user_side", "sequential", "price_round", "free_places"}
SOLVERS = ("auction", "min-cost-flow", "greedy", "first-come")
FILES = {"config.yaml", "matches.parquet", "prices.parquet", "metrics.json", "report.html", "serving", "MANIFEST.json"}


def matches_of(result: NightResult) -> pd.DataFrame:
    return pd.read_parquet(result.run_dir / "matches.parquet")


def prices_of(result: NightResult) -> pd.DataFrame:
    return pd.read_parquet(result.run_dir / "prices.parquet")


def same_bytes(one: NightResult, other: NightResult) -> bool:
    return all(
        (one.run_dir / name).read_bytes() == (other.run_dir / name).read_bytes()
        for name in ("matches.parquet", "prices.parquet")
    )


def pairs(frame: pd.DataFrame) -> set[tuple[int, int]]:
    return set(zip(frame["item"], frame["user"], strict=True))


def events(tables: Tables, first_day: int, last_day: int) -> set[tuple[int, int]]:
    """(item, user) of the interactions of these days, in outside ids."""
    log = tables.between(first_day, last_day)
    return set(zip(tables.items.ids[log.item].tolist(), tables.users.ids[log.user].tolist(), strict=True))


# What is published


def test_the_files_of_a_run(cold: NightResult, cold_out: Path) -> None:
    assert {path.name for path in cold.run_dir.iterdir()} == FILES
    assert (cold_out / "latest").resolve() == cold.run_dir.resolve()
    verify_run(cold.run_dir)
    assert json.loads((cold.run_dir / "metrics.json").read_text()) == cold.metrics


def test_the_metrics_that_others_read(cold: NightResult) -> None:
    metrics = cold.metrics
    assert {"items", "users", "edges", "demand", "capacity"} <= set(metrics["problem"])
    named = {"solver", "value", "bound", "gap", "bound_covers", "matches", "items_full", "items_short"}
    assert named | {"users_at_capacity"} <= set(metrics["allocation"])
    assert set(metrics["baselines"]) == BASELINES
    assert all(set(entry) == {"value"} for entry in metrics["baselines"].values())
    assert set(metrics["outcome"]) == BASELINES | {"ours"}
    for entry in metrics["outcome"].values():
        assert {"hit_rate", "recall", "precision", "came_true"} <= set(entry)
    assert {"auc", "brier", "ece"} <= set(metrics["activity"])
    heads = set(metrics["data"]["heads"])
    assert {"like", "comment"} <= heads
    assert {"like", "comment"} <= set(metrics["ranking"]["auc"]) <= heads | {"interaction"}
    assert set(metrics["retrieval"]["share"]) == SOURCES
    assert sum(metrics["retrieval"]["share"].values()) == pytest.approx(1)
    stages = {"tables", "activity", "retrieval", "ranking", "candidates", "allocation", "serving", "evaluation"}
    assert set(metrics["seconds"]) == stages
    assert metrics["peak_memory_mb"] > 0


def test_the_columns_of_the_matches(cold: NightResult, tables: Tables) -> None:
    table = pq.read_table(cold.run_dir / "matches.parquet")
    kinds = [(field.name, str(field.type)) for field in table.schema]
    assert kinds == [
        ("item", "int64"),
        ("user", "int64"),
        ("score", "float"),
        ("p_active", "float"),
        ("source", "string"),
        ("round", "int32"),
        ("rank", "int32"),
    ]
    assert not any(column.null_count for column in table.columns)
    frame = table.to_pandas()
    assert len(frame) == cold.metrics["allocation"]["matches"] > 0
    assert set(frame["item"]) <= set(tables.items.ids[tables.new_items(cold.metrics["data"]["day"])])
    assert set(frame["source"]) <= SOURCES
    asked = frame["source"].isin(["price_round", "free_places"])
    assert frame["round"][asked].between(0, cold.metrics["candidates"]["rounds"][-1]["round"]).all()
    assert (frame["round"][~asked] == 0).all()
    assert (frame["score"] > 0).all()
    assert ((frame["p_active"] > 0) & (frame["p_active"] < 1)).all()
    for _, rows in frame.groupby("item", sort=False):
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
        assert (np.diff(rows["score"]) <= 0).all()


@pytest.mark.parametrize("result", ["cold", "warm"])
def test_capacity_demand_and_prices(result: str, request: pytest.FixtureRequest) -> None:
    result = request.getfixturevalue(result)
    frame, prices = matches_of(result), prices_of(result).set_index("user")
    problem = result.metrics["problem"]
    assert not frame.duplicated(["item", "user"]).any()
    assert frame["item"].value_counts().max() <= problem["demand"]
    load = frame["user"].value_counts().reindex(prices.index, fill_value=0)
    assert (load == prices["load"]).all()
    assert (prices["load"] <= prices["capacity"]).all()
    assert (prices["capacity"] == problem["capacity"]).all()
    assert (prices["price"] >= 0).all()
    assert (prices["price"][prices["load"] < prices["capacity"]] == 0).all()
    assert (prices["price"] > 0).any(), "nobody is scarce: this world tests nothing"
    assert len(prices) == problem["users"]
    assert prices.index.is_unique
    assert (load == prices["capacity"]).sum() == result.metrics["allocation"]["users_at_capacity"]


@pytest.mark.parametrize("result", ["cold", "warm"])
def test_everybody_matched_was_known_and_nobody_is_the_author(
    result: str, tables: Tables, request: pytest.FixtureRequest
) -> None:
    result = request.getfixturevalue(result)
    frame, day = matches_of(result), result.metrics["data"]["day"]
    known = np.unique(tables.users.ids[tables.until(day).user])
    assert set(frame["user"]) <= set(known)
    assert set(prices_of(result)["user"]) == set(known)
    creator = dict(zip(tables.items.ids, tables.creators.ids[tables.item_creator], strict=True))
    assert (frame["item"].map(creator) != frame["user"]).all()


def test_an_author_is_never_matched_with_the_own_item(
    night: Night, cold: NightResult, edited_data: Edit, tmp_path: Path
) -> None:
    """Each new item's best user becomes its creator."""
    best = matches_of(cold).query("rank == 1").set_index("item")["user"]

    def give(table: pa.Table) -> pa.Table:
        creators = table["creator_id"].to_pylist()
        creators = [best.get(item, old) for item, old in zip(table["item_id"].to_pylist(), creators, strict=True)]
        return table.set_column(table.column_names.index("creator_id"), "creator_id", pa.array(creators, pa.int64()))

    frame = matches_of(night(tmp_path / "out", data=edited_data(items=give)))
    assert (frame["item"].map(best) != frame["user"]).all()


def test_warm_matches_nobody_who_has_seen_the_item(warm: NightResult, tables: Tables) -> None:
    day = warm.metrics["data"]["day"]
    new = set(tables.items.ids[tables.new_items(day)])
    assert any(item in new for item, _ in events(tables, day, day))
    assert not pairs(matches_of(warm)) & events(tables, tables.first_day, day)


def test_the_outcome_is_that_of_the_matches(cold: NightResult, tables: Tables) -> None:
    frame, day = matches_of(cold), cold.metrics["data"]["day"]
    log = tables.between(day + 1, day + 1)
    came = set(tables.users.ids[log.user])
    good = np.logical_or.reduce([flags for kind, flags in log.kinds.items() if kind != "skip"])
    good &= ~log.kinds["skip"]
    truth = set(zip(tables.items.ids[log.item[good]], tables.users.ids[log.user[good]], strict=True))
    outcome = cold.metrics["outcome"]["ours"]
    assert outcome["came_true"] == len(pairs(frame) & truth)
    assert outcome["hit_rate"] == pytest.approx(frame["user"].isin(came).mean())


# The certificate, by code that shares nothing with the solvers


def all_scores(out: Path) -> np.ndarray:
    """float64[items, users]: the scores of all pairs, from the stages' files."""
    from dualrec.alloc.night_view import load_view
    from dualrec.alloc.scorer import load_scorer

    work = out / "work"
    scorer = load_scorer(load_view(work / "tables"), work / "retrieval", work / "ranking")
    return scorer.rows(np.arange(scorer.items)).astype(float)


def bound_by(scores: np.ndarray, prices: np.ndarray, capacity: np.ndarray, demand: int) -> float:
    """sum_u Q_u p_u + sum_i of the L largest max(0, w_iu - p_u): no allocation is worth more."""
    best = np.sort(np.maximum(scores - prices, 0), axis=1)[:, ::-1][:, :demand]
    return float(capacity @ prices + best.sum())


def optimum(scores: np.ndarray, capacity: np.ndarray, demand: int) -> float:
    """The best value there is, by linear programming (the constraints are totally unimodular)."""
    items, users = scores.shape
    by_item = sparse.kron(sparse.eye_array(items), np.ones((1, users)))
    by_user = sparse.kron(np.ones((1, items)), sparse.eye_array(users))
    limits = np.concatenate([np.full(items, demand), capacity])
    found = linprog(-scores.ravel(), sparse.vstack([by_item, by_user]).tocsr(), limits, bounds=(0, 1), method="highs")
    assert found.status == 0
    return -float(found.fun)


def test_the_certificate_holds_over_all_pairs(cold: NightResult, cold_out: Path) -> None:
    frame, prices = matches_of(cold), prices_of(cold)
    allocation, demand = cold.metrics["allocation"], cold.metrics["problem"]["demand"]
    scores, items = all_scores(cold_out), np.load(cold_out / "work" / "retrieval" / "items.npy")
    ids = np.load(cold_out / "work" / "tables" / "items.npy")[items]
    row = pd.Series(np.arange(len(ids)), ids)[frame["item"]].to_numpy()
    column = pd.Series(np.arange(len(prices)), prices["user"])[frame["user"]].to_numpy()
    assert np.array_equal(scores[row, column], frame["score"].astype(float))
    assert allocation["value"] == pytest.approx(frame["score"].astype(float).sum(), rel=1e-12)
    bound = bound_by(scores, prices["price"].to_numpy(), prices["capacity"].to_numpy(), demand)
    assert allocation["bound_covers"] == "all pairs"
    assert allocation["bound"] == pytest.approx(bound, rel=1e-9)
    assert allocation["gap"] == pytest.approx(1 - allocation["value"] / bound, abs=1e-9)
    assert allocation["gap"] <= 1e-3
    best = optimum(scores, prices["capacity"].to_numpy(), demand)
    assert allocation["value"] <= best * (1 + 1e-6)
    assert allocation["bound"] >= best * (1 - 1e-6)


@pytest.mark.parametrize("result", ["cold", "warm"])
def test_ours_is_worth_more_than_first_come(result: str, request: pytest.FixtureRequest) -> None:
    metrics = request.getfixturevalue(result).metrics
    early = {"early_users"} if result == "warm" else set()
    assert set(metrics["baselines"]) == BASELINES | early
    assert any("early users" in note for note in metrics["notes"]) == (not early)
    assert all(metrics["allocation"]["value"] > entry["value"] > 0 for entry in metrics["baselines"].values())


@pytest.mark.parametrize("solver", SOLVERS)
def test_each_solver(solver: str, night: Night, cold: NightResult, cold_out: Path, small_data: Path) -> None:
    metrics = night(cold_out, f"allocation.solver={solver}", data=small_data).metrics
    allocation = metrics["allocation"]
    assert allocation["solver"] == solver
    assert 0 < allocation["value"] <= allocation["bound"] * (1 + 1e-9)
    assert allocation["matches"] <= metrics["problem"]["items"] * metrics["problem"]["demand"]
    assert metrics["baselines"] == cold.metrics["baselines"]
    if solver in ("auction", "min-cost-flow"):
        assert allocation["gap"] <= 1e-3
        assert allocation["value"] >= cold.metrics["allocation"]["value"] * (1 - 1e-3)
    if solver == "first-come":
        # The same items in the same order: over the candidates as over all pairs, for first come's own lists are there.
        assert allocation["value"] == pytest.approx(metrics["baselines"]["first_come"]["value"], rel=1e-6)


def test_greedy_is_the_greedy_rule(night: Night, cold: NightResult, cold_out: Path, small_data: Path) -> None:
    """The pairs of all candidates by falling score, each taken while both sides have places."""
    result = night(cold_out, "allocation.solver=greedy", data=small_data)
    problem = result.metrics["problem"]
    folder = cold_out / "work" / "candidates"
    indptr, user, score = (np.load(folder / f"{name}.npy") for name in ("indptr", "user", "score"))
    item = np.repeat(np.arange(problem["items"]), np.diff(indptr))
    wanted, places = np.full(problem["items"], problem["demand"]), np.full(problem["users"], problem["capacity"])
    value = 0.0
    for edge in np.lexsort((user, item, -score)):
        if score[edge] > 0 and wanted[item[edge]] and places[user[edge]]:
            wanted[item[edge]] -= 1
            places[user[edge]] -= 1
            value += float(score[edge])
    assert result.metrics["allocation"]["value"] == pytest.approx(value, rel=1e-9)


# Policies


def test_capacities_of_a_column(night: Night, edited_data: Edit, tmp_path: Path) -> None:
    def add(table: pa.Table) -> pa.Table:
        return table.append_column("capacity_night", pa.array(table["user_id"].to_numpy() % 4))

    result = night(tmp_path / "out", "allocation.capacity_column=capacity_night", data=edited_data(users=add))
    prices = prices_of(result)
    assert (prices["capacity"] == prices["user"] % 4).all()
    assert (prices["load"] <= prices["capacity"]).all()
    load = matches_of(result)["user"].value_counts()
    assert load.reindex(prices["user"], fill_value=0).tolist() == prices["load"].tolist()
    assert result.metrics["problem"]["capacity"] is None
    assert result.metrics["problem"]["capacity_column"] == "capacity_night"
    assert result.metrics["allocation"]["gap"] <= 1e-3


@pytest.mark.parametrize("setting", ["activity.threshold=0.6", "activity.target_hit_rate=0.7"])
def test_threshold_mode_matches_only_users_likely_to_come(
    night: Night, cold: NightResult, cold_out: Path, small_data: Path, setting: str
) -> None:
    result = night(cold_out, "activity.mode=threshold", setting, data=small_data)
    threshold = result.metrics["ranking"]["activity_threshold"]
    frame = matches_of(result)
    assert 0 < threshold < 1
    assert (frame["p_active"] >= threshold).all()
    assert (matches_of(cold)["p_active"] < threshold).any()
    assert frame.groupby("item")["rank"].max().max() <= result.metrics["problem"]["demand"]


def extra_of(out: Path) -> tuple[np.ndarray, np.ndarray]:
    """User rows and code of every pair that the retrievals of the last night at `out` proposed."""
    folder = out / "work" / "retrieval"
    return np.load(folder / "users.npy")[np.load(folder / "extra_user.npy")], np.load(folder / "extra_code.npy")


def test_strictly_cold_items_get_nobody_by_i2u2u(cold: NightResult) -> None:
    assert cold.metrics["retrieval"]["share"]["i2u2u"] == 0
    assert cold.metrics["retrieval"]["share"]["i2i2u"] > 0


def test_warm_items_get_users_by_i2u2u_unless_it_is_off(
    night: Night, warm: NightResult, tmp_path: Path, small_data: Path
) -> None:
    assert warm.metrics["retrieval"]["share"]["i2u2u"] > 0
    assert warm.metrics["retrieval"]["similar_users_by"] == "cf"
    off = night(
        tmp_path / "out", "data.regime=warm", "retrieval.i2u2u=0", "retrieval.similarity=graph", data=small_data
    )
    assert set(extra_of(tmp_path / "out")[1].tolist()) == {3, 4}
    assert off.metrics["retrieval"]["share"]["i2u2u"] == 0
    assert off.metrics["retrieval"]["similar_by"] == "graph"


def test_threshold_mode_retrieves_only_available_users(night: Night, tmp_path: Path, small_data: Path) -> None:
    out = tmp_path / "out"
    settings = ("data.regime=warm", "activity.mode=threshold", "activity.threshold=0.6")
    night(out, *settings, "retrieval.user_similarity=content", data=small_data)
    user, code = extra_of(out)
    assert set(code.tolist()) == {3, 4, 5}
    assert (np.load(out / "work" / "activity" / "p_active.npy")[user] >= 0.6).all()


# Other data


def drop(*names: str) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.drop_columns([name for name in names if name in table.column_names])


def only_views(table: pa.Table) -> pa.Table:
    kept = [name for name in table.column_names if not pa.types.is_boolean(table.schema.field(name).type)]
    return table.select([*kept, "view"])


def as_text(*names: str) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        for name in names:
            text = pa.array([f"id {value:09d}" for value in table[name].to_pylist()])
            table = table.set_column(table.column_names.index(name), name, text)
        return table

    return change


LACKING: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "creators": ({"items": drop("creator_id")}, ("no creators",)),
    "categories": ({"items": drop("category")}, ("no categories",)),
    "content": ({"items": drop("content")}, ("no content",)),
    "kinds": ({"interactions": only_views}, ("no feedback of the kinds click",)),
    "all": (
        {
            "items": drop("creator_id", "category", "content"),
            "interactions": lambda table: only_views(drop("context_device")(table)),
            "users": lambda table: table.select(["user_id"]),
        },
        ("no creators", "no categories", "no content", "no feedback of the kinds"),
    ),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_data_that_lacks_something_runs_and_says_so(
    lacking: str, night: Night, edited_data: Edit, tmp_path: Path
) -> None:
    changes, said = LACKING[lacking]
    regime = "warm" if lacking == "all" else "strict_cold"
    result = night(tmp_path / "out", f"data.regime={regime}", data=edited_data(**changes), report=True)
    notes, report = " ".join(result.metrics["notes"]), (result.run_dir / "report.html").read_text()
    assert all(part in notes and part in report for part in said)
    assert result.metrics["allocation"]["gap"] <= 1e-3
    assert result.metrics["allocation"]["value"] >= result.metrics["baselines"]["first_come"]["value"]
    assert ("category" in result.metrics["baselines"]) == (lacking not in ("categories", "all"))
    similar_by = {"content": "category", "all": "users"}.get(lacking, "content")
    assert result.metrics["retrieval"]["similar_by"] == similar_by


def test_ids_that_are_text_come_back_as_text(
    night: Night, cold: NightResult, edited_data: Edit, tmp_path: Path
) -> None:
    """The ids sort as the numbers did, so the night is the same but for their names."""
    data = edited_data(
        users=as_text("user_id"), items=as_text("item_id", "creator_id"), interactions=as_text("user_id", "item_id")
    )
    frame, numbers = matches_of(night(tmp_path / "out", data=data)), matches_of(cold)
    assert frame["user"].tolist() == [f"id {user:09d}" for user in numbers["user"]]
    assert frame["item"].tolist() == [f"id {item:09d}" for item in numbers["item"]]
    assert frame["score"].equals(numbers["score"])


def test_the_unit_of_the_content_does_not_matter(
    night: Night, cold: NightResult, edited_data: Edit, tmp_path: Path
) -> None:
    """Numbers whose squares are beyond float32; scaled by a power of two, so the directions are the same bits."""

    def scale(table: pa.Table) -> pa.Table:
        values = table["content"].combine_chunks()
        scaled = pa.array(values.flatten().to_numpy() * np.float32(2.0**100))
        column = pa.FixedSizeListArray.from_arrays(scaled, values.type.list_size)
        return table.set_column(table.column_names.index("content"), "content", column)

    assert same_bytes(night(tmp_path / "out", data=edited_data(items=scale)), cold)


def test_the_built_in_world_needs_no_files(night: Night, cold: NightResult, tmp_path: Path) -> None:
    result = night(tmp_path / "out")
    assert result.metrics["data"]["name"] == cold.metrics["data"]["name"]
    assert result.metrics["problem"]["items"] == cold.metrics["problem"]["items"]
    assert result.metrics["allocation"]["gap"] <= 1e-3


def test_a_night_is_not_computed_twice(night: Night, tmp_path: Path, small_data: Path, cold: NightResult) -> None:
    first = night(tmp_path / "out", data=small_data)
    again = night(tmp_path / "out", "threads=1", data=small_data)
    assert (first.reused, again.reused) == (False, True)
    assert again.run_dir == first.run_dir
    assert same_bytes(first, cold)


def test_creators_that_are_no_users_are_said_and_nobody_is_excluded(
    night: Night, edited_data: Edit, tmp_path: Path
) -> None:
    def name(table: pa.Table) -> pa.Table:
        text = pa.array([f"maker {creator}" for creator in table["creator_id"].to_pylist()])
        return table.set_column(table.schema.get_field_index("creator_id"), "creator_id", text)

    result = night(tmp_path / "out", data=edited_data(items=name))
    assert any("Creators are not identified by user ids" in note for note in result.metrics["notes"])


def test_a_creator_column_without_any_creator_is_done_without(night: Night, edited_data: Edit, tmp_path: Path) -> None:
    def clear(table: pa.Table) -> pa.Table:
        nothing = pa.nulls(len(table), table["creator_id"].type)
        return table.set_column(table.schema.get_field_index("creator_id"), "creator_id", nothing)

    result = night(tmp_path / "out", data=edited_data(items=clear))
    assert result.metrics["allocation"]["matches"] > 0


def test_a_night_without_any_match_says_so(night: Night, tmp_path: Path) -> None:
    result = night(tmp_path / "out", "allocation.capacity=0")
    assert result.metrics["allocation"]["matches"] == 0
    assert any("No match was made" in note for note in result.metrics["notes"])
