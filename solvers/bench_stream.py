"""The online rule over a day of arrivals beside the hindsight optimum: `python -m dualrec.solvers.bench_stream`.

Two days of `SkewedLists` for the same users. Yesterday is solved, today arrives item by item; each line is a share of what
one solve of the whole of today certifies as the most that any allocation is worth. Dual mirror descent starts from
yesterday's prices and, unlike the others, is told how many items today brings.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from .allocation import Allocation
from .mirror_descent import MirrorDescent
from .online import OnlineRule
from .online_limit import best_share
from .online_prices import BidCurves, UserPrices, bid_curves
from .online_refresh import refreshed
from .problem import Problem
from .problem_parts import joined, some_items
from .solve import solve
from .uneven_instances import SkewedLists

RULES = ("first come", "prices", "prices corrected", "bid curves", "bid curves refreshed", "mirror descent")
_SAMPLE = 2_000


def other_days(yesterday: Problem, today: Problem, seed: int) -> dict[str, Problem]:
    """Today as it was forecast and as it was not: what `main` prints a block of lines for."""
    rng = np.random.default_rng([seed, 9])
    load = np.bincount(yesterday.user, minlength=today.users)
    hubs = np.argsort(-load, kind="stable")[: today.users // 100]
    role = np.arange(today.users)
    moved = rng.permutation(today.users)[: today.users // 3]
    role[moved] = rng.permutation(moved)
    return {
        "a day like yesterday": today,
        "half the uploads": some_items(today, np.arange(0, today.items, 2)),
        "twice the uploads": joined(today, yesterday),
        "a third of the users wanted for other items": _renamed(today, role),
        "the 1 % most wanted users gone": _without(today, hubs),
    }


def replayed(rule: OnlineRule, today: Problem, refresh: Callable[[int, float], BidCurves] | None, parts: int) -> float:
    """Value of a day, with new curves before each of its `parts` but the first where there is `refresh`."""
    gone, value = np.arange(today.items) / today.items, 0.0
    bounds = np.linspace(0, today.items, parts + 1).astype(int).tolist() if refresh else [0, today.items]
    for first, last in pairwise(bounds):
        if refresh and first:
            rule.reprice(refresh(first, float(gone[first])))
        part = some_items(today, np.arange(first, last))
        value += float(part.score32()[rule.run(part, gone[first:last])].sum(dtype=np.float64))
    return value


def shares(before: Allocation, today: Problem, parts: int, threads: int) -> dict[str, tuple[float, float]]:
    """Share of the hindsight bound and seconds by rule."""
    capacity, curves = today.capacity, bid_curves(before)
    bound = solve(today, threads=threads).bound
    rules = {
        "first come": OnlineRule(capacity),
        "prices": OnlineRule(capacity, UserPrices(before.user_prices, 0.0)),
        "prices corrected": OnlineRule(capacity, UserPrices(before.user_prices)),
        "bid curves": OnlineRule(capacity, curves),
        "bid curves refreshed": OnlineRule(capacity, curves),
    }
    found = {}
    for name, rule in rules.items():

        def again(first: int, gone: float, rule: OnlineRule = rule) -> BidCurves:
            so_far = some_items(today, np.arange(first))
            return refreshed(rule, before.problem, so_far, gone, threads=threads)

        begin = time.perf_counter()
        value = replayed(rule, today, again if name == "bid curves refreshed" else None, parts)
        found[name] = value / bound, time.perf_counter() - begin
    begin = time.perf_counter()
    online = solve(today, MirrorDescent(top_up=False), start_prices=before.user_prices, threads=threads)
    found["mirror descent"] = online.value / bound, time.perf_counter() - begin
    return found


def decision_seconds(before: Allocation, today: Problem, rounds: int = 2_000) -> float:
    """Median seconds of one `offer_one`, the clock standing still."""
    rule, seconds = OnlineRule(today.capacity, bid_curves(before)), []
    for i in range(min(rounds, today.items)):
        row = slice(today.indptr[i], today.indptr[i + 1])
        user, score = today.user[row], today.score[row]
        begin = time.perf_counter()
        rule.offer_one(user, score, int(today.demand[i]))
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds))


def limit(yesterday: Allocation, today: Allocation, sample: int = _SAMPLE) -> float:
    """The share that a rule can expect which knows every user's bids of both days, but not in which order a day brings
    them: the best rule of `online_limit`, each item's margin taken at the hindsight prices, which is its own in any case."""
    users, bids = [], []
    for solved in (yesterday, today):
        margin = _margins(solved)
        users.append(solved.problem.user)
        each = np.repeat(margin, np.diff(solved.problem.indptr))
        bids.append(np.maximum(solved.problem.score32() - each, 0.0))
    best = best_share(np.concatenate(users), np.concatenate(bids), today.problem.capacity, 2, sample)
    if not today.value:
        return 1.0
    sure = float(margin @ today.problem.item_load(today.chosen)) / today.value
    return sure + (1.0 - sure) * best


