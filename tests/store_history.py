"""What a store of matches told its writers, held against what it says afterwards; imports nothing of the package.

Each writer has a log of its own: one JSON line (item, part, day, users, scores, repeated) for each acknowledged answer,
written after the acknowledgement. A history is of one day and has no `expire` and no `forget`, so that each match of an
acknowledged answer is still there. Writers must not write while the store is read: they are killed, or paused.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

FIELDS = {"item": str, "part": int, "day": int, "users": list, "scores": list, "repeated": bool}


class Readable(Protocol):
    """The part of a store that is read here."""

    def left(self, day: int) -> np.ndarray: ...
    def answer(self, item: str, part: int = 0) -> Any: ...
    def matches(self, day: int, user: int) -> Sequence[Any]: ...


@dataclass(frozen=True)
class Told:
    """One acknowledged answer, as its writer logged it; the scores are those of float32."""

    item: str
    part: int
    day: int
    users: tuple[int, ...]
    scores: tuple[float, ...]
    repeated: bool

    @property
    def name(self) -> str:
        return f"item {self.item!r} part {self.part}"


def violations(logs: Iterable[Path], store: Readable, day: int, capacity: np.ndarray) -> list[str]:
    """Every promise that the history or the store breaks, in words; `capacity` int[users] as the day was opened."""
    told, found = read_logs(logs)
    return [*found, *_in_answers(told, store, day), *_in_loads(told, capacity), *_in_store(told, store, day, capacity)]


def read_logs(logs: Iterable[Path]) -> tuple[list[Told], list[str]]:
    """The acknowledged answers of all logs, and the lines that are none.

    A last line without its end is left out: its writer was killed while it wrote.
    """
    told, bad = [], []
    for path in logs:
        *lines, _cut_off = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            try:
                told.append(_parsed(line))
            except ValueError as error:
                bad.append(f"{path.name} line {number} is no answer: {error}")
    return told, bad


def _parsed(line: bytes) -> Told:
    """The answer on a line, or ValueError."""
    known = json.loads(line)
    if not isinstance(known, dict) or {key: type(value) for key, value in known.items()} != FIELDS:
        raise ValueError(f"expected the fields {', '.join(FIELDS)}, each of its type")
    users, scores = known.pop("users"), known.pop("scores")
    if len(users) != len(scores) or {type(user) for user in users} - {int} or {type(one) for one in scores} - {float}:
        raise ValueError("expected as many scores as users, int users and float scores")
    return Told(users=tuple(users), scores=_float32(scores), **known)


def _float32(scores: Any) -> tuple[float, ...]:
    return tuple(np.asarray(scores, np.float32).tolist())


def _in_answers(told: Iterable[Told], store: Readable, day: int) -> Iterator[str]:
    """What is wrong with each item by itself."""
    parts: dict[tuple[str, int], list[Told]] = defaultdict(list)
    for one in told:
        parts[one.item, one.part].append(one)
    for same in parts.values():
        first = same[0]
        if {one.day for one in same} != {day}:
            yield f"{first.name} was answered for a day other than {day}"
        if len({(one.users, one.scores) for one in same}) > 1:
            others = [list(one.users) for one in same]
            yield f"{first.name} has different acknowledged answers: {others}"
        if sum(not one.repeated for one in same) > 1:
            yield f"{first.name} was acknowledged as new more than once"
        yield from _beside_store(first, store.answer(first.item, first.part), day)
    for item, count in _listed(told).items():
        for user in (user for user, times in count.items() if times > 1):
            yield f"item {item!r} lists user {user} twice"


def _beside_store(one: Told, kept: Any, day: int) -> Iterator[str]:
    """Whether the store's answer is the acknowledged one."""
    if kept is None:
        yield f"{one.name} was acknowledged, the store has no answer"
    elif tuple(kept.user.tolist()) != one.users:
        yield f"{one.name} was acknowledged with users {list(one.users)}, the store has {kept.user.tolist()}"
    elif _float32(kept.score) != one.scores:
        yield f"{one.name} was acknowledged with scores {list(one.scores)}, the store has {kept.score.tolist()}"
    elif (kept.item, kept.part, kept.day) != (one.item, one.part, day):
        yield f"{one.name}: the store has it as item {kept.item!r} part {kept.part} of day {kept.day}"


def _distinct(told: Iterable[Told]) -> set[tuple[str, int, tuple[int, ...]]]:
    """Answers that differ, repeated ones once."""
    return {(one.item, one.part, one.users) for one in told}


def _listed(told: Iterable[Told]) -> dict[str, Counter[int]]:
    """How often each item lists each user, by one answer for each of its parts."""
    first: dict[tuple[str, int], tuple[int, ...]] = {}
    for one in told:
        first.setdefault((one.item, one.part), one.users)
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for (item, _), users in first.items():
        counts[item].update(users)
    return counts


def _in_loads(told: Iterable[Told], capacity: np.ndarray) -> Iterator[str]:
    """Users that got more by the acknowledged answers than they have places."""
    load = Counter(user for _, _, users in _distinct(told) for user in users)
    for user, count in sorted(load.items()):
        if not 0 <= user < len(capacity):
            yield f"user {user} has {count} acknowledged matches, the day does not know it"
        elif count > capacity[user]:
            yield f"user {user} has {count} acknowledged matches, over its capacity {capacity[user]}"


def _in_store(told: Iterable[Told], store: Readable, day: int, capacity: np.ndarray) -> Iterator[str]:
    """Places and matches of each user, beside the capacity and the acknowledged and stored answers."""
    left = store.left(day)
    if left.shape != capacity.shape:
        yield f"the store has {len(left)} users, expected {len(capacity)}"
        return
    due: dict[int, dict[str, float]] = defaultdict(dict)
    for one in told:
        for user, score in zip(one.users, one.scores, strict=True):
            due[user][one.item] = score
    parts = range(2 + max((one.part for one in told), default=0))
    for user, places in enumerate(capacity.tolist()):
        kept = store.matches(day, user)
        if len(kept) > places:
            yield f"user {user} has {len(kept)} matches in the store, over its capacity {places}"
        if left[user] + len(kept) != places:
            yield f"user {user} has {left[user]} places left and {len(kept)} matches, expected {places} together"
        yield from _in_matches(user, kept, due[user])
        for item in {match.item for match in kept} - due[user].keys():
            answers = (store.answer(item, part) for part in parts)
            if not any(answer is not None and user in answer.user.tolist() for answer in answers):
                yield f"user {user} has a match with item {item!r}, which no answer lists"


def _in_matches(user: int, kept: Sequence[Any], due: dict[str, float]) -> Iterator[str]:
    """Whether one user's matches are there once, and all that are due, with their scores."""
    scores = {match.item: match.score for match in kept}
    if len(scores) != len(kept):
        yield f"user {user} has a match twice in the store"
    for item, score in due.items():
        if item not in scores:
            yield f"user {user} was acknowledged for item {item!r}, the store has no such match"
        elif np.float32(scores[item]) != np.float32(score):
            yield f"user {user} has item {item!r} with score {scores[item]}, acknowledged was {score}"
