"""Small kernels of the block auction, one by one, against plain NumPy or by what they must keep."""

from collections import Counter, deque

import numba as nb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.block_auction import BlockAuction
from dualrec.solvers.block_edge_kernels import count_users
from dualrec.solvers.block_kernels import (
    BLOCK,
    SHARDS,
    enqueue,
    highest,
    item_of,
    make_heap,
    next_below,
    next_best,
    next_block,
    sift_down,
    sort_by_shard,
    threshold,
    where_between,
)
from dualrec.solvers.block_state import Rows
from dualrec.solvers.intrinsics import score_of
from dualrec.solvers.workers import Workers

seeds = st.integers(0, 2**32 - 1)
single = st.floats(-1e6, 1e6, width=32)
numbers = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 7.0, 1e-6, 1e6]) | single
many = st.sampled_from(["spread", "wide", "levels", "equal", "mostly negative"])


def drawn_values(kind: str, count: int, seed: int) -> np.ndarray:
    """float32[count], the first of them above 0."""
    rng = np.random.default_rng(seed)
    draws = {
        "spread": rng.lognormal(size=count),
        "wide": 10.0 ** rng.uniform(-6, 6, count) * rng.choice([-1, 1, 1], count),
        "levels": rng.integers(-1, 4, count),
        "equal": np.full(count, 0.7),
        "mostly negative": rng.normal(-1.0, 1.0, count),
    }
    values = draws[kind].astype(np.float32)
    values[0] = np.abs(values[0]) + np.float32(0.5)
    return values


@nb.njit
def decode(stored: np.ndarray, out: np.ndarray) -> None:
    for at in range(stored.size):
        out[at] = score_of(stored[at])


def test_scores_are_read_from_two_bytes_and_from_four() -> None:
    bits = np.arange(0x7C00, dtype=np.uint16)
    halves, out = bits.view(np.float16).astype(np.float32), np.empty(bits.size, np.float32)
    assert bits.size == 31_744 and np.isfinite(halves).all()
    decode(bits, out)
    assert np.array_equal(out, halves)
    decode(halves, out)
    assert np.array_equal(out, halves)
    assert [score_of(stored) for stored in bits[[0, 1, 0x3C00]]] == [0.0, 2.0**-24, 1.0]


def next_best_by_sorting(values: np.ndarray, low: float, k: int) -> None:
    copy = values.copy()
    found = next_best(values, values.size, np.float32(low), int((values > low).sum()), k)
    assert np.array_equal(values, copy), "the values stay in order"
    assert found == np.sort(values)[::-1][k]


@settings(max_examples=200)
@given(given_values=st.lists(numbers, min_size=1, max_size=50), data=st.data())
def test_next_best_of_a_few(given_values: list[float], data: st.DataObject) -> None:
    values = np.array([*given_values, 0.25], np.float32)
    next_best_by_sorting(values, 0.0, data.draw(st.integers(0, int((values > 0).sum()) - 1)))


@settings(max_examples=200)
@given(kind=many, count=st.integers(1, 2_000), seed=seeds, share=st.floats(0, 1), above=st.floats(0, 1))
def test_next_best_of_many(kind: str, count: int, seed: int, share: float, above: float) -> None:
    """Searched for above 0 and above any smaller value that leaves enough."""
    values = drawn_values(kind, count, seed)
    positive = np.sort(values[values > 0])
    low = float(np.float32(above) * positive[0])
    low = low if above < 1 and low < positive[0] else 0.0
    next_best_by_sorting(values, low, int(share * (positive.size - 1)))


@settings(max_examples=200)
@given(values=st.lists(numbers, max_size=60), low=numbers, high=numbers, first=st.integers(0, 3))
def test_where_between(values: list[float], low: float, high: float, first: int) -> None:
    array, out = np.array(values, np.float32), np.full(len(values) + 8 + first, -7, np.int32)
    found = where_between(array, array.size, np.float32(low), np.float32(high), out[first:])
    expected = np.flatnonzero((array > np.float32(low)) & (array <= np.float32(high)))
    assert out[first : first + found].tolist() == expected.tolist() and (out[:first] == -7).all()


