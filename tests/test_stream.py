"""Uploads between nights: what each gets, several processes at one store, midnight, bad lines, signals and kills."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.alloc.config import load_config
from dualrec.alloc.errors import InputError
from dualrec.alloc.match_store import MatchStore, StoreError
from dualrec.alloc.night import run_night
from dualrec.alloc.sqlite_store import SqliteStore
from dualrec.alloc.stream import Stream, Upload
from dualrec.alloc.stream_lines import answer_line
from dualrec.alloc.stream_prices import StreamPrices, load_stream_prices
from dualrec.alloc.tables import DAY_MS
from dualrec.alloc.upload_lines import MOST_LINE_BYTES, read_upload
from dualrec.solvers.online_prices import BidCurves

NOON = 1_000 * DAY_MS + DAY_MS // 2
IDS = np.array([10, 20, 30, 40, 50])


def prices_of(capacity: list[int], bids: float = 0.0, ids: np.ndarray = IDS) -> StreamPrices:
    users = len(capacity)
    curves = BidCurves(np.full((users, 8), bids, np.float32), 100)
    return StreamPrices(ids[:users], np.array(capacity), curves, np.full(96, 2), 3_600_000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "m.db")
    yield made
    made.close()


def upload(item: str, user: list, score: list[float] | None = None, demand: int = 2, **more: object) -> Upload:
    return Upload(item, user, score or [1.0 / (1 + k) for k in range(len(user))], demand, **more)  # type: ignore[arg-type]


def test_an_upload_gets_its_best_known_users_and_keeps_them(store: MatchStore) -> None:
    stream = Stream(prices_of([1, 1, 1, 0, 1]), store)
    answer = stream.allocate(upload("a", [99, 40, 30, 20, 10], excluded=[20, 98]), NOON)
    assert stream.names(answer) == [30, 10], "99 is unknown, 40 has no place, 20 is excluded"
    again = stream.allocate(upload("a", [50], demand=1), NOON + 5)
    assert again.repeated and stream.names(again) == [30, 10]
    topped = stream.allocate(upload("a", [30, 50, 20], demand=1, part=1), NOON)
    assert stream.names(topped) == [50]
    assert stream.names(stream.allocate(upload("b", [10, 30, 20]), NOON)) == [20]


def test_a_user_dearer_than_the_score_is_left_for_others(store: MatchStore) -> None:
    prices = prices_of([1, 1], bids=0.5)
    morning = 1_000 * DAY_MS + prices.day_start + 1
    stream = Stream(prices, store)
    assert stream.names(stream.allocate(upload("a", [10, 20], [0.2, 0.9]), morning)) == [20]


def test_string_ids(store: MatchStore) -> None:
    stream = Stream(prices_of([1, 1], ids=np.array(["x", "yy"])), store)
    assert stream.names(stream.allocate(upload("a", ["yy", "zzz", "x"]), NOON)) == ["yy", "x"]
    with pytest.raises(InputError, match="expected strings"):
        stream.allocate(upload("b", [1]), NOON)


def test_two_processes_share_one_store_and_the_next_best_stand_in(store: SqliteStore) -> None:
    prices = prices_of([1, 1, 1, 1, 1])
    one, other = Stream(prices, store), Stream(prices, SqliteStore(store.path))
    other.allocate(upload("first", [50], demand=1), NOON)
    assert one.names(one.allocate(upload("a", [10, 20], demand=1), NOON)) == [10]
    # The other has not heard of that yet: 10 is refused by the store, 30 stands in.
    asked = upload("b", [10, 20, 30, 40], demand=3)
    assert other.names(other.allocate(asked, NOON)) == [20, 30, 40]
    assert store.left(other.day).tolist() == [0, 0, 0, 0, 0]
    other.store.close()


def test_places_are_free_again_after_midnight_and_a_clock_that_goes_back_stays(
    store: MatchStore, tmp_path: Path
) -> None:
    prices = prices_of([1])
    stream = Stream(prices, store)
    midnight = 1_001 * DAY_MS + prices.day_start
    assert stream.names(stream.allocate(upload("a", [10]), midnight - 1)) == [10]
    assert stream.names(stream.allocate(upload("b", [10]), midnight - 1)) == []
    assert stream.names(stream.allocate(upload("c", [10]), midnight)) == [10]
    assert stream.names(stream.allocate(upload("d", [10]), midnight - 1)) == []
    assert stream.day == 1_001
    dear = Stream(prices_of([9], bids=0.5), SqliteStore(tmp_path / "dear.db"))
    dear.allocate(upload("x", [10], [9.0]), midnight + 1)
    assert dear.names(dear.allocate(upload("y", [10], [0.1]), midnight - 2)) == [], "not at the prices of the day's end"
    dear.store.close()
    assert stream.allocate(upload("a", [10]), midnight + 9).repeated


def test_one_that_starts_in_the_middle_of_a_day_knows_what_was_done(store: MatchStore) -> None:
    prices = prices_of([2, 1])
    Stream(prices, store).allocate(upload("a", [10, 20]), NOON)
    late = Stream(prices, store)
    assert late.names(late.allocate(upload("b", [20, 10]), NOON)) == [10]
    assert late._rule.answered == 2 and late._rule.left.tolist() == [0, 0]


def test_the_share_of_the_day_gone_is_that_of_the_nights_uploads() -> None:
    arrivals = np.zeros(96, np.int64)
    arrivals[[10, 20]] = 3, 1
    prices = StreamPrices(IDS, np.ones(5), BidCurves(np.zeros((5, 8), np.float32), 4), arrivals, 7_200_000)
    quarter = DAY_MS // 96
    gone = [prices.gone(7_200_000 + 5 * DAY_MS + int(at * quarter)) for at in (0, 10, 10.5, 11, 20, 21, 95)]
    assert gone == pytest.approx([0, 0, 0.375, 0.75, 0.75, 1, 1])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "not JSON"),
        ("[1]", "expected an object"),
        ('{"users": [], "scores": []}', "item is missing"),
        ('{"item": "a", "users": [1]}', "scores is missing"),
        ('{"item": "a", "users": 1, "scores": []}', "users is 1"),
        ('{"item": true, "users": [], "scores": []}', "item is True"),
        ('{"item": "a", "users": [1], "scores": ["1"]}', "score '1'"),
        ('{"item": "a", "users": [1], "scores": [1], "demnd": 3}', "unknown field 'demnd'"),
        ('{"item": "a", "users": [1], "scores": [NaN]}', "NaN is no number"),
        ('{"item": "a", "users": [1], "scores": [1], "demand": 2.5}', "demand is 2.5"),
        ('{"item": "a", "users": [1], "scores": [1], "demand": 100000000000000000000}', "demand is 1000"),
        ("[" * 100_000, "not JSON"),
        ("x" * (MOST_LINE_BYTES + 1), "longer than"),
    ],
)
def test_lines_that_are_no_uploads(line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_upload(line.encode(), 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"users": [10], "scores": [1, 2]}, "1 users and 2 scores"),
        ({"users": [10, 10], "scores": [1, 2]}, "stands twice"),
        ({"users": [10], "scores": [-1]}, "not negative"),
        ({"users": [10], "scores": [1e400]}, "no number in JSON"),
        ({"users": [10], "scores": [1e300]}, "range of float32"),
        ({"users": [10], "scores": [1], "demand": -1}, "demand is -1"),
        ({"users": [10], "scores": [10**400]}, "too large"),
        ({"users": [10], "scores": [1], "item": "\ud800"}, "UTF-8"),
        ({"users": [10], "scores": [1], "part": -1}, "part is -1"),
        ({"users": [[10]], "scores": [1]}, "user ids"),
        ({"users": [None], "scores": [1]}, "user id None"),
        ({"users": [2**70], "scores": [1]}, "64 signed bits"),
        ({"users": [10], "scores": [1], "item": ""}, "0 characters"),
        ({"users": [10], "scores": [1], "item": "x" * 257}, "257 characters"),
    ],
)
def test_a_bad_upload_is_answered_with_what_is_wrong_and_changes_nothing(
    store: MatchStore, fields: dict, message: str
) -> None:
    stream = Stream(prices_of([1, 1]), store)
    found = answer_line(stream, json.dumps({"item": "a", **fields}).encode(), 7, 2, lambda: NOON / 1000)
    assert message in found["error"] and found["line"] == 7 and found["kind"] in ("input", "store")
    good = answer_line(stream, b'{"item": "a", "users": [10], "scores": [1]}', 8, 2, lambda: NOON / 1000)
    assert good == {"item": "a", "part": 0, "users": [10], "scores": [1.0], "repeated": False}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("item", "users", "scores", "demand", "excluded", "part", "other"), JSON)
)


def test_bytes_that_are_no_text_are_no_item(store: MatchStore) -> None:
    found = answer_line(Stream(prices_of([1]), store), b'{"item": "\xff", "users": [10], "scores": [1]}', 1, 2)
    assert "not JSON" in found["error"]


def test_another_night_does_not_read_rows_as_its_own_users(store: MatchStore) -> None:
    first = Stream(prices_of([1, 1, 1]), store)
    first.allocate(upload("a", [10, 30]), NOON)
    other = Stream(prices_of([1, 1, 1], ids=np.array([7, 8, 9])), store)
    with pytest.raises(StoreError, match="other users"):
        other.allocate(upload("a", [7]), NOON)
    with pytest.raises(StoreError, match="other users"):
        other.allocate(upload("b", [7]), NOON)
    later = Stream(prices_of([1, 1, 1], ids=np.array([7, 8, 9])), store)
    assert later.names(later.allocate(upload("b", [7]), NOON + DAY_MS)) == [7]


def test_one_that_has_not_heard_of_the_others_reads_anew_before_it_gives_too_few(store: SqliteStore) -> None:
    prices = prices_of([1] * 200, ids=np.arange(200))
    one, other = Stream(prices, store), Stream(prices, SqliteStore(store.path))
    one.allocate(upload("first", [199], demand=1), NOON)
    score = np.linspace(2, 1, 200).tolist()
    for number in range(9):
        other.allocate(upload(f"other {number}", list(range(200)), score, 10), NOON)
    answer = one.allocate(upload("a", list(range(200)), score, 10), NOON)
    assert one.names(answer) == list(range(90, 100))
    other.store.close()


def test_a_number_that_only_json_can_write(store: MatchStore) -> None:
    found = answer_line(Stream(prices_of([1]), store), b'{"item": "a", "users": [10], "scores": [1e400]}', 1, 2)
    assert "finite" in found["error"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from("abcdef"),
                st.integers(0, 1),
                st.lists(st.sampled_from([10, 20, 30, 40, 50, 99]), max_size=5),
                st.integers(0, 4),
            ),
            max_size=5,
        ),
        max_size=4,
    ),
    st.lists(st.integers(0, 3), min_size=5, max_size=5),
)
def test_many_together_are_allocated_as_one_after_the_other(
    tmp_path_factory: pytest.TempPathFactory, batches: list, capacity: list[int]
) -> None:
    """With a user twice in an upload, items again and top-ups among them."""
    folder = tmp_path_factory.mktemp("both")
    one, many = (Stream(prices_of(capacity, 0.1), SqliteStore(folder / name)) for name in ("one.db", "many.db"))
    for batch in batches:
        uploads = [
            Upload(item, user, [1 / (1 + k) for k in range(len(user))], demand, part=part)
            for item, part, user, demand in batch
        ]
        found = []
        for asked in uploads:
            try:
                found.append(one.allocate(asked, NOON))
            except InputError as error:
                found.append(error)
        for alone, together in zip(found, many.allocate_many(uploads, NOON), strict=True):
            assert type(alone) is type(together)
            if isinstance(alone, InputError):
                assert str(alone) == str(together)
            else:
                assert (one.names(alone), alone.repeated) == (many.names(together), together.repeated)
        assert one._rule.answered == many._rule.answered
        assert one._rule.left.tolist() == many._rule.left.tolist() == many.store.left(many.day).tolist()
    for stream in (one, many):
        stream.store.close()


@given(st.one_of(st.binary(max_size=40), FIELDS.map(lambda given: json.dumps(given).encode())))
def test_whatever_comes_is_answered(tmp_path_factory: pytest.TempPathFactory, line: bytes) -> None:
    store = SqliteStore(tmp_path_factory.getbasetemp() / "fuzz.db")
    answer = answer_line(Stream(prices_of([1, 1]), store), line, 1, 2, lambda: NOON / 1000)
    json.dumps(answer)
    assert ("error" in answer) != ("users" in answer)
    store.close()


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A night of a small world."""
    small = ["data.world.users=300", "data.world.creators=40", "data.world.items_per_day=20", "data.world.days=12"]
    quick = ["towers.epochs=1", "activity.trees=10", f"out={tmp_path_factory.mktemp('night')}"]
    return run_night(load_config("nightly", [*small, *quick])).run_dir


