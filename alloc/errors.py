"""The error for everything a user of the package can put right: input files, configuration, folders."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input that cannot be used. The message is one line: where, what was found, what was expected, the cure."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class EmptyDayError(InputError):
    """A day with nothing to match or nothing to compare with; an evaluation over several days leaves it out."""


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the known name nearest to ``name``, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
