"""Blocks of the auction, one after the other: what must agree in its state, and that threads change no byte."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.block_auction import BlockAuction
from dualrec.solvers.block_edge_kernels import mark_held
from dualrec.solvers.block_kernels import (
    KEEP,
    LONG,
    by_place,
    net_scores,
    read_row,
    read_short,
    take_ties,
)
from dualrec.solvers.block_run import BlockRun
from dualrec.solvers.certificate import certify, total_score
from dualrec.solvers.instances import SCORE_KINDS, Ragged
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve
from dualrec.solvers.step import Clock
from dualrec.solvers.workers import Workers

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)
shares = st.sampled_from([1.0, 0.1, 1e-2])
shapes = st.sampled_from(["short rows", "long rows", "many places", "demand over the row"])

SHAPES = {  # items, users, density, most an item wants, most places of a user
    "short rows": (20, 15, 0.5, 5, 5),
    "long rows": (12, 3 * LONG, 0.6, 90, 4),
    "many places": (128, 6, 0.6, 4, 128),
    "demand over the row": (15, 12, 0.3, 30, 4),
}


def drawn(shape: str, kind: str, seed: int, half: bool = False) -> Problem:
    """A small irregular problem; `half`: its scores in two bytes."""
    items, users, density, wanted, places = SHAPES[shape]
    plain, rng = Ragged(items, users, density, kind=kind).make(seed), np.random.default_rng([seed, 3])
    score = np.minimum(plain.score, 6e4).astype(np.float16) if half else plain.score
    limits = rng.integers(0, wanted + 1, items), rng.integers(0, places + 1, users)
    return Problem.from_csr(plain.indptr, plain.user, score, *limits)


class Blocks:
    """The auction on a problem, run block by block; the first block takes `first` items, the next twice as many."""

    def __init__(
        self, problem: Problem, share: float, parts: int = 1, first: int = 64, start_prices: Any = None
    ) -> None:
        self.problem = problem
        run = BlockRun(problem, Clock(), Workers(parts))
        self.eps = run.finest_eps(share)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dualrec.solvers.block_auction.FIRST_BLOCK", first)
            patch.setattr("dualrec.solvers.block_auction.WORTH_THREADS", 0 if parts > 1 else 2**40)
            prices = np.zeros(1, np.float32) if start_prices is None else start_prices
            self.auction = BlockAuction(run.rows, problem.capacity, prices, run.workers)
        self.rows, self.state = self.auction.rows, self.auction.state
        if start_prices is None:
            self.auction.call(np.flatnonzero(run.rows.demand > 0))

    def __iter__(self) -> Iterator[None]:
        while self.auction.waiting:
            self.auction.run(self.eps, self.auction.read + 1, lambda: False)
            yield

    def held(self) -> np.ndarray:
        """bool[edges] from the bits of the rows; the bits between rows must be 0."""
        bits = np.unpackbits(self.state.held, bitorder="little")
        item = self.problem.item_of(np.arange(self.problem.edges))
        at = 8 * ((self.rows.indptr[item] >> 3) + item) + np.arange(self.problem.edges) - self.rows.indptr[item]
        assert bits.sum() == bits[at].sum(), "a bit outside all rows is set"
        return bits[at] == 1

    def bids(self, user: int) -> np.ndarray:
        """What the user holds, uint64: the bits of the bid, then the edge."""
        start = self.state.slot_start[user]
        return self.state.slot[start : start + self.state.slot_count[user]]

    def waiting(self) -> np.ndarray:
        """The items in the queue, in order."""
        first, count = self.state.ends
        return self.state.queue[(first + np.arange(count)) % max(1, self.state.queue.size)]

    def listed(self, item: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Place in the row, user and score on the item's short list."""
        count = self.state.short_count[item]
        entry = self.state.short[item, : 3 * count].reshape(count, 3)
        return entry[:, 0], entry[:, 1], self.state.short_score[item, : 3 * count].reshape(count, 3)[:, 2]

    def net(self) -> np.ndarray:
        """float32[edges]: score - price, as the kernels compute it."""
        return self.problem.score32() - self.state.price[self.problem.user]


