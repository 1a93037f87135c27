"""What keeping a place is worth: prices for a user whose bids come in an order that nobody knows.

With k places left and a share s of a day's bids still to come, the best rule takes a bid above V(s, k) - V(s, k - 1),
where V is what it can expect. Each bid of the user's curve comes once a day on average (Poisson); V grows with s by what a
bid gives beyond what a place is worth: dV(s, k)/ds = sum over bids of max(0, bid - (V(s, k) - V(s, k - 1))). Were the
number of bids sure, it would be the bid of rank k / s instead. The price is the mean of both: the first is better where few
large bids matter (on Globo by 2 % of a day's value), the second a little where a user has many of like size.
"""

import numba as nb
import numpy as np

from .threads import at_once, cores

SHARES = np.array([0.02, 0.06, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0])
"""Shares of a day's bids still to come for which values are kept; between two of them a line, beyond the last no change."""

PLACES = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 64])
"""Numbers of places for which values are kept; between two of them a line. With more the number of bids is all but sure."""

STEPS_A_BID = 2.0
"""Steps of the programme for each bid that is still expected above the price of the last place."""

_LARGEST = 65_535.0
_USERS_WORTH_A_THREAD = 5_000


def place_values(bids: np.ndarray, most: int, threads: int = 0) -> np.ndarray:
    """uint16[users, shares, places]: V(s, k) - V(s, k - 1) at SHARES and PLACES, in units of the largest bid / 65535.

    bids float32[users, n], falling, those of a day. most: largest capacity; places beyond it and PLACES are left out.
    20 bytes a user and number of places. On one core 1 to 5 microseconds a user for 10 places, 15 to 50 for 30, 200 for 64.
    """
    kept = PLACES[: int(np.searchsorted(PLACES, max(most, 1))) + 1]
    values = np.zeros((len(bids), SHARES.size, kept.size), np.uint16)
    parts = max(1, min(threads or cores(), len(bids) // _USERS_WORTH_A_THREAD))
    ends = np.linspace(0, len(bids), parts + 1).astype(int).tolist()
    at_once(lambda part: fill_values(bids, kept, ends[part], ends[part + 1], values), parts)
    return values


@nb.njit(cache=True, nogil=True)
def price_at(bids: np.ndarray, values: np.ndarray, left: int, share: float) -> float:
    """The price of the last of `left` places with `share` of a day's bids still to come: bids float32[n], falling, and
    values uint16[shares, places] of the user.
    """
    sure = bid_at(bids, (left - 0.5) / share)
    if left > PLACES[-1]:
        return sure
    return 0.5 * (sure + value_at(values, left, share) * bids[0] / _LARGEST)


@nb.njit(cache=True, nogil=True)
def bid_at(bids: np.ndarray, rank: float) -> float:
    """The bid of that rank (from 1) in bids float32[n > 0], falling; between two ranks on the line between them.

    Past the last one as much lower as the rank is higher, before the first one above it.
    """
    last = bids.size
    if rank >= last:
        return bids[last - 1] * (last / rank)
    if rank < 1.0:
        return bids[0] * (2.0 - rank)
    low = int(rank)
    part = rank - low
    return bids[low - 1] * (1.0 - part) + bids[low] * part


@nb.njit(cache=True, nogil=True)
def value_at(values: np.ndarray, left: int, share: float) -> float:
    """What the last of `left` places is worth, from values[shares, places], on lines between these."""
    level = 0
    while level < SHARES.size - 1 and SHARES[level] < share:
        level += 1
    before = SHARES[level - 1] if level > 0 else 0.0
    part = min((share - before) / (SHARES[level] - before), 1.0)
    place = 0
    while PLACES[place] < left:
        place += 1
    low = max(place - 1, 0)
    along = 1.0 if place == 0 else (left - PLACES[low]) / (PLACES[place] - PLACES[low])
    late = values[level, low] * (1.0 - along) + values[level, place] * along
    if level == 0:
        return late * part
    early = values[level - 1, low] * (1.0 - along) + values[level - 1, place] * along
    return early * (1.0 - part) + late * part


@nb.njit(cache=True, nogil=True)
def fill_values(bids: np.ndarray, places: np.ndarray, first: int, last: int, values: np.ndarray) -> None:
    """Fills values uint16[users, shares, places] for the users first to last; see `place_values`."""
    most = places[-1]
    value, gain = np.zeros(most + 1), np.zeros(most + 1)
    upto = np.zeros(bids.shape[1] + 1)
    for u in range(first, last):
        count = 0
        while count < bids.shape[1] and bids[u, count] > 0.0:
            upto[count + 1] = upto[count] + bids[u, count]
            count += 1
        if count == 0:
            continue
        value[:] = 0.0
        share, above = 0.0, count
        for level in range(SHARES.size):
            while share < SHARES[level]:
                step = min(SHARES[level] - share, 1.0 / (STEPS_A_BID * max(above, 1)))
                above = grow(value, gain, bids[u], upto, count, step)
                share += step
            for k in range(places.size):
                worth = (value[places[k]] - value[places[k] - 1]) / bids[u, 0]
                values[u, level, k] = np.uint16(min(_LARGEST * worth + 0.5, _LARGEST))


@nb.njit(cache=True, nogil=True)
def grow(value: np.ndarray, gain: np.ndarray, bids: np.ndarray, upto: np.ndarray, count: int, step: float) -> int:
    """One step of V, value float64[places + 1]; returns how many bids are above the price of the last place.

    upto float64[count + 1]: sums of the largest bids. gain: scratch.
    """
    at = 0
    for k in range(1, value.size):
        keep = value[k] - value[k - 1]
        while at < count and bids[at] > keep:  # the more places, the less one is worth and the more bids are above it
            at += 1
        gain[k] = step * (upto[at] - keep * at)
    for k in range(1, value.size):
        value[k] += gain[k]
    return at
