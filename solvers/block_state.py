"""What the kernels of the block auction work on, as tuples of plain arrays."""

from typing import NamedTuple

import numpy as np


class Rows(NamedTuple):
    """A problem's edges by item, read-only: item i owns the edges indptr[i] to indptr[i + 1], fewer than 2^32 in all.

    indptr int64[items + 1], user uint32[edges], score float32 or uint16[edges], demand int32[items] (at most the row)
    """

    indptr: np.ndarray
    user: np.ndarray
    score: np.ndarray
    demand: np.ndarray


class State(NamedTuple):
    """What the kernels change in place, so that a block continues where the last one stopped.

    price float32[users], infinite without places, and price_bits, the same memory as uint32.
    held: one bit an edge, set where the item has or bids for it; item i's row begins at byte (indptr[i] >> 3) + i.
    load int32[items]: edges held. slot uint64[places]: user u's bids from slot_start[u] (int64[users + 1]), slot_count[u]
    (int32) of them; once all places are taken they stand as a min-heap.
    Items that wait: the ring queue int32[items] from ends[0], ends[1] of them (int64[2]); queued uint8[items].
    Short lists: short uint32[items, 3 KEEP] and short_score, the same memory as float32, hold place in the row, user and
    score of short_count[i] (int32) edges that item i does not hold; every other edge not held is worth at most
    short_rest[i] (float32; infinite: there is no list). Without rows longer than LONG `short` has no rows.
    shard_of uint8: the shard of 64 users in a row.
    """

    price: np.ndarray
    price_bits: np.ndarray
    held: np.ndarray
    load: np.ndarray
    slot_start: np.ndarray
    slot_count: np.ndarray
    slot: np.ndarray
    queue: np.ndarray
    queued: np.ndarray
    ends: np.ndarray
    short: np.ndarray
    short_score: np.ndarray
    short_count: np.ndarray
    short_rest: np.ndarray
    shard_of: np.ndarray


class Bids(NamedTuple):
    """The bids of one block.

    item int32[BLOCK]; start int64[BLOCK + 1]: room for the bids of each. guess float32[1]: where to look for thresholds.
    As made, by item: made_user, made_edge uint32, made_bid and made_dear float32 (and their bits as uint32): a bid on a
    free place and one that displaces another. Then by shard: user, edge, bid, dear uint32; part t made cut[t, s] to
    cut[t, s + 1] of shard s (int64), and stop[t, s] (int64) is the end of the losses by these: loser int32, the item, lost
    and lost_user uint32, the edge and its user.
    """

    item: np.ndarray
    start: np.ndarray
    guess: np.ndarray
    made_user: np.ndarray
    made_edge: np.ndarray
    made_bid: np.ndarray
    made_bid_bits: np.ndarray
    made_dear: np.ndarray
    made_dear_bits: np.ndarray
    cut: np.ndarray
    user: np.ndarray
    edge: np.ndarray
    bid: np.ndarray
    dear: np.ndarray
    loser: np.ndarray
    lost: np.ndarray
    lost_user: np.ndarray
    stop: np.ndarray


class Scratch(NamedTuple):
    """One thread's own: offers of one row (net, copy, score float32, place, picked int32, user uint32, taken uint8), items
    int32.
    """

    net: np.ndarray
    copy: np.ndarray
    score: np.ndarray
    place: np.ndarray
    picked: np.ndarray
    user: np.ndarray
    taken: np.ndarray
    items: np.ndarray