def check_users(blocks: Blocks, held: np.ndarray) -> None:
    """Users hold what the bits say, within their places, at the price of the lowest bid once they are full."""
    problem, state = blocks.problem, blocks.state
    assert np.array_equal(state.slot_count, np.bincount(problem.user[held], minlength=problem.users))
    assert (state.slot_count <= problem.capacity).all()
    for u in np.flatnonzero(problem.capacity):
        bids = blocks.bids(u)
        edge, bid = (bids & np.uint64(2**32 - 1)).astype(np.int64), (bids >> np.uint64(32)).astype(np.uint32)
        paid = bid.view(np.float32)
        assert np.array_equal(np.sort(edge), np.flatnonzero(held & (problem.user == u)))
        assert (paid >= 0).all() and (paid <= problem.score32()[edge]).all(), "nobody bids more than the score"
        if bids.size < problem.capacity[u]:
            assert state.price[u] == 0, "a price needs a full user"
            continue
        assert state.price[u] == paid.min() == paid[0]
        assert (bids[(np.arange(1, bids.size) - 1) // 2] <= bids[1:]).all(), "a heap, the lowest bid first"


def check_items(blocks: Blocks, held: np.ndarray) -> None:
    """Loads are counts of held edges; who has an offer left and misses users waits, once."""
    problem, state, net = blocks.problem, blocks.state, blocks.net()
    item = problem.item_of(np.arange(problem.edges))
    assert np.array_equal(state.load, np.bincount(item[held], minlength=problem.items))
    assert (state.load <= blocks.rows.demand).all()
    waiting = blocks.waiting()
    assert np.array_equal(np.sort(waiting), np.flatnonzero(state.queued))
    short = np.setdiff1d(np.flatnonzero(state.load < blocks.rows.demand), waiting)
    assert not (np.isin(item, short) & ~held & (net > 0)).any(), "an item that misses users has an offer and rests"


def check_slackness(blocks: Blocks, held: np.ndarray) -> None:
    """No user that an item does not hold is worth eps more to it than one that it holds, unless the item waits."""
    problem = blocks.problem
    net = problem.score.astype(np.float64) - blocks.state.price[problem.user]
    slack = blocks.eps * (1 + 1e-6) + 4 * float(np.spacing(problem.score32().max(initial=0)))
    worst, best = np.full(problem.items, np.inf), np.zeros(problem.items)
    item = problem.item_of(np.arange(problem.edges))
    np.minimum.at(worst, item[held], net[held])
    np.maximum.at(best, item[~held], net[~held])
    assert (worst >= best - slack)[blocks.state.queued == 0].all()


def check_short_lists(blocks: Blocks, held: np.ndarray) -> None:
    """Lists hold edges as the row has them, none held; all others not held are worth at most `short_rest`."""
    problem, state, net = blocks.problem, blocks.state, blocks.net()
    for i in np.flatnonzero(state.short_rest < np.inf):
        row = slice(problem.indptr[i], problem.indptr[i + 1])
        place, user, score = blocks.listed(i)
        assert place.size <= KEEP and np.unique(place).size == place.size
        assert np.array_equal(user, problem.user[row][place]) and np.array_equal(score, problem.score32()[row][place])
        assert not held[row][place].any()
        other = ~held[row]
        other[place] = False
        assert (net[row][other] <= state.short_rest[i]).all()


@settings(max_examples=60)
@given(shape=shapes, kind=kinds, seed=seeds, share=shares, half=st.booleans(), first=st.sampled_from([1, 4, 64]))
def test_state_agrees_after_every_block(shape: str, kind: str, seed: int, share: float, half: bool, first: int) -> None:
    blocks = Blocks(drawn(shape, kind, seed, half), share, first=first)
    price = blocks.state.price.copy()
    for _ in blocks:
        held = blocks.held()
        assert (blocks.state.price >= price).all(), "a price fell"
        price = blocks.state.price.copy()
        check_users(blocks, held)
        check_items(blocks, held)
        check_slackness(blocks, held)
        check_short_lists(blocks, held)
    assert np.array_equal(blocks.auction.chosen(), np.flatnonzero(blocks.held()))


@settings(max_examples=60)
@given(shape=shapes, kind=kinds, seed=seeds, share=shares, half=st.booleans())
def test_the_end_is_within_eps_a_match(shape: str, kind: str, seed: int, share: float, half: bool) -> None:
    problem = drawn(shape, kind, seed, half)
    blocks = Blocks(problem, share)
    blocks.auction.run(blocks.eps, np.inf, lambda: False)
    chosen, price = blocks.auction.chosen(), blocks.state.price
    closed = np.where(problem.capacity > 0, price, problem.score32().max(initial=0)).astype(np.float64)
    proof = certify(problem, chosen, closed)
    assert proof.value >= proof.bound - blocks.eps * chosen.size - 1e-6 * proof.bound


def blocks_twin(problem: Problem, eps: float, first: int) -> Iterator[tuple[set[int], np.ndarray]]:
    """The same auction with lists and sorting, for rows up to LONG: edges held and prices after each block."""
    raised, score, size = np.float32(eps), problem.score32(), first
    row = [range(a, b) for a, b in zip(problem.indptr[:-1], problem.indptr[1:], strict=True)]
    wanted = [min(int(demand), len(edges)) for demand, edges in zip(problem.demand, row, strict=True)]
    held: list[set[int]] = [set() for _ in row]
    taken: list[list[tuple[np.float32, int]]] = [[] for _ in problem.capacity]
    price = np.where(problem.capacity > 0, np.float32(0), np.float32(np.inf))
    queue = deque(i for i, most in enumerate(wanted) if most)
    while queue:
        block = [queue.popleft() for _ in range(min(size, len(queue)))]
        size *= 2
        bids, lost = [], set()
        for i in block:
            missing = wanted[i] - len(held[i])
            offers = {e: score[e] - price[problem.user[e]] for e in row[i] if e not in held[i]}
            offers = {e: net for e, net in offers.items() if net > 0}
            least = max([np.float32(0), *sorted(offers.values(), reverse=True)[missing : missing + 1]])
            full = {e: len(taken[problem.user[e]]) == problem.capacity[problem.user[e]] for e in offers}
            best = sorted(offers, key=lambda e: (-offers[e], full[e], e))[:missing]
            bids += [(e, score[e] - least, min(score[e] - least + raised, score[e])) for e in sorted(best)]
            held[i].update(best)
        for e, bid, dear in bids:
            mine, u = taken[problem.user[e]], problem.user[e]
            if len(mine) < problem.capacity[u]:
                mine.append((max(bid, price[u]), e))
            elif dear > price[u]:
                lost.add(min(mine)[1])
                mine.remove(min(mine))
                mine.append((dear, e))
            else:
                lost.add(e)
            if len(mine) == problem.capacity[u]:
                price[u] = min(mine)[0]
        losers = problem.item_of(np.array(sorted(lost), np.int64)).tolist()
        for i, e in zip(losers, sorted(lost), strict=True):
            held[i].remove(e)
        queue.extend(i for i in dict.fromkeys(losers) if i not in queue)
        yield set().union(*held), price


@settings(max_examples=80)
@given(
    shape=st.sampled_from(["short rows", "many places", "demand over the row"]), kind=kinds, seed=seeds, share=shares
)
def test_blocks_equal_their_twin(shape: str, kind: str, seed: int, share: float) -> None:
    problem = drawn(shape, kind, seed)
    blocks = Blocks(problem, share, first=4)
    assert np.diff(problem.indptr).max(initial=0) <= LONG
    for turn, (_, (held, price)) in enumerate(zip(blocks, blocks_twin(problem, blocks.eps, 4), strict=True)):
        assert set(np.flatnonzero(blocks.held()).tolist()) == held, f"block {turn}"
        assert np.array_equal(blocks.state.price, price), f"block {turn}"


@settings(max_examples=60)
@given(kind=kinds, seed=seeds, share=shares, half=st.booleans(), turns=st.integers(0, 6), guess=st.floats(1e-4, 1e4))
def test_reading_a_row_and_a_short_list(
    kind: str, seed: int, share: float, half: bool, turns: int, guess: float
) -> None:
    """In the middle of an auction, for each item in turn."""
    problem = drawn("long rows", kind, seed, half)
    blocks = Blocks(problem, share, first=4)
    for _ in zip(range(turns), blocks, strict=False):
        pass
    state, rows, own = blocks.state, blocks.rows, blocks.auction._own[0]
    held, net = blocks.held(), blocks.net()
    net[held] = 0
    for i in range(problem.items):
        row, length = net[problem.indptr[i] : problem.indptr[i + 1]], int(np.diff(problem.indptr)[i])
        net_scores(rows, state, i, own.net)
        assert np.array_equal(own.net[:length], row)
        if state.short_rest[i] < np.inf:
            place, user, score = blocks.listed(i)
            worth = row[place] > 0
            count = read_short(state, i, own)
            assert own.place[:count].tolist() == place[worth].tolist()
            assert np.array_equal(own.net[:count], row[place[worth]])
            assert np.array_equal(own.user[:count], user[worth]) and np.array_equal(own.score[:count], score[worth])
        missing = int(rows.demand[i] - state.load[i])
        count = read_row(rows, state, i, missing, np.float32(guess), own)
        check_offers(row, missing, own.place[:count], float(state.short_rest[i]))
        edge = problem.indptr[i] + own.place[:count]
        assert np.array_equal(own.net[:count], net[edge]) and np.array_equal(own.user[:count], problem.user[edge])
        assert np.array_equal(own.score[:count], problem.score32()[edge])


def check_offers(row: np.ndarray, missing: int, place: np.ndarray, rest: float) -> None:
    """All that is worth something, or of a long row the best 16 to 32 more than are missing, with all ties."""
    assert (np.diff(place) > 0).all()
    positive = int((row > 0).sum())
    if row.size <= LONG or positive <= missing + KEEP // 2:
        assert place.tolist() == np.flatnonzero(row > 0).tolist()
        assert rest == (np.inf if row.size <= LONG else 0)
        return
    above = int((row > rest).sum())
    if place.size == above:
        assert missing + KEEP // 4 <= above <= missing + KEEP // 2
        assert place.tolist() == np.flatnonzero(row > rest).tolist()
    else:
        assert rest == np.sort(row)[::-1][missing + KEEP // 2]
        assert place.tolist() == np.flatnonzero(row >= rest).tolist()


@settings(max_examples=60)
@given(seed=seeds, count=st.integers(0, 40), room=st.integers(0, 40))
def test_ties_go_to_free_places_first(seed: int, count: int, room: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = Blocks(drawn("long rows", "levels", seed), 0.1)
    own, state = blocks.auction._own[0], blocks.state
    state.slot_count[:] = np.where(rng.random(state.slot_count.size) < 0.5, 0, np.diff(state.slot_start))
    own.net[:count], own.taken[:count] = rng.integers(1, 4, count), rng.random(count) < 0.3
    own.place[:count] = rng.permutation(100)[:count]
    own.user[:count] = rng.permutation(state.price.size)[:count]
    own.score[:count] = rng.random(count)
    before = {int(own.place[a]): tuple(part[a] for part in (own.net, own.score, own.user)) for a in range(count)}
    own.taken[:count] = own.taken[np.argsort(own.place[:count])]
    by_place(own, count)
    assert own.place[:count].tolist() == sorted(before)
    assert {
        int(own.place[a]): tuple(part[a] for part in (own.net, own.score, own.user)) for a in range(count)
    } == before
    taken = own.taken[:count].copy()
    full = state.slot_count[own.user[:count]] == np.diff(state.slot_start)[own.user[:count]]
    ties = [a for a in np.lexsort((own.place[:count], full)) if own.net[a] == 2 and not taken[a]]
    taken[ties[:room]] = 1
    take_ties(state, own, count, np.float32(2), room)
    assert np.array_equal(own.taken[:count], taken)


@settings(max_examples=40)
@given(kind=kinds, seed=seeds, parts=st.integers(1, 4))
def test_bits_of_chosen_edges(kind: str, seed: int, parts: int) -> None:
    """Set by ranges of items, and read back in order."""
    problem = drawn("short rows", kind, seed)
    blocks, rng = Blocks(problem, 1.0, parts), np.random.default_rng(seed)
    chosen = np.flatnonzero(rng.random(problem.edges) < 0.4)
    for ends in blocks.auction.workers.ranges(problem.items):
        mark_held(blocks.rows, chosen, *ends, blocks.state.held)
    assert np.array_equal(np.flatnonzero(blocks.held()), chosen)
    blocks.state.load[:] = problem.item_load(chosen)
    blocks.state.ends[:] = 0  # nobody waits, so nothing is filled
    assert np.array_equal(blocks.auction.chosen(), chosen)


def check_bids(blocks: Blocks, held: np.ndarray) -> None:
    """Users and items agree on who holds what, within all limits."""
    problem, state = blocks.problem, blocks.state
    edges = np.concatenate([blocks.bids(u) for u in range(problem.users)]) & np.uint64(2**32 - 1)
    assert np.array_equal(np.sort(edges), np.flatnonzero(held))
    assert np.array_equal(state.load, problem.item_load(np.flatnonzero(held)))
    assert (state.load <= blocks.rows.demand).all() and (state.slot_count <= problem.capacity).all()


@settings(max_examples=60)
@given(shape=shapes, kind=kinds, seed=seeds, half=st.booleans(), dear=st.sampled_from([0.0, 0.5, 1.5]))
def test_seats_are_kept_where_they_are_right(shape: str, kind: str, seed: int, half: bool, dear: float) -> None:
    """No match is worth eps less than what the item could have in its place, none is given up without need; swaps gain."""
    problem, rng = drawn(shape, kind, seed, half), np.random.default_rng(seed)
    score, item = problem.score32(), problem.item_of(np.arange(problem.edges))
    price = (dear * float(score.mean() if score.size else 0) * rng.random(problem.users)).astype(np.float32)
    start, blocks = solve(problem, "first-come").chosen, Blocks(problem, 0.1, start_prices=price)
    net, eps = blocks.net(), np.float32(blocks.eps)
    blocks.auction.seat(start, eps)
    held, held_before = blocks.held(), np.zeros(problem.edges, bool)
    held_before[start] = True
    assert not (held & ~held_before).any()
    assert (net[held] >= -eps).all()
    for i in range(problem.items):
        mine, demand = held & (item == i), problem.demand[i]
        others = np.sort(net[(item == i) & ~mine])[::-1]
        left = np.maximum(0, others[demand - mine.sum() :])
        assert not mine.any() or not left.size or left[0] <= net[mine].min() + eps
        row, gone = np.sort(net[item == i])[::-1], held_before & ~held & (item == i) & (net >= -eps)
        new, free = net[(item == i) & ~held_before], demand - (held_before & (item == i) & (net >= -eps)).sum()
        for one in net[gone]:
            assert (new > one + eps).sum() > free or one <= max(0, row[demand])
    check_bids(blocks, held)
    assert np.array_equal(np.sort(blocks.waiting()), np.flatnonzero(blocks.state.load < blocks.rows.demand))
    for _ in blocks:
        check_bids(blocks, blocks.held())
        check_short_lists(blocks, blocks.held())
    before = blocks.held()
    open_users = (blocks.state.slot_count < problem.capacity) & (blocks.state.price > 0)
    blocks.auction.fill_open_places()
    after = blocks.held()
    check_bids(blocks, after)
    added, dropped = after & ~before, before & ~after
    assert open_users[problem.user[added]].all() and (blocks.state.price[problem.user[dropped]] == 0).all()
    assert total_score(problem, np.flatnonzero(after)) >= total_score(problem, np.flatnonzero(before))
    assert not added.any() or added.sum() >= dropped.sum()


def state_bytes(blocks: Blocks) -> dict[str, Any]:
    """All of the state that has a meaning; arrays are longer than what stands in them."""
    state = blocks.state
    lists = [blocks.listed(i) for i in np.flatnonzero(state.short_rest < np.inf)]
    return {
        "queue": blocks.waiting().tobytes(),
        "bids": [blocks.bids(u).tobytes() for u in range(blocks.problem.users)],
        "short lists": [b"".join(part.tobytes() for part in entries) for entries in lists],
        "edges read": blocks.auction.read,
        **{name: getattr(state, name).tobytes() for name in ("price", "held", "load", "queued", "short_rest")},
    }


@settings(max_examples=40)
@given(shape=shapes, kind=kinds, seed=seeds, share=shares, first=st.sampled_from([4, 64]), parts=st.integers(2, 5))
def test_threads_change_no_byte(shape: str, kind: str, seed: int, share: float, first: int, parts: int) -> None:
    problem = drawn(shape, kind, seed)
    one, several = Blocks(problem, share, first=first), Blocks(problem, share, parts, first)
    for turn, _ in enumerate(zip(one, several, strict=True)):
        assert state_bytes(one) == state_bytes(several), f"after block {turn}"