def _margins(solved: Allocation) -> np.ndarray:
    """float64[items]: what an item's last place is worth at the prices, 0 where it has places to spare."""
    problem = solved.problem
    net = problem.score32() - solved.user_prices[problem.user]
    least = np.full(problem.items, np.inf)
    np.minimum.at(least, problem.item_of(solved.chosen), net[solved.chosen])
    load = problem.item_load(solved.chosen)
    full = (load >= problem.demand) & (load > 0)
    return np.where(full, np.maximum(least, 0.0), 0.0)


def main(words: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m dualrec.solvers.bench_stream", description=__doc__)
    parser.add_argument("--items", type=int, default=20_000, help="a day")
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--candidates", type=int, default=1_000)
    parser.add_argument("--demand", type=int, default=200)
    parser.add_argument("--capacity", type=int, default=30)
    parser.add_argument("--refreshes", type=int, default=7)
    parser.add_argument("--days", default="all", help="all, or the first so many of the kinds of days")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(words)
    shape = SkewedLists(2 * given.items, given.users, given.candidates, given.demand, given.capacity)
    both = shape.make(given.seed)
    yesterday, today = (some_items(both, np.arange(given.items) + k * given.items) for k in (0, 1))
    del both
    before = solve(yesterday, threads=given.threads)
    shares(solve(some_items(yesterday, np.arange(9))), some_items(today, np.arange(9)), 2, 1)  # compiles
    days = list(other_days(yesterday, today, given.seed).items())
    print(f"| day | {' | '.join(RULES)} |\n|---|{'---|' * len(RULES)}", flush=True)
    for name, day in days if given.days == "all" else days[: int(given.days)]:
        found = shares(before, day, given.refreshes + 1, given.threads)
        print(f"| {name} | {' | '.join(f'{100 * found[rule][0]:.1f} %' for rule in RULES)} |", flush=True)
        seconds = ", ".join(f"{rule} {1e6 * found[rule][1] / day.items:.0f}" for rule in RULES)
        print(f"microseconds an item: {seconds}", flush=True)
    begin = time.perf_counter()
    OnlineRule(today.capacity, bid_curves(before), threads=1)
    print(f"prices of a user: {1e6 * (time.perf_counter() - begin) / today.users:.0f} us on one core, once a night")
    print(f"one offer: {1e6 * decision_seconds(before, today):.0f} us (median)")
    print(f"the best rule that does not know the order: {100 * limit(before, solve(today)):.1f} %")


def _renamed(problem: Problem, role: np.ndarray) -> Problem:
    """The users of rows u are rows role[u]."""
    user = role[problem.user].astype(np.int32)
    order = np.argsort(problem.item_of(np.arange(problem.edges)) * np.int64(problem.users) + user, kind="stable")
    return Problem(problem.indptr, user[order], problem.score32()[order], problem.demand, problem.capacity)


def _without(problem: Problem, users: np.ndarray) -> Problem:
    """Without the edges of some users."""
    kept = ~np.isin(problem.user, users)
    before = np.concatenate([[0], np.cumsum(kept)])
    indptr = before[problem.indptr]
    return Problem(indptr, problem.user[kept], problem.score32()[kept], problem.demand, problem.capacity)


if __name__ == "__main__":
    main()
