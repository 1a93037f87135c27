"""Kernels behind floors and (user, creator) limits one by one, against plain Python or by what they must keep."""

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.floors import floors_to_meet
from dualrec.solvers.instances import SCORE_KINDS
from dualrec.solvers.limited_auction_kernels import kth_largest, place_bid, plan, run_limited
from dualrec.solvers.limited_auction_round import LimitedRound, limited_rows
from dualrec.solvers.min_cost_flow_kernels import keep_worth, lowest_prices
from dualrec.solvers.network_flow import best_flow, integer_worth
from dualrec.solvers.places_left import group_arrays
from dualrec.solvers.problem import Problem
from dualrec.solvers.step import Clock

Make = Callable[..., Problem]
seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)
values = st.sampled_from([-7.0, -0.5, 0.0, 0.25, 0.5, 1.0, 1.0 + 2**-52, 7.0]) | st.floats(-1e6, 1e6)


@settings(max_examples=200)
@given(given_values=st.lists(values, min_size=1, max_size=120), data=st.data())
def test_kth_largest_equals_sorting(given_values: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(given_values)))
    array = np.array(given_values)
    assert kth_largest(array, array.size, k, np.empty(array.size)) == sorted(given_values, reverse=True)[k - 1]
    assert array.tolist() == given_values


@settings(max_examples=200)
@given(net=st.lists(values, max_size=30), missing=st.integers(1, 12), forced=st.integers(0, 12))
def test_plan_takes_what_pays_and_what_the_floor_needs(net: list[float], missing: int, forced: int) -> None:
    forced = min(forced, missing)
    array, scratch = np.array(net, np.float64), np.empty(len(net))
    wanted, level, capped = plan(array, array.size, missing, forced, scratch)
    falling = sorted(net, reverse=True)
    pays = sum(worth > 0 for worth in net)
    assert wanted == min(len(net), max(min(missing, pays), forced))
    if capped:
        assert level == max([0.0, *falling[missing : missing + 1]])
        assert all(worth > 0 for worth in falling[:wanted])
    else:
        assert level <= 0 and wanted <= forced
        assert level == (falling[forced] if len(net) > forced else min([0.0, *net]))


def round_of(problem: Problem) -> LimitedRound:
    rows = limited_rows(problem, floors_to_meet(problem))
    return LimitedRound(rows, np.zeros(problem.users), np.zeros(problem.groups))


def mean_score(problem: Problem) -> float:
    positive = problem.score[problem.score > 0]
    return float(positive.mean()) if positive.size else 1.0


@settings(max_examples=100)
@given(seed=seeds, rises=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=60))
def test_places_go_to_the_highest_bids(limited_problem: Make, seed: int, rises: list[float]) -> None:
    """Bids above the cost, on edges in any order, against lists sorted anew each time."""
    problem = limited_problem(seed, items=9, users=3, density=0.8)
    bids, (group, group_limit) = round_of(problem), group_arrays(problem)
    state, held = bids.state, dict[int, float]()
    fixed = bids.rows.slot_start, bids.rows.capacity, bids.rows.group, bids.rows.group_limit
    changing = state.held, state.slot_count, state.slot_bid, state.slot_edge, state.user_cost, state.group_load
    rng = np.random.default_rng(seed)
    for rise in rises:
        open_edges = [e for e in range(problem.edges) if e not in held and np.isfinite(cost_twin(problem, held, e))]
        if not open_edges:
            break
        e = int(rng.choice(open_edges))
        bid = cost_twin(problem, held, e) + rise
        u, g = problem.user[e], int(group[e]) if group.size else -1
        rivals = [o for o in held if problem.user[o] == u]
        if g >= 0 and sum(group[o] == g for o in held) == group_limit[g]:
            rivals = [o for o in held if group[o] == g]
        elif len(rivals) < problem.capacity[u]:
            rivals = []
        expected = min(rivals, key=lambda o: (held[o], o), default=-1)
        assert place_bid(e, u, bid, *fixed, *changing, state.group_cost) == expected
        held.pop(expected, None)
        held[e] = bid
        assert np.flatnonzero(state.held).tolist() == sorted(held)
        for other in range(problem.edges):
            g = int(group[other]) if group.size else -1
            cost = max(state.user_cost[problem.user[other]], state.group_cost[g] if g >= 0 else 0.0)
            assert cost == cost_twin(problem, held, other)