def command(run_dir: Path, store: Path, *more: str) -> list[str]:
    where = ["--run", str(run_dir), "--store", str(store), *more]
    return [sys.executable, "-c", "from dualrec.alloc.cli import main; main()", "stream", *where]


def uploads(count: int) -> list[str]:
    rng = np.random.default_rng(3)
    return [
        json.dumps({"item": f"new {n}", "users": rng.permutation(300)[:60].tolist(), "scores": rng.random(60).tolist()})
        for n in range(count)
    ]


def test_a_nights_prices_start_a_stream(run_dir: Path, tmp_path: Path) -> None:
    prices = load_stream_prices(run_dir)
    items = json.loads((run_dir / "metrics.json").read_text())["problem"]["items"]
    assert prices.curves.items == prices.arrivals.sum() == items
    assert (np.diff(prices.curves.bids, axis=1) <= 0).all() and prices.curves.bids.max() > 0
    source = tmp_path / "uploads.jsonl"
    source.write_text("\n".join(["", *uploads(5), "{}"]) + "\n")
    words = command(run_dir, tmp_path / "m.db", "--input", str(source), "--demand", "3")
    found = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    answers = [json.loads(line) for line in found.stdout.splitlines()]
    assert [answer.get("item") for answer in answers] == [*(f"new {n}" for n in range(5)), None]
    assert all(0 < len(answer["users"]) <= 3 for answer in answers[:5]) and "missing" in answers[5]["error"]
    (run_dir / "prices.parquet").chmod(0o644)
    whole = (run_dir / "prices.parquet").read_bytes()
    (run_dir / "prices.parquet").write_bytes(whole[:-9] + b"012345678")
    bad = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    (run_dir / "prices.parquet").write_bytes(whole)
    assert bad.returncode == 2 and "prices.parquet" in bad.stderr and bad.stdout == ""


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_for_uploads(run_dir: Path, tmp_path: Path, kind: signal.Signals) -> None:
    words = command(run_dir, tmp_path / "m.db")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        process.stdin.write(uploads(1)[0] + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["item"] == "new 0"
        process.send_signal(kind)
        assert process.wait(30) == 0
        assert process.stdout.read() == ""


def test_what_was_acknowledged_before_a_kill_is_answered_again(run_dir: Path, tmp_path: Path) -> None:
    source, store = tmp_path / "uploads.jsonl", tmp_path / "m.db"
    source.write_text("\n".join(uploads(400)) + "\n")
    words = command(run_dir, store, "--input", str(source), "--demand", "5")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        first = process.stdout.readline()
        time.sleep(0.05)
        process.kill()
        lines = [first, *process.stdout]
    told = [json.loads(line) for line in lines if line.endswith("\n")]
    assert 0 < len(told) < 400
    again = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    answers = [json.loads(line) for line in again.stdout.splitlines()]
    assert len(answers) == 400
    assert [answer["users"] for answer in answers[: len(told)]] == [answer["users"] for answer in told]
    assert all(answer["repeated"] for answer in answers[: len(told)]) and not answers[-1]["repeated"]
