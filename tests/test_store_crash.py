"""`kill -9` of writers at random moments: no acknowledged answer is lost, no user gets more than its places.

A kill loses nothing that was handed to the kernel, so these tests say nothing about a power failure.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

DAY, USERS = 5, 300
CAPACITY = np.random.default_rng(1).integers(0, np.tile([6, 1500], USERS // 2))  # some full at once, some never
WRITER, BROKEN = (str(Path(__file__).with_name(f"{name}.py")) for name in ("store_writer", "broken_stores"))
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the state of a process is read in /proc")
Check = Callable[[Any, str], list[str]]


@pytest.fixture
def where(tmp_path: Path, store_writer: ModuleType) -> str:
    """Where a store is whose day is open."""
    place = str(tmp_path / "matches.db")
    with contextlib.closing(store_writer.open_store(place)) as store:
        store.open_day(DAY, CAPACITY)
    return place


@pytest.fixture
def check(store_history: ModuleType, store_writer: ModuleType) -> Check:
    """What a crowd's history and its store, opened anew, break."""

    def violations(crowd: Any, place: str) -> list[str]:
        with contextlib.closing(store_writer.open_store(place)) as store:
            return store_history.violations(crowd.logs, store, DAY, CAPACITY)

    return violations


@pytest.fixture
def summary(store_history: ModuleType) -> Callable[[Any], Counter[str]]:
    """How many answers a crowd got, and what the history contains that a store may do wrong."""

    def count(crowd: Any) -> Counter[str]:
        told, _ = store_history.read_logs(crowd.logs)
        new = [one for one in told if not one.repeated]
        load = Counter(user for one in new for user in one.users)
        counts = Counter(new=len(new), repeated=len(told) - len(new), errors=len(crowd.errors), kills=crowd.kills)
        counts["top-up"] = sum(one.part > 0 for one in new)
        counts["with users"] = sum(one.users != () for one in new)
        counts["full users"] = sum(load[user] >= places > 0 for user, places in enumerate(CAPACITY.tolist()))
        return counts

    return count


def lock_errors_only(crowd: Any) -> bool:
    """Whether the store refused nothing but for a lock that others held for too long."""
    return all("locked" in line or "Busy" in line for line in crowd.errors)


def test_four_writers_killed_ten_times(
    where: str, check: Check, summary: Callable, store_crowd: ModuleType, tmp_path: Path
) -> None:
    with store_crowd.Crowd([WRITER, where], tmp_path, 11, DAY, USERS, 4000) as crowd:
        for number in range(10):
            crowd.start(4)
            crowd.wait_until_working()
            time.sleep(crowd.random.uniform(0.05, 0.3))
            crowd.kill_all()
            found = check(crowd, where)
            assert not found, f"seed {crowd.seed}, round {number}: {len(found)} violations, {found[:5]}"
    counts = summary(crowd)
    print(counts)
    assert lock_errors_only(crowd), f"seed {crowd.seed}: {crowd.errors[:5]}"
    assert min(counts[kind] for kind in ("repeated", "top-up", "with users")) > 100, f"too little: {counts}"
    assert counts["full users"] > 3, f"too few users without places left: {counts}"


@pytest.mark.slow
def test_sixteen_writers_killed_two_hundred_times(
    where: str, check: Check, summary: Callable, store_crowd: ModuleType, tmp_path: Path
) -> None:
    """One at a time, and another starts in its place; every 25 kills the others are paused for a check."""
    working = 0
    with store_crowd.Crowd([WRITER, where], tmp_path, 12, DAY, USERS, 20_000) as crowd:
        crowd.start(16)
        crowd.wait_until_working()
        for number in range(1, 201):
            time.sleep(crowd.random.uniform(0.01, 0.3))
            working += crowd.kill_one()
            crowd.start()
            if number % 25 == 0:
                with crowd.paused():
                    found = check(crowd, where)
                assert not found, f"seed {crowd.seed}, kill {number}: {len(found)} violations, {found[:5]}"
        crowd.kill_all()
        found = check(crowd, where)
    counts = summary(crowd)
    print(counts, f"kills of writers with an answer: {working}")
    assert not found, f"seed {crowd.seed}, at the end: {len(found)} violations, {found[:5]}"
    assert lock_errors_only(crowd), f"seed {crowd.seed}: {crowd.errors[:5]}"
    assert working >= 100, f"too few kills came after a writer's first answer to mean anything: {working}"
    assert min(counts[kind] for kind in ("repeated", "top-up", "with users")) > 1000, f"too little: {counts}"
    assert counts["full users"] > 30, f"too few users without places left: {counts}"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("LateAnswers", ["which no answer lists"]),
        ("StalePlaces", ["over its capacity"]),
        ("LateCommit", ["acknowledged, the store has no answer"]),
    ],
)
def test_a_broken_store_is_found_out(
    kind: str, words: list[str], where: str, check: Check, store_crowd: ModuleType, tmp_path: Path
) -> None:
    found: list[str] = []
    with store_crowd.Crowd([BROKEN, kind, where], tmp_path, 13, DAY, USERS, 4000) as crowd:
        for _ in range(20):  # a kill may miss the moment; twenty do not
            crowd.start(4)
            crowd.wait_until_working()
            time.sleep(crowd.random.uniform(0.1, 0.4))
            crowd.kill_all()
            found = check(crowd, where)
            if found:
                break
    assert any(all(word in one for word in words) for one in found), f"seed {crowd.seed}: {found[:5]}"
