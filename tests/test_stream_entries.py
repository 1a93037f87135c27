"""Uploads from a Redis stream: every entry is answered once for all, whoever dies on the way."""

import contextlib
import json
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import redis

from dualrec.alloc.errors import InputError
from dualrec.alloc.redis_source import RedisSource, SourceError
from dualrec.alloc.sqlite_store import SqliteStore
from dualrec.alloc.stop_signal import StopSignal
from dualrec.alloc.stream import Stream, Upload
from dualrec.alloc.stream_entries import MOST_TIMES, answer_entries
from dualrec.alloc.tables import DAY_MS

USERS, CAPACITY = list(range(100, 400)), 6
UPLOAD = {"item": "a", "users": [100, 103, 7], "scores": [0.5, 0.25, 1.0], "demand": 2}


class Stopped(StopSignal):
    """Stops by itself once the entries of these names were answered."""

    def __init__(self, answers: "Answers", names: list[bytes]) -> None:
        self.answers, self.names = answers, set(names)

    @property
    def asked(self) -> bool:  # type: ignore[override]
        return self.names <= {fields[b"upload"] for fields in self.answers.read()}

    @asked.setter
    def asked(self, _: bool) -> None:
        """As it says itself."""


class Answers:
    """A stream of uploads of its own on the tests' server, and what comes out."""

    def __init__(self, server: str, name: str) -> None:
        self.client: Any = redis.Redis.from_url(server, protocol=2)
        self.name, self.address = name, f"{server}?stream={name}"

    def add(self, *uploads: Any) -> list[bytes]:
        return [self.client.xadd(self.name, {"upload": json.dumps(upload)}) for upload in uploads]

    def read(self) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in self.client.xrange(f"{self.name}:answers")]

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(fields[b"answer"]) for fields in self.read()]

    def pending(self) -> int:
        return self.client.xpending(self.name, "dualrec")["pending"]


@pytest.fixture
def answers(redis_server: str, tmp_path: Path) -> Iterator[Answers]:
    made = Answers(redis_server, f"uploads {tmp_path.name}")
    yield made
    made.client.close()


@pytest.fixture
def stream(stream_processes: ModuleType, tmp_path: Path) -> Iterator[Stream]:
    made = Stream(stream_processes.prices_of(USERS, CAPACITY), SqliteStore(tmp_path / "m.db"))
    yield made
    made.store.close()


def answered(stream: Stream, answers: Answers, names: list[bytes], more: str = "") -> None:
    """Lets one consumer work until it has answered the entries."""
    answer_entries(stream, answers.address + more, 5, Stopped(answers, names))


def test_entries_are_answered_in_order_and_the_bad_ones_by_what_is_wrong(stream: Stream, answers: Answers) -> None:
    first = answers.add(UPLOAD, {"item": "b"}, {**UPLOAD, "item": "c", "scores": [1]})
    first.append(answers.client.xadd(answers.name, {"other": "x"}))
    first.append(answers.client.xadd(answers.name, {"upload": b"\xff\x00"}))
    first += answers.add(UPLOAD, {**UPLOAD, "item": "d", "users": [101], "scores": [1.5]})
    answered(stream, answers, first)
    assert [fields[b"upload"] for fields in answers.read()] == first
    good, *bad, again, last = answers.told()
    assert good == {"item": "a", "part": 0, "users": [100, 103], "scores": [0.5, 0.25], "repeated": False}
    words = ["users is missing", "3 users and 1 scores", "no field upload", "not JSON"]
    for found, entry, said in zip(bad, first[1:5], words, strict=True):
        assert said in found["error"] and found["entry"] == entry.decode() and found["kind"] == "input"
    assert bad[1]["item"] == "c"
    assert again == {**good, "repeated": True} and last["users"] == [101]
    assert answers.pending() == 0