@given(values=st.lists(numbers, min_size=1, max_size=40), most=numbers)
def test_highest_and_next_below(values: list[float], most: float) -> None:
    array, limit = np.array(values, np.float32), np.float32(abs(most))
    assert highest(array, array.size, limit) == max([np.float32(0), *array[array <= limit]])
    below = next_below(limit)
    assert below < limit and (limit == 0 or np.nextafter(below, np.float32(np.inf)) == limit)


@settings(max_examples=300)
@given(kind=many, count=st.integers(2, 2_000), seed=seeds, share=st.floats(0, 1), guess=st.integers(-30, 30))
def test_threshold_leaves_as_many_above_as_asked_for(
    kind: str, count: int, seed: int, share: float, guess: int
) -> None:
    values = drawn_values(kind, count, seed)
    positive = int((values > 0).sum())
    most = int(share * (positive - 1))
    fewest = max(0, most - 16)
    limit, found = threshold(values, count, positive, fewest, most, np.float32(10.0**guess))
    above = int((values > limit).sum())
    assert not found or fewest <= above <= most
    if kind == "spread" and abs(guess) <= 2 and most >= 16:
        assert found, "without ties and from a fair guess the search ends"


def test_threshold_tells_of_ties() -> None:
    values = np.repeat(np.float32([3, 2, 1]), 100)
    limit, found = threshold(values, 300, 300, 110, 120, np.float32(1.0))
    assert not found
    limit, found = threshold(values, 300, 300, 90, 100, np.float32(1.0))
    assert found and 2 <= limit < 3


@settings(max_examples=200)
@given(lengths=st.lists(st.integers(0, 5) | st.just(40), min_size=1, max_size=30))
def test_item_of_an_edge(lengths: list[int]) -> None:
    """Rows of equal length are guessed, others searched; some are empty."""
    indptr = np.append(0, np.cumsum(lengths))
    owner = np.repeat(np.arange(len(lengths)), lengths)
    assert [item_of(indptr, edge) for edge in range(owner.size)] == owner.tolist()


