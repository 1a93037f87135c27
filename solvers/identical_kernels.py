"""Numba kernels that find items with identical rows, make one bidder of them, and share out what it wins."""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def mix(state: np.uint64, value: np.uint64) -> np.uint64:
    """One step of a hash (the finaliser of splitmix64)."""
    state = (state ^ value) * np.uint64(0x9E3779B97F4A7C15)
    state ^= state >> np.uint64(30)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    return state ^ (state >> np.uint64(27))


@nb.njit(cache=True, nogil=True)
def fingerprints(
    indptr: np.ndarray, user: np.ndarray, bits: np.ndarray, demand: np.ndarray, samples: int, out: np.ndarray
) -> None:
    """Writes a hash of the length, the demand and up to `samples` edges of each item's row into out (uint64[items]).

    bits: unsigned integers [edges], the scores' bits. Equal rows have equal hashes.
    """
    for i in range(demand.size):
        first, count = indptr[i], indptr[i + 1] - indptr[i]
        state = mix(mix(np.uint64(1), np.uint64(count)), np.uint64(demand[i]))
        for k in range(min(samples, count)):
            e = first + (k * (count - 1)) // max(1, min(samples, count) - 1)
            state = mix(mix(state, np.uint64(user[e])), np.uint64(bits[e]))
        out[i] = state


@nb.njit(cache=True, nogil=True)
def same_row(indptr: np.ndarray, user: np.ndarray, bits: np.ndarray, i: int, j: int) -> bool:
    """Whether two items have the same users and scores."""
    first, second, count = indptr[i], indptr[j], indptr[i + 1] - indptr[i]
    if indptr[j + 1] - second != count:
        return False
    for a in range(count):  # noqa: SIM110
        if user[first + a] != user[second + a] or bits[first + a] != bits[second + a]:
            return False
    return True


@nb.njit(cache=True, nogil=True)
def confirm(  # noqa: PLR0917
    indptr: np.ndarray, user: np.ndarray, bits: np.ndarray, demand: np.ndarray, order: np.ndarray, hashes: np.ndarray,
    out: np.ndarray,
) -> None:  # fmt: skip
    """Writes for each item the first item with the same row and demand into out (int64[items]).

    order int64[items]: the items by (hash, row). Of equal hashes only those equal to the first are joined.
    """
    first = order[0] if order.size else 0
    for at in range(order.size):
        i = order[at]
        if hashes[i] != hashes[first]:
            first = i
        joined = demand[i] == demand[first] and same_row(indptr, user, bits, first, i)
        out[i] = first if joined else i


@nb.njit(cache=True, nogil=True)
def join_rows(  # noqa: PLR0917
    indptr: np.ndarray, user: np.ndarray, score: np.ndarray, leader: np.ndarray, copies: np.ndarray,
    capacity: np.ndarray, out_indptr: np.ndarray, out_user: np.ndarray, out_score: np.ndarray,
) -> None:  # fmt: skip
    """Writes the row of each bidder: each edge of its first item (leader) min(copies, the user's capacity) times.

    leader, copies int64[bidders]; out_indptr int64[bidders + 1]; out_user, out_score as long as its last entry, or of
    size 0 to write out_indptr only.
    """
    at = 0
    for b in range(leader.size):
        out_indptr[b] = at
        for e in range(indptr[leader[b]], indptr[leader[b] + 1]):
            times = min(copies[b], nb.int64(capacity[user[e]]))
            if out_user.size > 0:
                for k in range(at, at + times):
                    out_user[k], out_score[k] = user[e], score[e]
            at += times
    out_indptr[leader.size] = at


@nb.njit(cache=True, nogil=True)
def share_out(  # noqa: PLR0917
    indptr: np.ndarray, user: np.ndarray, members: np.ndarray, member_start: np.ndarray, capacity: np.ndarray,
    held: np.ndarray, bidder_indptr: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Deals the edges that bidders hold to their items in turn: no item gets a user twice, none more than its demand.

    members int64[items] lists the items of bidder b from member_start[b] (int64[bidders + 1]); held int64[matches] the
    edges held, ascending, in bidders' rows. Writes out int64[matches], edges of the problem, in no order.
    """
    at = 0
    for b in range(member_start.size - 1):
        first, copies, turn = member_start[b], member_start[b + 1] - member_start[b], 0
        leader, unit = members[first], bidder_indptr[b]
        for e in range(indptr[leader], indptr[leader + 1]):
            unit += min(copies, nb.int64(capacity[user[e]]))
            while at < held.size and held[at] < unit:
                out[at] = indptr[members[first + turn]] + e - indptr[leader]
                turn = turn + 1 if turn + 1 < copies else 0
                at += 1


@nb.njit(cache=True, nogil=True)
def raise_prices(  # noqa: PLR0917
    bidder_indptr: np.ndarray, user: np.ndarray, score: np.ndarray, copies: np.ndarray, wanted: np.ndarray,
    capacity: np.ndarray, held: np.ndarray, price: np.ndarray,
) -> None:  # fmt: skip
    """Raises the price (float64[users]) of users all of whose places one bidder has, if more of its items want them.

    To the price at which they are worth to the bidder what its last match is, or the best edge that it wants and does
    not hold: the bound over the bidder's own rows stays the same, that over the items' rows, where each wants the user,
    never rises, if no item asks for users without places at these prices. score float32; wanted int64[bidders]; held
    int64[matches] as in `share_out`. Reads the bidders' rows once.
    """
    at = 0
    for b in range(copies.size):
        begin, level, lowest = at, 0.0, np.inf
        for e in range(bidder_indptr[b], bidder_indptr[b + 1]):
            net = np.float64(score[e]) - price[user[e]]
            if at < held.size and held[at] == e:
                lowest = min(lowest, net)
                at += 1
            else:
                level = max(level, net)
        if at - begin >= wanted[b]:
            level = max(level, lowest)
        run = 0
        for k in range(begin, at):
            u = user[held[k]]
            run = run + 1 if k > begin and user[held[k - 1]] == u else 1
            if run == capacity[u] and copies[b] > capacity[u]:
                price[u] = max(price[u], np.float64(score[held[k]]) - level)
