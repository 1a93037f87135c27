"""How much of the hindsight optimum any rule can expect that knows what a day brings but not in which order.

With items that have places to spare, each user is alone: bids come at random over the day, and the best rule for its Q
places is a small dynamic program. Hindsight takes the Q largest.
"""

import numba as nb
import numpy as np

STEPS = 4
"""Steps of the program for each bid that a day brings, each with at most one bid."""


@nb.njit(cache=True, nogil=True)
def best_rule(bids: np.ndarray, mean: float, places: int) -> tuple[float, float]:
    """(value of the best rule, of hindsight): bids drawn from bids float64[n], falling, a Poisson number with that mean.

    The best rule with k places takes a bid above V_k - V_(k-1), what keeping the place is worth: places numbers a step,
    STEPS * mean steps. Hindsight: the sum over bids of their value times the chance that fewer than `places` are larger.
    """
    count = bids.size
    upto = np.cumsum(bids)
    steps = max(int(STEPS * mean), 1)
    chance, value = mean / steps, np.zeros(places + 1)
    for _ in range(steps):
        at = 0
        gain = np.zeros(places + 1)
        # The more places, the less keeping one is worth and the more bids are above it.
        for k in range(1, places + 1):
            keep = value[k] - value[k - 1]
            while at < count and bids[at] > keep:
                at += 1
            if at > 0:
                gain[k] = chance * (upto[at - 1] - keep * at) / count
        value += gain
    hindsight, above = 0.0, 0.0
    for bid in bids:
        hindsight += mean / count * bid * poisson_below(places, above)
        above += mean / count
    return value[places], hindsight


@nb.njit(cache=True, nogil=True)
def poisson_below(places: int, mean: float) -> float:
    """The chance that a Poisson number with that mean is below `places`."""
    log_term, total = -mean, 0.0
    for k in range(places):
        total += np.exp(log_term)
        log_term += np.log(mean) - np.log(k + 1.0) if mean > 0 else -np.inf
    return min(total, 1.0)


def best_share(user: np.ndarray, bid: np.ndarray, capacity: np.ndarray, days: int, sample: int, seed: int = 0) -> float:
    """Sum over users of the best rule's value over that of hindsight, estimated from a random `sample` of the users.

    user int[n], bid float[n] >= 0: the bids of `days` days, which stand for what a day may bring.
    """
    there = bid > 0
    order = np.lexsort((-bid[there], user[there]))
    who, what = user[there][order], bid[there][order].astype(np.float64)
    ends = np.searchsorted(who, np.arange(len(capacity) + 1))
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero((np.diff(ends) > 0) & (capacity > 0)))[:sample]
    pairs = [
        best_rule(what[ends[u] : ends[u + 1]], float(ends[u + 1] - ends[u]) / days, int(capacity[u])) for u in chosen
    ]
    best, hindsight = np.array(pairs).reshape(-1, 2).sum(0)
    return float(best / hindsight) if hindsight else 1.0