def test_an_entry_that_keeps_killing_its_consumers_is_refused_and_harms_no_other(
    stream: Stream, answers: Answers
) -> None:
    bad, *rest = answers.add(*({**UPLOAD, "item": f"i{n}"} for n in range(3)))
    for number in range(MOST_TIMES + 1):
        with contextlib.closing(RedisSource(f"{answers.address}&claim=0.001")) as source:
            time.sleep(0.01)
            found = source.read()
            assert [one.name for one in found] == (
                [one.decode() for one in (bad, *rest)] if not number else [bad.decode()]
            )
    answered(stream, answers, [bad, *rest], "&claim=0.05")
    told = {fields[b"upload"]: json.loads(fields[b"answer"]) for fields in answers.read()}
    assert f"was handed out {MOST_TIMES + 2} times" in told[bad]["error"]
    assert all(told[one]["users"] == [100, 103] for one in rest)
    assert answers.pending() == 0


def test_an_answer_of_a_dead_night_is_said_and_blocks_nothing(
    stream: Stream, answers: Answers, stream_processes: ModuleType
) -> None:
    """An item that another night's users were given on an earlier day."""
    other = Stream(stream_processes.prices_of([1, 2], CAPACITY), stream.store)
    other.allocate(Upload("a", [1], [1.0], 1), int(1000 * time.time()) - DAY_MS)
    names = answers.add(UPLOAD, {**UPLOAD, "item": "b"})
    answered(stream, answers, names)
    first, second = answers.told()
    assert "other users" in first["error"] and first["kind"] == "store" and second["users"] == [100, 103]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("redis://h:1/0", "names no stream"),
        ("redis://h:1/0?stream=", "names no stream"),
        ("redis://h:1/0?stream=a&group=", "group is empty"),
        ("redis://h:1/0?stream=a&claim=0", "seconds above 0"),
        ("redis://h:1/0?stream=a&claim=x", "seconds above 0"),
        ("redis://h:1/0?stream", "--input"),
        ("redis://[::1/0?stream=a", "--input"),
        ("redis://h:x/0?stream=a", "Redis stream"),
    ],
)
def test_addresses_that_are_wrong(address: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        RedisSource(address)


def test_names_that_are_no_streams_and_servers_that_are_not_there(answers: Answers) -> None:
    answers.client.set(answers.name, "text")
    with pytest.raises(SourceError, match="WRONGTYPE"):
        RedisSource(answers.address)
    with pytest.raises(InputError, match="is a string, expected a stream"):
        RedisSource(f"{answers.address}-2&answers={answers.name}")
    with pytest.raises(SourceError, match="ConnectionError"):
        RedisSource("redis://127.0.0.1:1/0?stream=a")


def test_a_group_that_is_gone_is_made_again(stream: Stream, answers: Answers) -> None:
    with contextlib.closing(RedisSource(answers.address)) as source:
        answers.client.xgroup_destroy(answers.name, source.group)
        names = answers.add(UPLOAD)
        assert source.read() == []
        assert [entry.name for entry in source.read()] == [names[0].decode()]


def test_an_answer_that_cannot_be_written_leaves_the_entry_pending(answers: Answers) -> None:
    with contextlib.closing(RedisSource(answers.address)) as source:
        answers.add(UPLOAD)
        (entry,) = source.read()
        answers.client.set(source.answers, "text")
        with pytest.raises(SourceError, match="WRONGTYPE"):
            source.answer([(entry.name, "{}")])
    assert answers.pending() == 1, "nor does the consumer take it along when it closes"


def test_a_consumer_that_ends_in_good_order_leaves_no_name(answers: Answers) -> None:
    with contextlib.closing(RedisSource(answers.address)) as source:
        answers.add(UPLOAD)
        (entry,) = source.read()
        assert answers.client.xinfo_consumers(answers.name, source.group)
        source.answer([(entry.name, "{}")])
    assert not answers.client.xinfo_consumers(answers.name, source.group)


def many_uploads(count: int) -> list[dict[str, Any]]:
    """Uploads of which some come twice, want more than there is, or cannot be used."""
    rng = np.random.default_rng(11)
    return [
        {
            "item": f"new {int(rng.integers(0, count))}",
            "users": rng.choice(USERS, 40, replace=False).tolist(),
            "scores": rng.random(40 if rng.random() < 0.95 else 39).tolist(),
            "demand": int(rng.integers(1, 6)),
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("kind", "count", "kills"),
    [("sqlite", 500, 3), ("redis", 500, 3), pytest.param("sqlite", 8_000, 40, marks=pytest.mark.slow)],
    ids=["sqlite", "redis", "many"],
)
def test_consumers_are_killed_and_others_take_over(
    kind: str, count: int, kills: int, answers: Answers, stream_processes: ModuleType, tmp_path: Path
) -> None:
    """Three at once, `kill -9` again and again: every entry is answered, each item one answer, no user over its places."""
    store = str(tmp_path / "m.db") if kind == "sqlite" else answers.address.partition("?")[0]
    if kind == "redis":
        answers.client.delete("dualrec")
    stream_processes.publish_prices(tmp_path / "out", stream_processes.prices_of(USERS, CAPACITY))
    words = ["stream", "--out", str(tmp_path / "out"), "--store", store, "--input", f"{answers.address}&claim=0.5"]
    day, luck = int(time.time() * 1000) // DAY_MS, random.Random(5)
    uploads = iter(many_uploads(count))
    names: list[bytes] = []

    def add(some: int) -> None:
        names.extend(answers.add(*(upload for _, upload in zip(range(some), uploads, strict=False))))

    with contextlib.ExitStack() as stack:
        alive = [stack.enter_context(stream_processes.process(words)) for _ in range(3)]
        add(count // 5)
        stream_processes.until(answers.read)
        for _ in range(kills):
            add(count // (2 * kills))
            time.sleep(luck.uniform(0.02, 0.3))
            victim = alive.pop(luck.randrange(len(alive)))
            victim.kill()
            alive.append(stack.enter_context(stream_processes.process(words)))
        add(count)
        assert len(names) == count
        stream_processes.until(lambda: {fields[b"upload"] for fields in answers.read()} == set(names), 240)
        stream_processes.until(lambda: answers.pending() == 0)
        assert [stream_processes.stopped(one) for one in alive] == ["", "", ""]
    told = answers.told()
    times = Counter(fields[b"upload"] for fields in answers.read())
    good = [one for one in told if "error" not in one]
    print(f"{kills} kills, {len(names)} entries, {len(told)} answers, at most {max(times.values())} of one entry")
    assert len(good) > 0.9 * count and all(one["kind"] == "input" for one in told if "error" in one)
    if int(time.time() * 1000) // DAY_MS != day:
        pytest.skip("midnight came in the middle of the test: its answers are of two days")
    assert not stream_processes.broken_promises(store, day, np.full(len(USERS), CAPACITY), good, USERS)


def test_a_signal_ends_it_after_the_entries_at_hand(
    answers: Answers, stream_processes: ModuleType, tmp_path: Path
) -> None:
    stream_processes.publish_prices(tmp_path / "out", stream_processes.prices_of(USERS, CAPACITY))
    words = ["stream", "--out", str(tmp_path / "out"), "--store", str(tmp_path / "m.db"), "--input", answers.address]
    for kind in (signal.SIGINT, signal.SIGTERM):
        before = len(answers.read())
        with stream_processes.process(words, stdout=subprocess.PIPE) as process:
            answers.add(*({**UPLOAD, "item": f"{kind} {n}"} for n in range(200)))
            stream_processes.until(lambda: len(answers.read()) > before)  # noqa: B023
            process.send_signal(kind)
            out, err = process.communicate(timeout=30)
            assert (process.returncode, out, err) == (0, "", "")
        assert answers.pending() == 0
