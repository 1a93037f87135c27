"""Items that come after the night: scores from the published files beside the night's own, and users without candidates."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualrec.alloc.errors import InputError
from dualrec.alloc.item_scorer import ItemScorer
from dualrec.alloc.new_item import NewItem
from dualrec.alloc.night_view import NightView, load_view
from dualrec.alloc.publish import verify_run
from dualrec.alloc.scorer import load_scorer
from dualrec.alloc.serving_files import load_item_scorer
from dualrec.alloc.serving_names import scorer_of
from dualrec.alloc.sqlite_store import SqliteStore
from dualrec.alloc.stage_arrivals import known_of
from dualrec.alloc.stream import Stream, Upload
from dualrec.alloc.stream_lines import answer_line
from dualrec.alloc.stream_prices import load_stream_prices
from dualrec.alloc.tables import DAY_MS
from dualrec.alloc.upload_lines import read_upload
from dualrec.models.pair_scores import SIGNIFICANT_BITS, PairScorer

UNIT = 2.0 ** (1 - SIGNIFICANT_BITS)


@pytest.fixture(scope="module")
def plain(night: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """The output folder of a strict-cold night whose items have a category and nothing else."""
    import pyarrow.parquet as pq

    data = tmp_path_factory.mktemp("plain") / "data"
    shutil.copytree(small_data, data)
    items = pq.read_table(data / "items.parquet")
    pq.write_table(items.drop_columns(["creator_id", "content"]), data / "items.parquet")
    out = tmp_path_factory.mktemp("plain_out")
    night(out, data=data)
    return out


def opened(out: Path) -> tuple[NightView, PairScorer, ItemScorer]:
    """Of a night's folders: what it knew, its own scorer and the one from its published files."""
    work, run_dir = out / "work", (out / "latest").resolve()
    view = load_view(work / "tables")
    scorer = load_item_scorer(run_dir, load_stream_prices(run_dir).user_ids)
    return view, load_scorer(view, work / "retrieval", work / "ranking"), scorer


@pytest.mark.parametrize("kind", ["all known", "category alone"])
def test_the_published_files_score_as_the_night_did(kind: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("cold" if kind == "all known" else "plain")
    view, own, scorer = opened(request.getfixturevalue("cold_out" if kind == "all known" else "plain"))
    assert (len(own.excluded) > 0) == (kind == "all known")  # the authors
    for place, row in enumerate(view.new_items):
        expected = own.rows(np.array([place]))[0]
        found = scorer.scores(known_of(view.tables, int(row)), float(view.log.upload[row] % 1))
        # Deep in the logistic curve's tail a product's last bits are worth more than a unit of so small a score.
        np.testing.assert_allclose(found, expected, rtol=2 * UNIT, atol=UNIT * float(expected.max()) / 100)


def test_files_are_read_without_the_data_and_damage_is_told(cold: Any, tmp_path: Path) -> None:
    run_dir = tmp_path / "elsewhere"
    shutil.copytree(cold.run_dir, run_dir)
    ids = load_stream_prices(run_dir).user_ids
    assert scorer_of(run_dir, ids)().scores(NewItem("topic 001", 3, [1.0] * 8), 0.5).shape == ids.shape
    trees = run_dir / "serving" / "item_rate_trees.json"
    raw = trees.read_bytes()
    trees.write_bytes(raw[:-40] + b"0" * 40)
    with pytest.raises(InputError, match="damaged"):
        load_item_scorer(run_dir, ids)
    with pytest.raises(InputError, match="damaged"):
        verify_run(run_dir)
    shutil.rmtree(run_dir / "serving")
    with pytest.raises(InputError, match="run the night again"):
        load_item_scorer(run_dir, ids)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (NewItem(content=[1.0] * 7), "content has 7 numbers, expected 8"),
        (NewItem(category="topic 001"), "content has 0 numbers, expected 8"),
        (NewItem(content=[1.0] * 7 + [float("nan")]), "content is nan at place 7"),
        (NewItem(content=[1e300] + [0.0] * 7), "content is inf at place 0"),
        (NewItem(creator="x", content=[1.0] * 8), "creator 'x', expected an integer"),
    ],
)
def test_what_cannot_be_scored_is_refused(item: NewItem, expected: str, cold: Any, cold_out: Path) -> None:
    with pytest.raises(InputError, match=expected):
        opened(cold_out)[2].scores(item, 0.5)


def test_unknown_categories_and_creators_count_as_not_given(cold: Any, cold_out: Path) -> None:
    scorer, content = opened(cold_out)[2], np.linspace(-1, 1, 8).tolist()
    expected = scorer.scores(NewItem(content=content), 0.25)
    found = scorer.scores(NewItem("no such", 10**9, (10 * np.array(content)).tolist()), 0.25)
    np.testing.assert_allclose(found, expected, rtol=2 * UNIT)  # of content only the direction counts


def test_a_night_without_content_refuses_it(plain: Path) -> None:
    with pytest.raises(InputError, match="the night's items have none"):
        opened(plain)[2].scores(NewItem("topic 001", content=[1.0]), 0.5)


def test_an_upload_without_candidates_gets_the_best_of_all_users_by_score_less_price(
    cold: Any, cold_out: Path, tmp_path: Path
) -> None:
    prices, scorer = load_stream_prices(cold.run_dir), opened(cold_out)[2]
    store = SqliteStore(tmp_path / "m.db")
    stream = Stream(prices, store, lambda: scorer)
    item, now = (
        NewItem("topic 001", None, np.linspace(-1, 1, 8).tolist()),
        1_000 * DAY_MS + prices.day_start + DAY_MS // 2,
    )
    barred = prices.user_ids[:200].tolist()
    answer = stream.allocate(Upload("new", (), (), 25, excluded=barred, new=item), now)
    score = scorer.scores(item, 0.5)
    score[:200] = 0
    rule = Stream(prices, SqliteStore(tmp_path / "other.db"))._rule
    everybody = np.arange(len(score))
    best = rule.offer_one(everybody, score, 25, prices.gone(now))
    assert sorted(answer.user.tolist()) == best.tolist() and len(best) == 25
    assert answer.score == pytest.approx(score[answer.user])
    assert stream.allocate(Upload("new", (), (), 25, new=item), now).repeated
    store.close()


def test_a_line_brings_candidates_or_the_item_itself(cold: Any, tmp_path: Path) -> None:
    prices = load_stream_prices(cold.run_dir)
    store = SqliteStore(tmp_path / "m.db")
    stream = Stream(prices, store, scorer_of(cold.run_dir, prices.user_ids))

    def answered(**fields: object) -> dict[str, Any]:
        return answer_line(stream, json.dumps(fields).encode(), 1, 5)

    assert len(answered(item="a", category="topic 001", content=[0.5] * 8)["users"]) == 5
    assert "both users and category" in answered(item="b", users=[1], scores=[0.1], category="topic 001")["error"]
    assert "category, creator or content" in answered(item="b")["error"]
    assert "content has '1'" in answered(item="b", content=["1"] * 8)["error"]
    assert "item 'b': content has 2 numbers" in answered(item="b", content=[1, 2])["error"]
    assert "category is [1]" in answered(item="b", category=[1])["error"]
    assert (
        "nothing to find users with"
        in answer_line(Stream(prices, store), b'{"item": "c", "creator": 1}', 1, 5)["error"]
    )
    store.close()


def test_null_is_an_unknown_category() -> None:
    assert read_upload(b'{"item": "a", "category": null}', 5).new == NewItem()