def cost_twin(problem: Problem, held: dict[int, float], e: int) -> float:
    """The lowest bid of the edge's user once full, or of its group once full, whichever is more."""
    group, group_limit = group_arrays(problem)
    u, g, cost = problem.user[e], int(group[e]) if group.size else -1, 0.0
    sides = [([bid for o, bid in held.items() if problem.user[o] == u], problem.capacity[u])]
    if g >= 0:
        sides.append(([bid for o, bid in held.items() if group[o] == g], group_limit[g]))
    for mine, limit in sides:
        if len(mine) >= limit:
            cost = max(cost, min(mine, default=np.inf))
    return cost


@settings(max_examples=100)
@given(seed=seeds, kind=kinds, share=st.sampled_from([1e-3, 0.1, 1.0]))
def test_a_finished_round_keeps_complementary_slackness(
    limited_problem: Make, seed: int, kind: str, share: float
) -> None:
    problem = limited_problem(seed, kind, items=20, users=15, most=5)
    bids, item, eps = round_of(problem), problem.item_of(np.arange(problem.edges)), share * mean_score(problem)
    bids.run(eps, Clock(), np.inf)
    state, least, held = bids.state, bids.rows.least, bids.state.held == 1
    assert not bids.unfinished and (state.load >= least).all() and (state.load <= problem.demand).all()
    assert (state.user_cost[~bids.full_users] == 0).all() and (state.group_cost[~bids.full_groups] == 0).all()
    group, _ = group_arrays(problem)
    cost = state.user_cost[problem.user]
    if group.size:
        cost = np.maximum(cost, np.where(group >= 0, np.append(state.group_cost, 0.0)[group], 0.0))
    net = problem.score.astype(np.float64) - cost
    slack = eps + 1e-12 * float(np.abs(net[np.isfinite(net)]).max(initial=0.0))
    for i in np.flatnonzero(problem.demand):
        kept, left = net[(item == i) & held], net[(item == i) & ~held]
        if kept.size and left.size:
            assert kept.min() >= left.max() - slack, "no user left is worth more than one that is held"
        if state.load[i] > least[i]:
            assert kept.min() >= -slack, "beyond the floor nobody is held at a loss"
        if state.load[i] < problem.demand[i]:
            assert (left <= slack).all(), "an item that misses users has no offer worth something"


@settings(max_examples=50)
@given(seed=seeds, kind=kinds, budget=st.integers(1, 40))
def test_slices_change_nothing(limited_problem: Make, seed: int, kind: str, budget: int) -> None:
    problem = limited_problem(seed, kind, items=20, users=15, most=5)
    whole, sliced, eps = round_of(problem), round_of(problem), 0.1 * mean_score(problem)
    whole.run(eps, Clock(), np.inf)
    while sliced.unfinished:
        run_limited(sliced.rows, sliced.state, eps, budget)
    assert np.array_equal(whole.state.held, sliced.state.held)
    assert np.array_equal(whole.state.user_cost, sliced.state.user_cost)


@settings(max_examples=60)
@given(seed=seeds, kind=kinds)
def test_the_next_round_starts_below_what_is_full_and_free_elsewhere(
    limited_problem: Make, seed: int, kind: str
) -> None:
    problem = limited_problem(seed, kind, items=20, users=15, most=5)
    bids = round_of(problem)
    bids.run(0.1 * mean_score(problem), Clock(), np.inf)
    assert bids.too_dear(problem) == 0.0
    user_cost, group_cost = bids.costs_below(0.25)
    full, full_groups = bids.full_users, bids.full_groups
    assert (user_cost[~full] == 0).all() and (group_cost[~full_groups] == 0).all()
    assert np.array_equal(user_cost[full], np.maximum(0, bids.state.user_cost[full] - 0.25))
    unwanted = LimitedRound(bids.rows, np.full(problem.users, 1e9), np.zeros(problem.groups))
    free = 1e9 * float((problem.capacity - unwanted.state.slot_count)[problem.capacity > 0].sum())
    assert unwanted.too_dear(problem) == free, "places nobody took cost what they cost"


