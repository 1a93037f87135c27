"""A new night under running streams: when it comes into force, and what becomes of those who were answered before."""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.alloc import latest_night
from dualrec.alloc.errors import InputError
from dualrec.alloc.match_store import OtherPeopleError, StoreError
from dualrec.alloc.nights import Nights
from dualrec.alloc.sqlite_store import SqliteStore
from dualrec.alloc.stream import Stream, Upload
from dualrec.alloc.tables import DAY_MS

NOON = 1_000 * DAY_MS + DAY_MS // 2
OLD, NEW = [10, 20, 30], [30, 40, 10]


class Process:
    """The nights of one process on a store of its own."""

    def __init__(self, path: Path, streams: ModuleType, ids: list[int] = OLD) -> None:
        self.store, self.streams, self.said = SqliteStore(path), streams, list[str]()
        self.nights = Nights("old", self.stream(ids), self.said.append)

    def stream(self, ids: list[int], capacity: int = 2, bids: float = 0.0) -> Stream:
        return Stream(self.streams.prices_of(ids, capacity, bids), self.store)

    def ask(self, item: str, user: list[int], now: int, demand: int = 1) -> list:
        answer = self.nights.allocate(Upload(item, user, [1.0] * len(user), demand), now)
        return self.nights.names(answer)


@pytest.fixture
def one(stream_processes: ModuleType, tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path / "m.db", stream_processes)
    yield made
    made.store.close()


@pytest.fixture
def other(one: Process, stream_processes: ModuleType) -> Iterator[Process]:
    made = Process(one.store.path, stream_processes)
    yield made
    made.store.close()


def test_the_same_users_have_new_prices_at_once(one: Process) -> None:
    assert one.ask("a", [10], NOON) == [10]
    one.nights.offer("new", one.stream(OLD, bids=5.0))
    assert one.ask("b", [10], NOON) == [], "a score of 1 is below the new price"
    assert one.ask("a", [20], NOON) == [10]
    assert one.said == ["new is in force, before it was old"]
    assert one.store.left(1_000).tolist() == [1, 2, 2]


