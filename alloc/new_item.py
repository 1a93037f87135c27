"""An upload without candidates: what is known of the item itself, and how it is read."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import InputError

KNOWN_OF_ITEM = ("category", "creator", "content")
"""Fields of an upload without candidates; each may be left out where it is not known."""

_CANDIDATES = ("users", "scores")


@dataclass(frozen=True)
class NewItem:
    """What is known of an item at its upload; None where it is not. ``content``: as long as those of the night."""

    category: str | int | None = None
    creator: str | int | None = None
    content: Sequence[float] | None = None


def check_form(given: Collection[str]) -> bool:
    """Whether an upload with these fields describes the item and leaves the candidates to the stream.

    Raises InputError unless it has either both of users and scores, or one or more of category, creator and content.
    """
    described = [name for name in KNOWN_OF_ITEM if name in given]
    candidates = [name for name in _CANDIDATES if name in given]
    if described and candidates:
        raise InputError(
            f"both {candidates[0]} and {described[0]} are given, expected users and scores or the item's own"
        )
    missing = [name for name in _CANDIDATES if name not in given]
    if missing and not described:
        raise InputError(f"{missing[0]} is missing, expected users and scores, or category, creator or content")
    return bool(described)


def read_new_item(given: Mapping[str, Any]) -> NewItem | None:
    """From the checked fields of an upload; None where it brings its candidates. Raises InputError as `check_form`."""
    if not check_form(given):
        return None
    for number in given.get("content") or ():
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise InputError(f"content has {number!r:.60}, expected numbers")
    return NewItem(**{name: given[name] for name in KNOWN_OF_ITEM if name in given})
