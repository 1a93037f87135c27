"""An upload as one line of JSON, and its answer as one."""

import json
from types import NoneType
from typing import Any

from .errors import InputError
from .match_store import Answer, StoreError
from .new_item import read_new_item
from .nights import Nights
from .stream import Stream, Upload

MOST_LINE_BYTES = 8 << 20
"""A longer line is refused whole."""

_FIELDS = {
    "item": (str, int),
    "users": (list,),
    "scores": (list,),
    "demand": (int,),
    "excluded": (list,),
    "part": (int,),
    "category": (str, int, NoneType),
    "creator": (str, int, NoneType),
    "content": (list,),
}
_LIMITS = {"demand": 1_000_000, "part": 1_000}


def read_upload(line: bytes, demand: int) -> Upload:
    """An upload from one line of JSON. Raises InputError saying what was found and what was expected."""
    if len(line) > MOST_LINE_BYTES:
        raise InputError(f"the line is longer than {MOST_LINE_BYTES:,} bytes")
    try:
        given = json.loads(line.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}") from None
    if not isinstance(given, dict):
        raise InputError(
            f'expected an object such as {{"item": "i7", "users": [3], "scores": [0.4]}}, found {given!r:.40}'
        )
    for name, value in given.items():
        if name not in _FIELDS:
            raise InputError(f"unknown field {name!r:.60}, expected {', '.join(_FIELDS)}")
        if not isinstance(value, _FIELDS[name]) or isinstance(value, bool):
            raise InputError(
                f"{name} is {value!r:.60}, expected {' or '.join(kind.__name__ for kind in _FIELDS[name])}"
            )
    for name, most in _LIMITS.items():
        if not 0 <= given.get(name, 0) <= most:
            raise InputError(f"{name} is {given[name]!r:.60}, expected 0 to {most:,}")
    if "item" not in given:
        raise InputError("item is missing")
    new = read_new_item(given)
    for score in given.get("scores", ()):
        if not isinstance(score, int | float) or isinstance(score, bool):
            raise InputError(f"score {score!r:.60}, expected a number")
    return Upload(
        item=str(given["item"]),
        user=given.get("users", ()),
        score=given.get("scores", ()),
        demand=given.get("demand", demand),
        excluded=given.get("excluded", ()),
        part=given.get("part", 0),
        new=new,
    )


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no number in JSON")


def answer_told(stream: Stream | Nights, answer: Answer) -> dict[str, Any]:
    """What a line says of an answer."""
    users, scores = stream.names(answer), answer.score.tolist()
    return {"item": answer.item, "part": answer.part, "users": users, "scores": scores, "repeated": answer.repeated}


def error_told(error: Exception, known: dict[str, Any]) -> dict[str, Any]:
    """What a line says of an upload that was not answered; ``known``: which it was."""
    kind = "store" if isinstance(error, StoreError) else "input"
    return {**known, "error": " ".join(str(error).split()), "kind": kind}
