"""Who gets which item: the paper's store, one assignment over the batch, and peers, at the same demands and capacities."""

from dataclasses import dataclass, replace

import numpy as np

from ...solvers.allocation import Allocation
from ...solvers.first_come import FirstCome
from ...solvers.price_rounds import PriceRounds, search_candidates
from ...solvers.problem import Problem
from ...solvers.sequential import first_come_all_pairs
from ...solvers.solve import solve
from .matching import TOWER, Candidates, Pairs, Reactions, candidates
from .options import MatchOptions
from .policies import Policy

_BLOCK = 32
_LIST = 100
_ROUNDS = 3
_FLOOR_SHARE = 0.5
"""Of an item's demand that floors ask for."""

_PEERS = {"fair_rec": "fair-rec", "max_min": "max-min", "mirror_descent": "mirror-descent"}
"""Assigner -> solver, with the options that its authors give no reason to change."""


@dataclass(frozen=True, eq=False)
class Request:
    """What a night is asked: ``items`` int64 rows in upload order, ``demand`` int64 of each, ``capacity`` int64[users];
    ``tower`` and ``pairs``, the scores that retrieve and that decide; ``seen``, for the other retrievals."""

    items: np.ndarray
    demand: np.ndarray
    capacity: np.ndarray
    tower: Pairs
    pairs: Pairs
    seen: Reactions


@dataclass(frozen=True, eq=False)
class Matched:
    """Columns of the matches: ``item`` a place in the request, ``user``, ``score``, ``source``; the certified ``gap`` and
    the ``allocation`` behind them where one was solved."""

    item: np.ndarray
    user: np.ndarray
    score: np.ndarray
    source: np.ndarray
    gap: float = float("nan")
    allocation: Allocation | None = None


def assign(match: MatchOptions, policy: Policy, request: Request) -> Matched:
    """The matches that a policy makes of a request."""
    if not len(request.items) or policy.assigner == "none":
        empty = np.zeros(0, np.int64)
        return Matched(empty, empty, np.zeros(0, np.float32), np.zeros(0, np.int8))
    if policy.assigner == "all":
        return _everybody(match, policy, request)
    if policy.activity != "probability":
        return _one_by_one(match, policy, request)
    if policy.assigner == "first_come":
        first = first_come_all_pairs(request.pairs.source(), None, request.demand, request.capacity, 1)
        score, source = first.lists.score[first.chosen], np.full(len(first.chosen), TOWER, np.int8)
        return Matched(first.item.astype(np.int64), first.user.astype(np.int64), score, source)
    return _at_once(match, policy, request)


def _at_once(match: MatchOptions, policy: Policy, request: Request) -> Matched:
    """One assignment over candidates of all pairs at prices; peers get the same candidates."""
    rounds = PriceRounds(_LIST, _LIST, 0 if policy.assigner == "shortlist" else _ROUNDS, match.gap)
    found = search_candidates(request.pairs.source(), request.demand, request.capacity, rounds)
    allocation = found.allocation
    if policy.assigner == "floors":
        floor = np.floor(_FLOOR_SHARE * request.demand).astype(np.int64)
        allocation = solve(_with_floor(allocation.problem, floor), gap=match.gap)
    elif policy.assigner in _PEERS:
        allocation = solve(allocation.problem, _PEERS[policy.assigner])
    problem, chosen = allocation.problem, allocation.chosen
    columns = problem.item_of(chosen), problem.user[chosen].astype(np.int64), problem.score32()[chosen]
    source = np.full(len(chosen), TOWER, np.int8)
    return Matched(*columns, source, float(allocation.gap), allocation)


def _with_floor(problem: Problem, floor: np.ndarray) -> Problem:
    return Problem.from_csr(problem.indptr, problem.user, problem.score, problem.demand, problem.capacity, floor=floor)


def _one_by_one(match: MatchOptions, policy: Policy, request: Request) -> Matched:
    """The paper's store: items in upload order, a block at a time, retrieve among the users still available, and take
    their best."""
    left, parts = request.capacity.copy(), []
    for begin in range(0, len(request.items), _BLOCK):
        rows = np.arange(begin, min(begin + _BLOCK, len(request.items)))
        found = _candidates(match, policy, request, rows, left > 0)
        problem = _problem(found, len(rows), request.demand[rows], left)
        edge = np.sort(solve(problem, FirstCome()).chosen)
        taken = Matched(found.item[edge] + begin, found.user[edge], found.score[edge], found.source[edge])
        left -= np.bincount(taken.user, minlength=len(left))
        parts.append(taken)
    item, user, score, source = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("item", "user", "score", "source")
    )
    return Matched(item, user, score, source)


def _everybody(match: MatchOptions, policy: Policy, request: Request) -> Matched:
    """Each item's best users, however many items they have."""
    rows = np.arange(len(request.items))
    found = _candidates(match, policy, request, rows, np.ones(len(request.capacity), bool))
    problem = _problem(found, len(rows), request.demand, np.full(len(request.capacity), len(rows)))
    edge = np.sort(solve(problem, FirstCome()).chosen)
    return Matched(found.item[edge], found.user[edge], found.score[edge], found.source[edge])


def _candidates(
    match: MatchOptions, policy: Policy, request: Request, rows: np.ndarray, available: np.ndarray
) -> Candidates:
    """Of some of a request's items, among available users."""

    def part(pairs: Pairs) -> Pairs:
        factor = np.where(available, pairs.factor, np.float32(0))
        return replace(pairs, item=pairs.item[rows], factor=factor, author=pairs.author[rows])

    scores = part(request.tower), part(request.pairs)
    found = candidates(match, policy.retrievals, scores, request.items[rows], request.seen)
    kept = found.score > 0
    return Candidates(*(values[kept] for values in vars(found).values()))


def _problem(found: Candidates, items: int, demand: np.ndarray, capacity: np.ndarray) -> Problem:
    indptr = np.searchsorted(found.item, np.arange(items + 1))
    return Problem.from_csr(indptr, found.user.astype(np.int32), found.score, demand, capacity)