@settings(max_examples=60)
@given(seed=seeds, kind=kinds)
def test_worthless_edges_are_kept_for_floors_alone(limited_problem: Make, seed: int, kind: str) -> None:
    problem = limited_problem(seed, kind)
    rng = np.random.default_rng(seed)
    held = (rng.random(problem.edges) < 0.5).astype(np.uint8)
    worth = rng.integers(0, 3, problem.edges)
    before, least = held.copy(), rng.integers(0, 4, problem.items).astype(np.int32)
    keep_worth(held, worth, problem.indptr, least)
    load, was = (problem.item_load(np.flatnonzero(h)) for h in (held, before))
    assert (held <= before).all() and (held[worth > 0] == before[worth > 0]).all()
    assert (load >= np.minimum(was, least)).all()
    item = problem.item_of(np.arange(problem.edges))
    spare = (held == 1) & (worth == 0) & (load > least)[item]
    assert not spare.any()


@settings(max_examples=60)
@given(seed=seeds, kind=kinds)
def test_flow_prices_are_the_lowest(limited_problem: Make, seed: int, kind: str) -> None:
    """Against raising one price at a time, item by item, until nothing is too cheap."""
    problem = limited_problem(seed, kind, items=10, users=8)
    worth = integer_worth(problem, 2.0**10)
    held = best_flow(problem, worth, floors_to_meet(problem))
    chosen, (group, group_limit) = np.flatnonzero(held), group_arrays(problem)
    by_user = np.argsort(problem.user[chosen], kind="stable")
    start = np.append(0, np.cumsum(np.bincount(problem.user[chosen], minlength=problem.users)))
    inside = group[chosen] if group.size else group
    full = (np.bincount(inside[inside >= 0], minlength=group_limit.size) >= group_limit).astype(np.uint8)
    price, cost = np.zeros(problem.users, np.int64), np.zeros(problem.groups, np.int64)
    edges = problem.indptr, problem.user, worth, problem.demand, group, full
    read = lowest_prices(*edges, held, start, problem.item_of(chosen)[by_user], price, cost, 10**9)
    assert read < 10**9
    twin_price, twin_cost = prices_twin(problem, worth, held == 1, full)
    assert price.tolist() == twin_price
    for e in np.flatnonzero(group >= 0):  # a cost below the user's price says nothing
        g, least = group[e], twin_price[problem.user[e]]
        assert max(cost[g], least) == max(twin_cost[g], least)


def prices_twin(problem: Problem, worth: np.ndarray, held: np.ndarray, full: np.ndarray) -> tuple[list[int], list[int]]:
    group, _ = group_arrays(problem)
    price, cost, changed = [0] * problem.users, [0] * problem.groups, True
    while changed:
        changed = False
        for i in np.flatnonzero(problem.demand):
            row = range(problem.indptr[i], problem.indptr[i + 1])
            groups = {e: int(group[e]) if group.size and group[e] >= 0 and full[group[e]] else -1 for e in row}
            seen = {e: max(price[problem.user[e]], cost[g] if g >= 0 else 0) for e, g in groups.items()}
            level = [int(worth[e]) - seen[e] for e in row if held[e]]
            level += [0] if len(level) < problem.demand[i] else []
            for e, g in groups.items():
                if not held[e] and worth[e] - min(level) > seen[e]:
                    changed = True
                    if g >= 0:
                        cost[g] = int(worth[e]) - min(level)
                    else:
                        price[problem.user[e]] = int(worth[e]) - min(level)
    return price, cost
