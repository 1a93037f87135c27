"""The candidate search over all pairs: first come's own lists, then rounds of "who is best at today's prices?"."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .allocation import Allocation, Status
from .candidate_lists import BY_PRICE, CandidateLists, ExtraLists, lists_from_padded
from .candidate_source import CandidateSource, RowSource
from .certificate import relative_gap, upper_bound
from .errors import ProblemError
from .problem import Problem
from .sequential import FirstComeLists, first_come_all_pairs
from .solve import OPTIMAL_GAP, solve
from .step import Solver

SLICE = 1024
"""Items asked for in one call of the source."""


@dataclass(frozen=True)
class PriceRounds:
    """Options of `search_candidates`.

    A shortlist of each item's best users, solved to optimality, loses to first come: the lists crowd onto the same
    users. So the sequential pass makes the first lists, and each round adds to every item its best users at the
    prices of the last answer (column generation). The answer is never worth less than first come; with an exact source
    the bound covers all pairs. Time: one pass over the pairs for first come and one a round, and a solve a round.

    first_candidates  users kept for each item in the sequential pass (more where an item wants more)
    price_candidates  users added to each item in each round, at most
    rounds            most rounds
    gap               stop once (bound over all pairs - value) / bound is at most this
    solver            name or options, as for `solve`
    max_candidates    most candidates of an item; beyond, those of least score - price go, matches never
    """

    first_candidates: int = 300
    price_candidates: int = 300
    rounds: int = 4
    gap: float = 1e-3
    solver: str | Solver = "auction"
    max_candidates: int = 3000

    def __post_init__(self) -> None:
        counts = (self.first_candidates, self.price_candidates, self.max_candidates)
        if min(counts) < 1 or self.rounds < 0 or not 0 <= self.gap <= 1:
            raise ProblemError(f"{self}: expected counts of at least 1, rounds of at least 0 and a gap from 0 to 1")


@dataclass(frozen=True)
class Round:
    """One round: the candidates solved, what they gave, and the bound that its prices prove.

    round 0 is the solve of the first lists. `value` and `bound_all_pairs` are the best so far; `bound_candidates`
    speaks only for this round's candidates. `seconds` since the search began.
    """

    round: int
    edges: int
    value: float
    bound_candidates: float
    bound_all_pairs: float
    gap_all_pairs: float
    seconds: float


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What `search_candidates` found.

    problem          the last round's candidates
    allocation       the best answer; its bound and user_prices speak for the pairs that `bound_covers` names: "all
                     pairs" with an exact source, else "pairs searched"
    found            int8[edges]: the list in which each candidate stood first (codes of `candidate_lists`)
    first_come       the sequential pass: its lists, matches and value
    rounds           one record a round
    """

    problem: Problem
    allocation: Allocation
    found: np.ndarray
    first_come: FirstComeLists
    rounds: tuple[Round, ...]

    @property
    def bound_all_pairs(self) -> float:
        """The smallest bound found; see `covers`."""
        return self.allocation.bound

    @property
    def covers(self) -> str:
        """Which pairs the bound speaks for."""
        return self.allocation.bound_covers


