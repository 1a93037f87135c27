"""Outside ids <-> rows: ids stop here, everything inside is int32 rows."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from .errors import InputError

Ids = Sequence[Any] | np.ndarray


class Vocabulary:
    """The sorted, distinct outside ids of one kind of thing; an id's place in the order is its row.

    ``ids``: int64 or str, any order, repeats allowed. ``what``: what one id names ("user"), for messages.
    Raises InputError for other dtypes and for more ids than int32 rows.
    """

    def __init__(self, ids: Ids, what: str = "id") -> None:
        values = as_ids(ids, what)
        if len(values) > 1 and not bool(np.all(values[:-1] < values[1:])):
            values = np.unique(values)
        if len(values) > np.iinfo(np.int32).max:
            raise InputError(f"{len(values)} {what} ids, expected at most {np.iinfo(np.int32).max}: rows are int32")
        self.ids = values
        self.what = what

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} {self.what} ids, {self.ids.dtype})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and np.array_equal(self.ids, other.ids)

    __hash__ = None  # type: ignore[assignment]

    def rows(self, ids: Ids, missing: int | Literal["error"] = "error") -> np.ndarray:
        """int32[n] rows of ``ids``. An unknown id becomes the number ``missing``, or raises InputError for "error"."""
        wanted = as_ids(ids, self.what)
        if not len(self) or not len(wanted):
            rows, known = np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
        elif wanted.dtype.kind != self.ids.dtype.kind:
            raise InputError(
                f"{self.what} ids are {_kind_name(wanted)} here (first: {wanted[0]!r}), expected "
                f"{_kind_name(self.ids)} as in the list of {self.what}s (first: {self.ids[0]!r})"
            )
        else:
            rows = np.minimum(np.searchsorted(self.ids, wanted), len(self) - 1)
            known = self.ids[rows] == wanted
        if missing == "error" and not known.all():
            position = int(np.argmin(known))
            raise InputError(
                f"{self.what} id {wanted[position].item()!r} at position {position} is unknown, "
                f"expected one of the {len(self)} {self.what}s"
            )
        return np.where(known, rows, -1 if missing == "error" else missing).astype(np.int32)


def as_ids(ids: Ids, what: str = "id") -> np.ndarray:
    """One-dimensional int64 or str array of ``ids``. Raises InputError for floats, objects and other dtypes."""
    values = np.asarray(ids)
    if values.ndim != 1:
        raise InputError(f"{what} ids have shape {values.shape}, expected one dimension")
    if not len(values) and values.dtype.kind not in "iuU":
        return values.astype(np.int64)
    if values.dtype.kind == "O" and all(isinstance(value, str) for value in values):
        return values.astype(str)
    if values.dtype.kind == "u" and values.dtype.itemsize == 8 and values.max() > np.iinfo(np.int64).max:
        raise InputError(f"{what} id {int(values.max())} does not fit into int64; write the ids as strings")
    if values.dtype.kind in "iu":
        return values.astype(np.int64, copy=False)
    if values.dtype.kind == "U":
        return values
    raise InputError(f"{what} ids have dtype {values.dtype}, expected integers or strings")


def _kind_name(ids: np.ndarray) -> str:
    return "strings" if ids.dtype.kind == "U" else "integers"
