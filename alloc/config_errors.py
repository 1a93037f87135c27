"""One line for a config that does not fit: file, key, what was expected, and the nearest known key."""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any

from pydantic import BaseModel, ValidationError

_UNKNOWN = "extra_forbidden"


def one_line(error: ValidationError, model: type[BaseModel], source: str, overrides: Sequence[str]) -> str:
    """The first problem of a failed validation as one line. `source` names the file, for keys that come from it."""
    details = error.errors()
    # An unknown key is often the cause of the other problems, so it is told first.
    first = next((detail for detail in details if detail["type"] == _UNKNOWN), details[0])
    path = ".".join(str(part) for part in first["loc"] if part != "[key]")
    place = _place(path, source, overrides, str(first["msg"]))
    if first["type"] == _UNKNOWN:
        return f"{place}: {path} is not a setting; the nearest known is {nearest(path, known_paths(model))}"
    if first["type"] == "value_error":  # the project's own words already name the value
        return f"{place}: {path}: {_expected(first)}" if path else f"{place}: {_expected(first)}"
    return f"{place}: {path} is {first['input']!r}; {_expected(first)}"


def known_paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every setting below a model as "section.key"."""
    paths = []
    for name, info in model.model_fields.items():
        paths.append(prefix + name)
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            paths += known_paths(kind, f"{prefix}{name}.")
    return paths


def nearest(word: str, known: Iterable[str]) -> str:
    """The known name most like `word`; a right last part in another section counts nearly as much."""

    def likeness(path: str) -> float:
        tail = SequenceMatcher(None, word.rpartition(".")[2], path.rpartition(".")[2]).ratio()
        return max(SequenceMatcher(None, word, path).ratio(), 0.95 * tail)

    return max(sorted(known), key=likeness)


def _place(path: str, source: str, overrides: Sequence[str], message: str) -> str:
    """The last override that set `path`, or else the file; of a section's own message, the override it speaks of."""
    for override in reversed(overrides):
        key = override.partition("=")[0].strip()
        if path and f"{path}.".startswith(f"{key}."):
            return f"{override!r} on the command line"
        within = not path or key.startswith(f"{path}.")
        if within and re.search(rf"\b{re.escape(key.rpartition('.')[2])}\b", message):
            return f"{override!r} on the command line"
    return source


def _expected(detail: Any) -> str:
    """What pydantic says was expected, in this project's words."""
    message = str(detail["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
    if detail["type"] == "literal_error" and isinstance(detail["input"], str):
        known = [name.strip(" '") for name in str(detail["ctx"]["expected"]).replace(" or ", ",").split(",")]
        message += f"; the nearest is {nearest(detail['input'], known)!r}"
    message = message.replace("String should have", "expected text of")
    message = message.replace("expected greater", "expected a number greater").replace(
        "expected less", "expected a number less"
    )
    return message.replace("valid dictionary or instance of ", "section of keys: ")
