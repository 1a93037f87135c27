"""Demand, capacity and floor: one number, a mapping from id or an array, as int32 for each row."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import ProblemError
from .ids import INT32_MAX, id_array


def amounts(
    given: Any, name: str, side: str, ids: np.ndarray, *, aligned: bool = True, missing: int | None = None
) -> np.ndarray:
    """The amount of each row, int32[rows], from a number, a mapping from id or an array.

    name     "demand", "capacity" or "floor", for messages; `side` is "item" or "user"
    ids      outside ids of the rows
    aligned  whether the caller can know the order of the rows, so that an array means something
    missing  amount of ids that a mapping leaves out; None: they are an error

    Raises ProblemError naming the id for an amount that is missing, of an unknown id, no whole number or out of range.
    """
    if isinstance(given, Mapping):
        given = _from_mapping(given, name, side, ids, missing)
    elif np.ndim(given) and not aligned:
        raise ProblemError(f"{name} is an array, so {side}_ids must say which {side} each of its entries is for")
    values = np.asarray(given)
    if values.size and values.dtype.kind not in "iu":
        raise ProblemError(f"{name} is {values.dtype}, expected whole numbers")
    if values.ndim and values.shape != ids.shape:
        raise ProblemError(
            f"{name} has shape {values.shape}, expected {ids.shape}: one entry for each of the {ids.size} {side}s"
        )
    rows = np.broadcast_to(values, ids.shape)
    wrong = np.flatnonzero((rows < 0) | (rows > INT32_MAX))
    if wrong.size:
        row = wrong[0]
        raise ProblemError(
            f"{name} of {side} {ids[row].item()!r} is {rows[row]}, expected a whole number from 0 to {INT32_MAX}"
        )
    return rows.astype(np.int32)


def _from_mapping(given: Mapping[Any, Any], name: str, side: str, ids: np.ndarray, missing: int | None) -> np.ndarray:
    values = [given.get(one, missing) for one in ids.tolist()]
    for one, value in zip(ids.tolist(), values, strict=True):
        if value is None:
            raise ProblemError(
                f"{name} has no entry for {side} {one!r}, expected one for each of the {ids.size} {side}s"
            )
    unknown = set(id_array(list(given), side).tolist()) - set(ids.tolist())
    if unknown:
        raise ProblemError(f"{name} has an entry for {side} {min(unknown)!r}, which is not in the problem")
    return np.array(values) if values else np.zeros(0, np.int64)
