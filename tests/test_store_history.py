"""The judge of the stores is judged: each kind of broken promise, made by hand, is named, and nothing else."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dualrec.alloc.match_store import Answer, Match

DAY = 5
CAPACITY = np.array([2, 1, 0, 3])
KEPT: dict[tuple[str, int], dict[int, float]] = {("a", 0): {3: 0.5, 0: 0.25}, ("a", 1): {1: 1.5}, ("b", 0): {3: -1.0}}


class Held:
    """A store that holds what it is given, right or wrong."""

    def __init__(self) -> None:
        self.places = np.array([1, 0, 0, 1])
        self.answers = {key: answered(*key, users) for key, users in KEPT.items()}
        self.waiting: dict[int, list[Match]] = {user: [] for user in range(4)}
        for (item, _), users in KEPT.items():
            for user, score in users.items():
                self.waiting[user].append(Match(item, score, False))

    def left(self, day: int) -> np.ndarray:
        return self.places

    def answer(self, item: str, part: int = 0) -> Answer | None:
        return self.answers.get((item, part))

    def matches(self, day: int, user: int) -> list[Match]:
        return self.waiting[user]


def answered(item: str, part: int, users: dict[int, float], day: int = DAY) -> Answer:
    return Answer(item, part, day, np.array([*users], np.int64), np.array([*users.values()], np.float32))


def line(item: str, part: int = 0, **changes: Any) -> dict[str, Any]:
    """What a writer logs of an answer of `KEPT`."""
    users = KEPT.get((item, part), {})
    fields = {"item": item, "part": part, "day": DAY, "users": [*users], "scores": [*users.values()], "repeated": False}
    return fields | changes


ALL = [line("a"), line("a", 1), line("b"), line("a", repeated=True)]


class Case:
    """Logs and a store without a fault, to be changed; `found` is what is wrong with them."""

    def __init__(self, history: ModuleType, folder: Path) -> None:
        self.history, self.folder, self.store = history, folder, Held()

    def found(self, *logs: Sequence[dict[str, Any] | bytes]) -> list[str]:
        paths = [self.folder / f"{number}.log" for number in range(len(logs))]
        for path, lines in zip(paths, logs, strict=True):
            path.write_bytes(
                b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in lines)
            )
        return self.history.violations(paths, self.store, DAY, CAPACITY)


@pytest.fixture
def case(store_history: ModuleType, tmp_path: Path) -> Case:
    return Case(store_history, tmp_path)


def test_nothing_is_wrong(case: Case) -> None:
    assert case.found(ALL) == case.found(ALL[:2], ALL[2:], []) == []
    assert case.found([]) == [], "writers killed before they logged what the store has"
    assert case.found([line("b", repeated=True)]) == [], "so the first that was told, was told again"


def test_imports_nothing_of_the_package(store_history: ModuleType) -> None:
    modules = {getattr(thing, "__module__", "") or "" for thing in vars(store_history).values()}
    assert not [name for name in modules if name.startswith("dualrec")]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_last_line_without_its_end_is_left_out(case: Case, cut: int) -> None:
    wrong = json.dumps(line("lost")).encode() + b"\n"
    assert case.found([*ALL, wrong[:-cut]]) == []
    assert case.found([*ALL, wrong]) == ["item 'lost' part 0 was acknowledged, the store has no answer"]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"3",
        b'{"item": "a"',
        b"\xff",
        json.dumps({"item": "a"}).encode(),
        json.dumps(line("a") | {"part": "0"}).encode(),
        json.dumps(line("a") | {"part": True}).encode(),
        json.dumps(line("a", scores=[0.5])).encode(),
        json.dumps(line("a", users=[3, "0"])).encode(),
    ],
)
def test_any_other_line_that_is_no_answer(case: Case, bad: bytes) -> None:
    first: list[dict[str, Any] | bytes] = [bad + b"\n", *ALL]
    for number, lines in ((1, first), (5, first[::-1])):
        found = case.found([], lines)
        assert len(found) == 1
        assert found[0].startswith(f"1.log line {number} is no answer")


def test_a_user_over_its_capacity(case: Case) -> None:
    case.store.waiting[1].append(Match("c", 1.0, False))
    case.store.answers["c", 0] = answered("c", 0, {1: 1.0})
    more = line("c", users=[1], scores=[1.0])
    by_store = [
        "user 1 has 2 matches in the store, over its capacity 1",
        "user 1 has 0 places left and 2 matches, expected 1 together",
    ]
    assert case.found(ALL) == by_store
    assert case.found(ALL, [more]) == ["user 1 has 2 acknowledged matches, over its capacity 1", *by_store]


def test_a_user_over_its_capacity_by_the_logs_alone(case: Case) -> None:
    """The store forgot the first of two answers."""
    more = line("c", users=[1], scores=[1.0])
    assert "user 1 has 2 acknowledged matches, over its capacity 1" in case.found(
        ALL, [more, {**more, "repeated": True}]
    )
    assert "user 4 has 1 acknowledged matches, the day does not know it" in case.found(
        [line("c", users=[4], scores=[1.0])]
    )


def test_an_acknowledged_answer_that_the_store_lost_or_changed(case: Case) -> None:
    case.store.answers["b", 0] = answered("b", 0, {3: 2.0})
    assert case.found(ALL) == ["item 'b' part 0 was acknowledged with scores [-1.0], the store has [2.0]"]
    case.store.answers["b", 0] = answered("b", 0, {3: -1.0, 0: 1.0})
    assert case.found(ALL) == ["item 'b' part 0 was acknowledged with users [3], the store has [3, 0]"]
    case.store.answers["b", 0] = answered("b", 0, KEPT["b", 0], day=6)
    assert case.found(ALL) == ["item 'b' part 0: the store has it as item 'b' part 0 of day 6"]
    del case.store.answers["b", 0]
    assert case.found(ALL) == ["item 'b' part 0 was acknowledged, the store has no answer"]


def test_the_order_of_the_users_is_part_of_an_answer(case: Case) -> None:
    turned = line("a", users=[0, 3], scores=[0.25, 0.5])
    assert case.found([turned]) == ["item 'a' part 0 was acknowledged with users [0, 3], the store has [3, 0]"]


@pytest.mark.parametrize("change", [{"users": [0]}, {"scores": [2.0]}])
def test_an_item_with_different_acknowledged_answers(case: Case, change: dict[str, Any]) -> None:
    first = [line("a"), line("a", 1), line("b")]
    found = case.found(first, [line("b", repeated=True, **change)])
    assert found[0].startswith("item 'b' part 0 has different acknowledged answers: [[3], ")


def test_an_item_that_is_new_twice_or_of_another_day(case: Case) -> None:
    assert case.found(ALL, [line("b")]) == ["item 'b' part 0 was acknowledged as new more than once"]
    assert case.found(ALL, [line("b", repeated=True, day=6)]) == ["item 'b' part 0 was answered for a day other than 5"]


@pytest.mark.parametrize(("left", "sum_"), [(0, 1), (2, 3), (-1, 0)])
def test_places_that_are_lost_or_made(case: Case, left: int, sum_: int) -> None:
    case.store.places[0] = left
    assert sum_ != CAPACITY[0]
    assert case.found(ALL) == [f"user 0 has {left} places left and 1 matches, expected 2 together"]


def test_users_that_are_lost(case: Case) -> None:
    case.store.places = case.store.places[:3]
    assert case.found(ALL) == ["the store has 3 users, expected 4"]


def test_a_user_twice_in_an_item(case: Case) -> None:
    case.store.answers["b", 0] = answered("b", 0, KEPT["b", 0])
    case.store.answers["b", 1] = answered("b", 1, KEPT["b", 0])
    top_up = line("b", 1, users=[3], scores=[-1.0])
    assert case.found(ALL, [top_up]) == ["item 'b' lists user 3 twice"]
    twice = line("a", users=[3, 3], scores=[0.5, 0.5])
    assert "item 'a' lists user 3 twice" in case.found([twice])


def test_a_match_that_is_lost_or_changed(case: Case) -> None:
    case.store.waiting[3][1] = Match("b", 7.0, False)
    assert case.found(ALL) == ["user 3 has item 'b' with score 7.0, acknowledged was -1.0"]
    del case.store.waiting[3][1]
    case.store.places[3] += 1
    assert case.found(ALL) == ["user 3 was acknowledged for item 'b', the store has no such match"]


def test_a_match_twice_or_without_an_answer(case: Case) -> None:
    case.store.waiting[3].append(Match("b", -1.0, False))
    case.store.places[3] -= 1
    assert case.found(ALL) == ["user 3 has a match twice in the store"]
    case.store.waiting[3][2] = Match("c", 1.0, False)
    assert case.found(ALL) == ["user 3 has a match with item 'c', which no answer lists"]