def check_heap(bids: np.ndarray) -> None:
    """Nothing above a smaller one."""
    at = np.arange(1, bids.size)
    assert (bids[(at - 1) // 2] <= bids[at]).all()


@settings(max_examples=100)
@given(size=st.integers(1, 200), seed=seeds, most=st.sampled_from([3, 2**63]))
def test_bids_stay_a_heap(size: int, seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    bids = rng.integers(0, most, size, np.uint64)
    kept = Counter(bids.tolist())
    make_heap(bids)
    check_heap(bids)
    assert Counter(bids.tolist()) == kept
    for key in rng.integers(0, most, 40, np.uint64):
        kept[min(kept.elements())] -= 1
        kept[int(key)] += 1
        sift_down(bids, 0, key)
        check_heap(bids)
        assert Counter(bids.tolist()) == +kept


def auction_of(demand: list[int], users: int = 4, most_bids: int = 1 << 19) -> BlockAuction:
    """Items with all users as candidates; `most_bids`: room for the bids of one block."""
    items = len(demand)
    rows = Rows(
        np.arange(items + 1, dtype=np.int64) * users,
        np.tile(np.arange(users, dtype=np.uint32), items),
        np.ones(items * users, np.float32),
        np.array(demand, np.int32),
    )
    for array in rows[:3]:
        array.setflags(write=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dualrec.solvers.block_auction.MOST_BIDS", most_bids)
        return BlockAuction(rows, np.ones(users, np.int32), np.zeros(1, np.float32), Workers(1))


@settings(max_examples=100)
@given(demand=st.lists(st.integers(0, 4), min_size=1, max_size=12), room=st.integers(1, 20), seed=seeds)
def test_items_wait_in_a_ring(demand: list[int], room: int, seed: int) -> None:
    """Against a list: first in, first out; who has all it wants is passed over; the bids of a block have room."""
    rng, auction, twin = np.random.default_rng(seed), auction_of(demand, most_bids=room), deque[int]()
    state, bids = auction.state, auction.bids
    state.load[:] = rng.integers(0, np.array(demand) + 1)
    for _ in range(12):
        idle = np.flatnonzero(state.queued == 0)
        called = np.sort(rng.choice(idle, rng.integers(0, idle.size + 1), replace=False)).astype(np.int32)
        state.queued[called] = 1
        enqueue(state, called)
        twin.extend(called.tolist())
        most, expected, starts = int(rng.integers(1, 6)), list[int](), [0]
        while twin and len(expected) < most:
            missing = demand[twin[0]] - int(state.load[twin[0]])
            if starts[-1] + missing > bids.bid.size:
                break
            item = twin.popleft()
            if missing:
                expected.append(item)
                starts.append(starts[-1] + missing)
        count = next_block(auction.rows, state, bids, most)
        assert bids.item[:count].tolist() == expected and bids.start[: count + 1].tolist() == starts
        assert auction.waiting == len(twin) == np.count_nonzero(state.queued)
    assert BLOCK >= 6, "blocks of this test fit"


@settings(max_examples=50)
@given(seed=seeds, begin=st.integers(0, 5), count=st.integers(0, 60))
def test_bids_are_sorted_by_shard_and_else_stay_in_order(seed: int, begin: int, count: int) -> None:
    rng, auction = np.random.default_rng(seed), auction_of([300] * 4, users=300)
    state, bids = auction.state, auction.bids
    state.shard_of[:] = rng.integers(0, SHARDS, state.shard_of.size)
    end = begin + count
    for made in (bids.made_user, bids.made_edge, bids.made_bid_bits, bids.made_dear_bits):
        made[begin:end] = rng.integers(0, 300, count)
    shard = state.shard_of[bids.made_user[begin:end] >> 6]
    cut = np.append(0, np.bincount(shard, minlength=SHARDS))
    sort_by_shard(state, bids, begin, end, cut)
    order = begin + np.argsort(shard, kind="stable")
    for made, bid in zip(
        (bids.made_user, bids.made_edge, bids.made_bid_bits, bids.made_dear_bits),
        (bids.user, bids.edge, bids.bid, bids.dear),
        strict=True,
    ):
        assert np.array_equal(bid[begin:end], made[order])
    assert cut.tolist() == [begin + int((shard < s).sum()) for s in range(SHARDS + 1)]


def test_shards_share_the_work() -> None:
    """One of 6,400 users is in half of the lists: no shard has more than its part and the users that it ends with."""
    rng = np.random.default_rng(0)
    user = np.where(rng.random(60_000) < 0.5, 0, rng.integers(0, 6_400, 60_000))
    item = np.repeat(np.arange(600), 100)
    pairs = np.unique(item * 6_400 + user)
    rows = Rows(
        np.searchsorted(pairs, np.arange(601) * 6_400), (pairs % 6_400).astype(np.uint32),
        np.ones(pairs.size, np.float32), np.full(600, 10, np.int32),
    )  # fmt: skip
    auction = BlockAuction(rows, np.full(6_400, 600, np.int32), np.zeros(1, np.float32), Workers(1))
    degree = np.bincount(rows.user, minlength=6_400)
    shard = np.repeat(auction.state.shard_of, 64)
    assert (np.diff(shard.astype(int)) >= 0).all()
    work = np.bincount(shard, degree, SHARDS)
    assert (
        work.sum() == pairs.size
        and work.max() <= pairs.size / SHARDS + np.add.reduceat(degree, range(0, 6_400, 64)).max()
    )


@given(seed=seeds, users=st.integers(1, 9))
def test_count_users(seed: int, users: int) -> None:
    rng = np.random.default_rng(seed)
    user, out = rng.integers(0, users, 50).astype(np.uint32), rng.integers(0, 3, users).astype(np.int32)
    first, last = np.sort(rng.integers(0, 51, 2)).tolist()
    expected = out + np.bincount(user[first:last], minlength=users)
    count_users(user, first, last, out)
    assert np.array_equal(out, expected)
