"""What an item is, as a short vector that tastes can be averaged over: its content, or a code of its category."""

import numpy as np

from .log import Log

_WIDTH = 32


def item_traits(log: Log) -> np.ndarray:
    """float32[items, d]: the content embedding; where the data has none, `category_codes` of the items' categories, 0 for
    an unknown one; where it has no categories either, d = 0."""
    if log.content.shape[1]:
        return np.asarray(log.content, np.float32)
    if log.tokens_are_items:
        return np.zeros((log.items, 0), np.float32)
    return category_codes(log.tokens)[log.token]


def category_codes(tokens: int) -> np.ndarray:
    """float32[tokens + 1, d], the last row 0: one number a category, or where there are more than 32 of them random signs
    of length 1, which are nearly orthogonal (Achlioptas 2003); the same for the same number of categories, everywhere."""
    if tokens <= _WIDTH:
        codes = np.eye(tokens, dtype=np.float32)
    else:
        bits = _mixed(np.arange(tokens, dtype=np.uint64))[:, None] >> np.arange(_WIDTH, dtype=np.uint64)
        codes = ((2.0 * (bits & np.uint64(1)) - 1.0) / np.sqrt(_WIDTH)).astype(np.float32)
    return np.append(codes, np.zeros((1, codes.shape[1]), np.float32), 0)


def _mixed(number: np.ndarray) -> np.ndarray:
    """uint64[n]: well mixed bits of numbers (the finaliser of SplitMix64, Steele et al. 2014); no library's to change."""
    mixed = (number + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))
