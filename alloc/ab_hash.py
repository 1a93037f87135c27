"""One number in [0, 1) for each id, from (seed, salt, id) alone: whatever else is asked for, on any machine."""

import hashlib

import numpy as np

from .vocabulary import Ids, as_ids

STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def uniform(seed: int, salt: str, ids: Ids, what: str = "id") -> np.ndarray:
    """float64[n] in [0, 1), a multiple of 2**-53, as if drawn at random for each id.

    ``ids``: int64 or str, in any order. ``salt``: what the number is for; numbers of other salts and seeds are independent.
    The integer 5 and the text "5" are two ids. The mixing is SplitMix64's (Steele, Lea and Flood 2014), with a key from
    SHA-256. Raises InputError for ids of other dtypes; ``what`` names them there.
    """
    values = as_ids(ids, what)
    text = values.dtype.kind == "U"
    digest = hashlib.sha256(f"{seed}:{salt}:{'text' if text else 'integer'}".encode()).digest()
    key = np.uint64(int.from_bytes(digest[:8], "little"))
    mixed = _text(key, values) if text else splitmix(key + STEP * values.astype(np.uint64))
    return (mixed >> np.uint64(11)) * 2.0**-53


def _text(key: np.uint64, values: np.ndarray) -> np.ndarray:
    """uint64[n]: letter by letter up to each text's own end, so that the width of the array changes nothing."""
    width = values.dtype.itemsize // 4
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    letters = native.view(np.uint32).reshape(len(values), width)
    lengths = np.strings.str_len(native)
    state = np.full(len(values), key)
    for place in range(width):
        mixed = splitmix((state ^ letters[:, place].astype(np.uint64)) + STEP)
        state = np.where(place < lengths, mixed, state)
    return splitmix(state + lengths.astype(np.uint64))


def splitmix(state: np.ndarray) -> np.ndarray:
    """SplitMix64's mixing function of uint64; of arrays, whose products wrap around."""
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))