def search_candidates(
    source: CandidateSource,
    demand: Any,
    capacity: np.ndarray,
    options: PriceRounds | None = None,
    *,
    extra: ExtraLists | None = None,
    order: np.ndarray | None = None,
    item_ids: Any | None = None,
    user_ids: Any | None = None,
    on_round: Callable[[Round], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> SearchResult:
    """The best allocation over all pairs that the rounds of `PriceRounds` reach, with its candidates and bound.

    demand              number or int[items]; capacity int[users]
    extra               candidates of other retrievals, which join the first lists and count as found first
    order               item rows in upload order, for the sequential pass; None: row order
    item_ids, user_ids  outside ids of the rows, handed on to the problem
    on_round            called after each round with its record
    progress            called with items done; there are at most items * (options.rounds + 2) of them

    Ctrl-C during a solve ends the search with the best answer so far and the status `interrupted`. Deterministic.
    Raises ProblemError for wrong sizes or scores.
    """
    options = options or PriceRounds()
    wanted = np.broadcast_to(np.asarray(demand), (source.items,))
    first = first_come_all_pairs(source, order, wanted, capacity, options.first_candidates, progress=progress)
    lists = first.lists if extra is None else _extra_lists(source, extra).merged(first.lists)
    ids = {"item_ids": item_ids, "user_ids": user_ids}
    search = _Search(source, wanted, np.asarray(capacity), options, ids, first, lists, progress)
    for number in range(options.rounds + 1):
        record = search.round(number)
        if on_round is not None:
            on_round(record)
        if search.done or number == options.rounds:
            break
        search.add_found()
    return search.result()


def _extra_lists(source: CandidateSource, extra: ExtraLists) -> CandidateLists:
    if extra.indptr.size - 1 != source.items:
        raise ProblemError(f"extra candidates are for {extra.indptr.size - 1} items, expected {source.items}")
    if extra.user.size and not 0 <= extra.user.min() <= extra.user.max() < source.users:
        raise ProblemError(
            f"extra candidates name users {extra.user.min()} to {extra.user.max()}, expected 0 to {source.users - 1}"
        )
    if extra.score is not None:
        return extra.lists(extra.score)
    if not isinstance(source, RowSource):
        raise ProblemError("extra candidates have no scores, and this source cannot compute them: give score too")
    return extra.lists(source.scores_of(extra.indptr, extra.user))


@dataclass(eq=False)
class _Search:
    """The state between rounds: candidates, the best matches as pairs, the best bound and its prices."""

    source: CandidateSource
    demand: np.ndarray
    capacity: np.ndarray
    options: PriceRounds
    ids: dict[str, Any]
    first: FirstComeLists
    lists: CandidateLists
    progress: Callable[[int], None] | None
    start: float = field(default_factory=time.perf_counter)
    bound: float = np.inf
    bound_prices: np.ndarray = field(init=False)
    rounds: list[Round] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.item, self.user, self.value = self.first.item, self.first.user, self.first.value
        self.bound_prices = np.zeros(self.source.users)
        self.last: Allocation | None = None

    def round(self, number: int) -> Round:
        """Solves the candidates, asks for better ones at the new prices and bounds the optimum over all pairs."""
        problem = self.lists.problem(self.demand, self.capacity, **self.ids)
        start_prices = None if self.last is None else self.last.user_prices
        self.last = solve(problem, self.options.solver, gap=self.options.gap / 2, start_prices=start_prices)
        if self.last.value > self.value:
            chosen = self.last.chosen
            self.item, self.user, self.value = problem.item_of(chosen), problem.user[chosen], self.last.value
        self._search_at(self.last.user_prices)
        gap = relative_gap(self.value, self.bound)
        seconds = time.perf_counter() - self.start
        self.rounds.append(
            Round(number, self.lists.edges, self.value, self.last.bound, self.bound, gap, seconds),
        )
        return self.rounds[-1]

    def _search_at(self, prices: np.ndarray) -> None:
        """The union of the candidates and each item's best users at these prices; its dual value is the bound."""
        count = max(self.options.price_candidates, int(self.demand.max(initial=0)))
        self.union = self.lists.merged(self._ask(prices, count))
        bound = upper_bound(self.union.problem(self.demand, self.capacity), prices)
        if bound < self.bound:
            self.bound, self.bound_prices = bound, prices

    def _ask(self, prices: np.ndarray, count: int) -> CandidateLists:
        users, scores = [np.empty((0, count), np.int32)], [np.empty((0, count), np.float32)]
        for begin in range(0, self.source.items, SLICE):
            asked = np.arange(begin, min(begin + SLICE, self.source.items))
            user, score = self.source.best(asked, prices, count)
            users.append(user)
            scores.append(score)
            if self.progress is not None:
                self.progress(asked.size)
        return lists_from_padded(np.concatenate(users), np.concatenate(scores), BY_PRICE)

    @property
    def done(self) -> bool:
        """Whether the gap over all pairs is reached, the last solve was interrupted, or nothing new was found."""
        assert self.last is not None
        reached = self.rounds[-1].gap_all_pairs <= self.options.gap
        return reached or self.last.status is Status.INTERRUPTED or self.union.edges == self.lists.edges

    def add_found(self) -> None:
        """The users just found become candidates; items with too many lose the worst that are no match."""
        assert self.last is not None
        self.lists = _cut(self.union, self.last.user_prices, self.item, self.user, self.options.max_candidates)

    def result(self) -> SearchResult:
        """The best matches as edges of the last candidates."""
        assert self.last is not None
        chosen = np.sort(self.lists.edges_of(self.item, self.user))
        allocation = replace(
            self.last,
            chosen=chosen,
            user_prices=self.bound_prices,
            bound=self.bound,
            status=self._status(),
            seconds=time.perf_counter() - self.start,
            bound_covers="all pairs" if self.source.exact else "pairs searched",
        )
        return SearchResult(self.last.problem, allocation, self.lists.found, self.first, tuple(self.rounds))

    def _status(self) -> Status:
        gap = self.rounds[-1].gap_all_pairs
        if gap <= OPTIMAL_GAP:
            return Status.OPTIMAL
        if gap <= self.options.gap:
            return Status.WITHIN_GAP
        interrupted = self.last is not None and self.last.status is Status.INTERRUPTED
        return Status.INTERRUPTED if interrupted else Status.STEP_LIMIT


def _cut(lists: CandidateLists, prices: np.ndarray, item: np.ndarray, user: np.ndarray, most: int) -> CandidateLists:
    """At most `most` candidates an item: matches (item, user) stay, then those of largest score - price."""
    if np.diff(lists.indptr).max(initial=0) <= most:
        return lists
    net = lists.score - prices[lists.user]
    net[lists.edges_of(item, user)] = np.inf
    owner = lists.item
    order = np.lexsort((lists.user, -net, owner))
    keep = np.zeros(lists.edges, np.bool_)
    keep[order] = np.arange(lists.edges) - lists.indptr[owner[order]] < most
    return lists.kept(keep | np.isinf(net))
