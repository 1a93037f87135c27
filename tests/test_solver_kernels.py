"""Kernels one by one, against plain NumPy or by the property they keep."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.auction_kernels import (
    heap_push,
    heap_replace_lowest,
    kth_largest,
    last_place_worth,
    run_auction,
    seat_holders,
)
from dualrec.solvers.auction_round import Round, rows_by_item, rows_by_user
from dualrec.solvers.first_come_kernels import kth_largest as kth_of_scores
from dualrec.solvers.instances import SCORE_KINDS, Ragged
from dualrec.solvers.min_cost_flow import MinCostFlow
from dualrec.solvers.solve import solve
from dualrec.solvers.step import Clock

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)
positive = st.sampled_from([1e-30, 0.25, 0.5, 1.0, 1.0 + 2**-52, 7.0, 1e30]) | st.floats(1e-6, 1e6)


@settings(deadline=None, max_examples=200)
@given(values=st.lists(positive, min_size=1, max_size=120), data=st.data())
def test_kth_largest_equals_sorting(values: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(values)))
    given_values = np.array(values)
    assert kth_largest(given_values, len(values), k, np.empty(len(values))) == sorted(values, reverse=True)[k - 1]
    assert given_values.tolist() == values
    scores = given_values.astype(np.float32)
    expected = np.sort(scores)[::-1][k - 1]
    assert kth_of_scores(scores, len(values), k) == expected


@settings(deadline=None)
@given(bids=st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=60), places=st.integers(1, 8))
def test_heap_keeps_the_highest_bids(bids: list[float], places: int) -> None:
    bid, edge, count = np.zeros(places + 2), np.zeros(places + 2, np.int64), 0
    kept: list[tuple[float, int]] = []
    for e, value in enumerate(bids):
        kept.append((value, e))
        if count < places:
            heap_push(bid, edge, 1, count, value, e)
            count += 1
        else:
            lowest = min(kept[:-1])
            assert heap_replace_lowest(bid, edge, 1, count, value, e) == lowest[1]
            kept.remove(lowest)
        assert (bid[1], edge[1]) == min(kept)
    held = zip(bid[1 : 1 + count].tolist(), edge[1 : 1 + count].tolist(), strict=True)
    assert sorted(held) == sorted(kept)
    assert bid[0] == bid[places + 1] == 0.0, "a heap stays in its own slots"


@settings(deadline=None, max_examples=50)
@given(seed=seeds)
def test_by_owner_is_a_stable_sort(seed: int) -> None:
    problem = Ragged().make(seed)
    rows, edge = rows_by_user(problem)
    order = np.argsort(problem.user, kind="stable")
    assert np.array_equal(edge, order)
    assert np.array_equal(rows.owner, problem.item_of(order))
    assert np.array_equal(rows.score, problem.score[order])
    assert np.array_equal(rows.indptr, np.append(0, np.cumsum(np.bincount(problem.user, minlength=problem.users))))


def finished_round(seed: int, kind: str, eps: float) -> Round:
    problem = Ragged(items=20, users=15, most=5, kind=kind).make(seed)
    auction = Round(rows_by_item(problem), np.zeros(problem.users))
    auction.call(np.flatnonzero(problem.demand))
    auction.run(eps, Clock(), np.inf)
    return auction


@settings(deadline=None, max_examples=100)
@given(seed=seeds, kind=kinds, eps=st.sampled_from([1e-3, 0.1, 1.0]))
def test_a_finished_round_keeps_complementary_slackness(seed: int, kind: str, eps: float) -> None:
    auction = finished_round(seed, kind, eps)
    rows, state = auction.rows, auction.state
    bidder = np.repeat(np.arange(rows.demand.size), np.diff(rows.indptr))
    held = state.held == 1
    assert np.array_equal(state.load, np.bincount(bidder[held], minlength=rows.demand.size))
    assert np.array_equal(state.slot_count, np.bincount(rows.owner[held], minlength=rows.capacity.size))
    assert (state.load <= rows.demand).all() and (state.slot_count <= rows.capacity).all()
    assert (state.price[state.slot_count < rows.capacity] == 0).all(), "a price needs a full owner"
    net = rows.score.astype(np.float64) - state.price[rows.owner]
    slack = eps + 1e-15 * float(rows.score.max(initial=0.0))
    for b in range(rows.demand.size):
        mine = bidder == b
        on_offer = max([0.0, *net[mine & ~held]]) if state.load[b] == rows.demand[b] else 0.0
        if rows.demand[b] > state.load[b]:
            assert (net[mine & ~held] <= 0).all(), "a bidder that misses places has no offer worth something"
        if rows.demand[b] > 0:
            assert (net[mine & held] >= on_offer - slack).all()


@settings(deadline=None, max_examples=50)
@given(seed=seeds, kind=kinds, budget=st.integers(1, 40))
def test_slices_change_nothing(seed: int, kind: str, budget: int) -> None:
    whole = finished_round(seed, kind, 0.1)
    problem = Ragged(items=20, users=15, most=5, kind=kind).make(seed)
    sliced = Round(rows_by_item(problem), np.zeros(problem.users))
    sliced.call(np.flatnonzero(problem.demand))
    while sliced.unfinished:
        run_auction(sliced.rows, sliced.state, 0.1, budget)
    assert np.array_equal(whole.state.held, sliced.state.held)
    assert np.array_equal(whole.state.price, sliced.state.price)


@settings(deadline=None, max_examples=50)
@given(seed=seeds, kind=kinds)
def test_seats_and_worth_of_the_last_place(seed: int, kind: str) -> None:
    problem = Ragged(items=12, users=9, kind=kind).make(seed)
    answer = solve(problem, "greedy")
    rows, edge = rows_by_user(problem)
    auction = Round(rows, np.zeros(problem.items))
    held = np.zeros(problem.edges, np.uint8)
    held[answer.chosen] = 1
    auction.state.held[:] = held[edge]
    paid = np.random.default_rng(seed).random(problem.users)
    seat_holders(rows, auction.state, paid)
    assert np.array_equal(auction.state.load, answer.user_load)
    for i in range(problem.items):
        mine = answer.chosen[problem.item_of(answer.chosen) == i]
        bids = np.maximum(0.0, problem.score[mine] - paid[problem.user[mine]].astype(np.float64))
        start = auction.state.slot_start[i]
        assert sorted(bids) == sorted(auction.state.slot_bid[start : start + mine.size])
        if problem.demand[i]:
            assert auction.state.price[i] == (bids.min() if mine.size == problem.demand[i] else 0.0)
    worth = np.zeros(problem.users)
    last_place_worth(rows, auction.state, worth)
    profit = np.where(problem.demand > 0, auction.state.price, np.inf)
    for u in range(problem.users):
        mine = problem.user == u
        net = np.maximum(0.0, problem.score[mine].astype(np.float64) - profit[problem.item_of(np.flatnonzero(mine))])
        if problem.capacity[u] == 0:
            assert worth[u] == net.max(initial=0.0)
        elif answer.user_load[u] < problem.capacity[u]:
            assert worth[u] == 0.0
        else:
            assert worth[u] == net[held[mine] == 1].min()


@settings(deadline=None, max_examples=60)
@given(seed=seeds, kind=kinds)
def test_flow_prices_keep_complementary_slackness(seed: int, kind: str) -> None:
    problem = Ragged(items=15, users=12, most=5, kind=kind).make(seed)
    answer, unit = solve(problem, "min-cost-flow"), 1.0 / MinCostFlow().scale(problem)
    open_users = problem.capacity > 0
    price = answer.user_prices
    assert (price[open_users & (answer.user_load < problem.capacity)] <= unit).all()
    item, held = problem.item_of(np.arange(problem.edges)), np.zeros(problem.edges, bool)
    held[answer.chosen] = True
    net = problem.score.astype(np.float64) - price[problem.user]
    for i in np.flatnonzero(problem.demand):
        kept, left = net[(item == i) & held], net[(item == i) & ~held]
        floor = kept.min() if answer.item_load[i] == problem.demand[i] else 0.0
        assert (left <= floor + 2 * unit).all() and (kept >= -2 * unit).all()