@pytest.mark.parametrize("new", [(NEW, 2), (OLD, 3), ([10, 20], 2)])
def test_other_users_or_places_wait_for_midnight(one: Process, new: tuple[list[int], int]) -> None:
    one.ask("a", [10], NOON)
    one.nights.offer("new", one.stream(*new))
    for late in (0, 5, DAY_MS // 2 - 1):
        assert one.ask(f"b{late}", [30], NOON + late) == ([30] if late < 6 else [])
    assert one.said == ["new has other users or places than day 1000: old stays in force until the day ends"]
    assert one.ask("c", [99, *new[0]], NOON + DAY_MS // 2) == [new[0][0]]
    assert one.said[1:] == ["new is in force, before it was old"]
    assert one.ask("a", [20], NOON + DAY_MS) == [10], "an answer of before, by its own users' names"
    assert one.ask("d", [new[0][0]], NOON) == [new[0][0]], "a clock that goes back stays on the later day"
    assert one.store.answered(1_000) == 4 and one.store.answered(1_001) == 2


def test_a_process_that_has_not_heard_of_the_night_waits_for_it(one: Process, other: Process) -> None:
    midnight = NOON + DAY_MS // 2
    for process in (one, other):
        process.ask("a", [10], NOON)
    one.nights.offer("new", one.stream(NEW))
    assert one.ask("b", [40], midnight) == [40]
    with pytest.raises(OtherPeopleError, match="day 1001"):
        other.ask("c", [40], midnight)
    other.nights.offer("new", other.stream(NEW))
    assert other.ask("c", [40], midnight) == [40]
    assert other.ask("b", [10], midnight) == [40] and other.ask("a", [20], midnight) == [10]


def test_one_that_heard_of_the_night_stays_with_those_who_did_not(one: Process, other: Process) -> None:
    midnight = NOON + DAY_MS // 2
    one.ask("a", [10], NOON)
    one.nights.offer("new", one.stream(NEW))
    assert other.ask("b", [20], midnight) == [20], "opens the day for the users of before"
    assert one.ask("c", [20, 40], midnight) == [20]
    other.nights.offer("new", other.stream(NEW))
    assert other.ask("d", [20, 30], midnight, 2) == [30]
    assert [process.ask("e", [40], midnight + DAY_MS) for process in (one, other)] == [[40], [40]]
    assert one.said[-1] == other.said[-1] == "new is in force, before it was old"


def test_ids_of_another_kind_are_refused(one: Process) -> None:
    with pytest.raises(InputError, match="restart"):
        one.nights.offer("new", one.stream(["a", "b", "c"]))  # type: ignore[arg-type]
    assert one.ask("a", [10], NOON) == [10]


@settings(max_examples=25)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 2),  # which process
            st.sampled_from(["ask", "ask", "ask", "ask", "offer new", "offer old"]),
            st.integers(-3 * 3_600_000, 3 * 3_600_000),  # its clock, about midnight
            st.lists(st.sampled_from([10, 20, 30, 40]), min_size=1, max_size=4, unique=True),
        ),
        max_size=40,
    )
)
def test_whatever_the_clocks_and_nights_no_user_gets_more_than_its_places(
    steps: list, stream_processes: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Three processes whose clocks go forward and back over midnight, and two nights, of other users."""
    midnight = NOON + DAY_MS // 2
    path = tmp_path_factory.mktemp("nights") / "m.db"
    crowd = [Process(path, stream_processes) for _ in range(3)]
    told: dict[str, tuple[int, list[int]]] = {}
    for number, (which, what, late, user) in enumerate(steps):
        process = crowd[which]
        if what != "ask":
            process.nights.offer(what, process.stream(NEW if what == "offer new" else OLD))
            continue
        with contextlib.suppress(OtherPeopleError):
            answer = process.nights.allocate(Upload(f"i{number}", user, [1.0] * len(user), 2), midnight + late)
            told[answer.item] = answer.day, process.nights.names(answer)  # type: ignore[assignment]
    for day in {day for day, _ in told.values()}:
        given_to = [user for of_day, users in told.values() if of_day == day for user in users]
        assert max(np.bincount(given_to), default=0) <= 2
        for item, (of_day, _) in told.items():
            if of_day == day:
                assert crowd[0].store.answer(item) is not None
        assert (crowd[0].store.left(day) >= 0).all()
    for process in crowd:
        process.store.close()


# Real processes


def test_a_service_goes_over_to_the_night_that_is_published(stream_processes: ModuleType, tmp_path: Path) -> None:
    out, store = tmp_path / "out", tmp_path / "m.db"
    stream_processes.publish_prices(out, stream_processes.prices_of(OLD, 99), "first")
    with stream_processes.serving(out, str(store)) as (process, port):

        def ask(item: str) -> Any:
            upload = {"item": item, "users": [10, 40], "scores": [1, 1], "demand": 2}
            answer = httpx.post(f"http://127.0.0.1:{port}/items", json=upload, timeout=30)
            return answer.json()["users"]

        assert ask("a") == [10]
        stream_processes.publish_prices(out, stream_processes.prices_of(OLD, 99, 5.0), "dear")
        number = iter(range(1_000))
        stream_processes.until(lambda: time.sleep(0.2) or ask(f"b{next(number)}") == [])
        damaged = stream_processes.publish_prices(out, stream_processes.prices_of(OLD, 98), "damaged")
        (damaged / "prices.parquet").write_bytes(b"x")
        stream_processes.publish_prices(out, stream_processes.prices_of(["a"], 3), "text")
        time.sleep(2 * latest_night.LOOK_SECONDS)
        stream_processes.publish_prices(out, stream_processes.prices_of([40, 50], 1), "others")
        time.sleep(2 * latest_night.LOOK_SECONDS)
        assert ask("c") == [] and ask("a") == [10]
        said = stream_processes.stopped(process).splitlines()
    assert said[0] == "dualrec: dear is in force, before it was first"
    assert "text names its users by another kind of ids" in "".join(said)
    assert said[-1].startswith("dualrec: others has other users or places than day") and len(said) <= 4


def test_a_restart_in_mid_day_finds_the_night_of_the_day(stream_processes: ModuleType, tmp_path: Path) -> None:
    out, words = tmp_path / "out", ["stream", "--out", str(tmp_path / "out"), "--store", str(tmp_path / "m.db")]
    line = json.dumps({"item": "a", "users": [10, 40], "scores": [1, 1], "demand": 2}) + "\n"
    day = int(time.time() * 1000) // DAY_MS
    for number, ids in enumerate((OLD, [40, 50], [60, 70])):
        stream_processes.publish_prices(out, stream_processes.prices_of(ids, 2), f"night {number}")
        with stream_processes.process(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            told, said = process.communicate(line, timeout=60)
        if int(time.time() * 1000) // DAY_MS != day:
            pytest.skip("midnight came in the middle of the test: the next night is in force")
        assert json.loads(told)["users"] == [10], said
        assert ("night 0 stays in force" in said) == (number > 0)
    with stream_processes.process([*words, "--run", "night 1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as named:
        told, said = named.communicate(line, timeout=60)
    assert "other users" in json.loads(told)["error"] and said == "", "a run that is named is the one used"


def test_a_store_that_cannot_be_reached_is_said_at_the_start(stream_processes: ModuleType, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "m.db")
    store.close()
    stream_processes.publish_prices(tmp_path / "out", stream_processes.prices_of(OLD, 2))
    with pytest.raises(StoreError):
        latest_night.open_nights(tmp_path / "out", None, store)
