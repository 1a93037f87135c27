"""Numba kernels that draw instances. Each row or block has its own random numbers, so threads cannot change a result."""

import numba as nb
import numpy as np

STEP = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S11, S27, S30, S31 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31)
BLOCK = 65_536
"""Scores that share a stream of random numbers."""

MOST_TRIES = 8
"""Draws for each wanted user, after which the rest of a row is drawn without repeats in one pass over all users."""


@nb.njit(cache=True, nogil=True)
def mix(z: np.uint64) -> np.uint64:
    """The output function of splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    z = (z ^ (z >> S30)) * MIX_1
    z = (z ^ (z >> S27)) * MIX_2
    return z ^ (z >> S31)


@nb.njit(cache=True, nogil=True)
def start_stream(seed: np.uint64, number: int, state: np.ndarray) -> None:
    """Sets state (uint64[1]) to the start of stream `number` of `seed`."""
    state[0] = mix(mix(seed + STEP) ^ (np.uint64(number) * MIX_2))


@nb.njit(cache=True, nogil=True)
def uniform(state: np.ndarray) -> float:
    """The next number from [0, 1), 53 bits; moves state (uint64[1]) on."""
    state[0] += STEP
    return np.float64(mix(state[0]) >> S11) * 2.0**-53


@nb.njit(cache=True, nogil=True)
def alias_table(weight: np.ndarray, keep: np.ndarray, alias: np.ndarray) -> None:
    """Vose's alias table of weight (float64[users] > 0).

    Written: keep float32[users], the share of bin u that is u's own, and alias int32[users], who has the rest.
    """
    scaled = weight * (weight.size / weight.sum())
    stack = np.empty(weight.size, np.int32)
    small, large = 0, weight.size
    for u in range(weight.size):
        if scaled[u] < 1.0:
            stack[small] = u
            small += 1
        else:
            large -= 1
            stack[large] = u
    keep[:] = 1.0
    alias[:] = np.arange(weight.size)
    while small > 0 and large < weight.size:
        small -= 1
        poor, rich = stack[small], stack[large]
        keep[poor], alias[poor] = scaled[poor], rich
        scaled[rich] -= 1.0 - scaled[poor]
        if scaled[rich] < 1.0:
            large += 1
            stack[small] = rich
            small += 1


@nb.njit(cache=True, nogil=True)
def sort_users(row: np.ndarray, spare: np.ndarray, users: int) -> None:
    """Sorts row (int32[n], each from 0 to users - 1) in place, by bytes; spare int32[n] is overwritten."""
    here, there = row, spare
    shift = 0
    while users > 1 << shift:
        starts = np.zeros(257, np.int64)
        for j in range(row.size):
            starts[((here[j] >> shift) & 255) + 1] += 1
        for digit in range(256):
            starts[digit + 1] += starts[digit]
        for j in range(row.size):
            digit = (here[j] >> shift) & 255
            there[starts[digit]] = here[j]
            starts[digit] += 1
        here, there = there, here
        shift += 8
    if shift % 16:
        row[:] = spare


@nb.njit(cache=True, nogil=True)
def draw_rest(state: np.ndarray, weight: np.ndarray, taken: np.ndarray, row: np.ndarray, count: int) -> None:
    """Fills row[count:] with users not yet in `taken` (uint8[users]), as draws without repeats would.

    The smallest of independent exponential times with rates `weight` (Efraimidis and Spirakis, 2006).
    """
    times = np.empty(weight.size, np.float64)
    for u in range(weight.size):
        times[u] = np.inf if taken[u] else -np.log(1.0 - uniform(state)) / weight[u]
    first = np.argsort(times)
    for j in range(row.size - count):
        row[count + j] = first[j]


@nb.njit(cache=True, nogil=True)
def draw_row(
    state: np.ndarray, weight: np.ndarray, keep: np.ndarray, alias: np.ndarray, taken: np.ndarray, row: np.ndarray
) -> None:
    """Fills row (int32) with users drawn with probability ~ weight, each once; taken: uint8[users], zeros."""
    count = 0
    for _ in range(MOST_TRIES * row.size):
        if count == row.size:
            break
        place = uniform(state) * keep.size
        u = np.int32(place)
        if place - u >= keep[u]:
            u = alias[u]
        if taken[u] == 0:
            taken[u] = 1
            row[count] = u
            count += 1
    if count < row.size:
        draw_rest(state, weight, taken, row, count)
    for j in range(count):
        taken[row[j]] = 0


@nb.njit(cache=True, nogil=True)
def longest_row(first: int, last: int, indptr: np.ndarray) -> int:
    """Most edges of one of the rows first to last - 1."""
    longest = 0
    for r in range(first, last):
        longest = max(longest, indptr[r + 1] - indptr[r])
    return longest


@nb.njit(cache=True, nogil=True)
def draw_users(  # noqa: PLR0917
    first: int,
    last: int,
    indptr: np.ndarray,
    seed: np.uint64,
    weight: np.ndarray,
    keep: np.ndarray,
    alias: np.ndarray,
    out: np.ndarray,
) -> None:
    """Rows first to last - 1: distinct users, drawn one after the other with probability ~ weight, then ascending.

    weight float64[users] > 0; keep, alias: its alias table. Written: out int32[edges], row r in indptr[r] to
    indptr[r + 1] (int64[rows + 1]), no row longer than the users.
    """
    state, taken = np.empty(1, np.uint64), np.zeros(weight.size, np.uint8)
    spare = np.empty(longest_row(first, last, indptr), np.int32)
    for r in range(first, last):
        start_stream(seed, r, state)
        row = out[indptr[r] : indptr[r + 1]]
        draw_row(state, weight, keep, alias, taken, row)
        sort_users(row, spare[: row.size], weight.size)


@nb.njit(cache=True, nogil=True)
def draw_best(  # noqa: PLR0917
    first: int,
    last: int,
    seed: np.uint64,
    weight: np.ndarray,
    keep: np.ndarray,
    alias: np.ndarray,
    worth: np.ndarray,
    topic: np.ndarray,
    item_worth: np.ndarray,
    item_topic: np.ndarray,
    out: np.ndarray,
    score: np.ndarray,
) -> None:
    """Rows first to last - 1: of twice as many users as wanted, drawn like those of `draw_users`, the best half.

    score = worth[user] * item_worth[row] * exp(0.6 * normal + 1 where the topics are the same). worth float32[users],
    topic int32[users], item_worth float32[rows], item_topic int32[rows]. Written: out int32[rows, length], users
    ascending in a row, and score float32[rows, length].
    """
    length = out.shape[1]
    state, taken = np.empty(1, np.uint64), np.zeros(weight.size, np.uint8)
    row, spare = np.empty(min(2 * length, weight.size), np.int32), np.empty(min(2 * length, weight.size), np.int32)
    scores = np.empty(row.size + 1, np.float32)
    for r in range(first, last):
        start_stream(seed, r, state)
        draw_row(state, weight, keep, alias, taken, row)
        sort_users(row, spare, weight.size)
        for j in range(0, row.size, 2):
            scores[j], scores[j + 1] = normal_pair(state)
        for j in range(row.size):
            u = row[j]
            same = 1.0 if topic[u] == item_topic[r] else 0.0
            scores[j] = worth[u] * item_worth[r] * np.exp(0.6 * scores[j] + same)
        keep_best(row, scores[: row.size], out[r], score[r])


@nb.njit(cache=True, nogil=True)
def keep_best(row: np.ndarray, scores: np.ndarray, out: np.ndarray, out_score: np.ndarray) -> None:
    """Writes the out.size entries of row with the highest scores into out and out_score, in the row's order.

    Ties at the last place go to the earlier entry.
    """
    last = row.size - out.size
    least = np.partition(scores, last)[last]
    at_least = out.size
    for j in range(row.size):
        at_least -= scores[j] > least
    count = 0
    for j in range(row.size):
        if scores[j] < least or (scores[j] == least and at_least == 0):
            continue
        at_least -= scores[j] == least
        out[count], out_score[count] = row[j], scores[j]
        count += 1


@nb.njit(cache=True, nogil=True)
def normal_pair(state: np.ndarray) -> tuple[float, float]:
    """Two independent standard normal numbers, by the polar method of Marsaglia; moves state (uint64[1]) on."""
    x, y, square = 0.0, 0.0, 2.0
    while square >= 1.0 or square == 0.0:
        x, y = 2.0 * uniform(state) - 1.0, 2.0 * uniform(state) - 1.0
        square = x * x + y * y
    scale = np.sqrt(-2.0 * np.log(square) / square)
    return x * scale, y * scale


@nb.njit(cache=True, nogil=True)
def draw_lognormal(  # noqa: PLR0917
    first: int, last: int, seed: np.uint64, sigma: float, user: np.ndarray, factor: np.ndarray, out: np.ndarray
) -> None:
    """Blocks first to last - 1 of out (float32[n]): exp(sigma * normal).

    factor: float32[users] by which the scores of user (int32[n]) are multiplied, or of size 0: none.
    """
    state = np.empty(1, np.uint64)
    for block in range(first, last):
        start_stream(seed, block, state)
        end = min((block + 1) * BLOCK, out.size)
        for e in range(block * BLOCK, end, 2):
            x, y = normal_pair(state)
            out[e] = np.exp(sigma * x)
            if e + 1 < end:
                out[e + 1] = np.exp(sigma * y)
        if factor.size:
            for e in range(block * BLOCK, end):
                out[e] *= factor[user[e]]
