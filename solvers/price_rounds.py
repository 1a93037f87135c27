"""The candidate search over all pairs: first come's own lists, then rounds of "who is best at today's prices?"."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .allocation import Allocation, Status
from .candidate_lists import BY_PRICE, FREE_PLACES, CandidateLists, ExtraLists, lists_from_padded
from .candidate_source import CandidateSource, RowSource
from .certificate import relative_gap, upper_bound
from .errors import ProblemError
from .problem import Problem
from .search_result import Round, SearchResult
from .sequential import FirstComeLists, first_come_all_pairs
from .solve import OPTIMAL_GAP, solve
from .step import Solver

SLICE = 1024
"""Items asked for in one call of the source."""

EARLY_GAP = 0.05
"""Gap of an early solve, as a share of the gap over all pairs before it."""


@dataclass(frozen=True)
class PriceRounds:
    """Options of `search_candidates`.

    A shortlist of each item's best users, solved to optimality, loses to first come: the lists crowd onto the same
    users. So the sequential pass makes the first lists, and each round adds to every item its best users at the
    prices of the last answer (column generation). The answer is never worth less than first come; with an exact source
    the bound covers all pairs. Time: one pass over the pairs for first come and one a round, and a solve a round.

    first_candidates  users kept for each item in the sequential pass (more where an item wants more)
    price_candidates  users added to each item in each round, at most (as many as the largest demand where that is more)
    rounds            most rounds after the first solve
    gap               stop once (bound over all pairs - value) / bound is at most this
    solver            name or options, as for `solve`
    max_candidates    most candidates of an item; beyond, those of least score - price go, matches never
    time_limit        seconds after which no round is begun and the solve in hand stops; the best answer so far counts
    """

    first_candidates: int = 300
    price_candidates: int = 300
    rounds: int = 4
    gap: float = 1e-3
    solver: str | Solver = "auction"
    max_candidates: int = 3000
    time_limit: float | None = None

    def __post_init__(self) -> None:
        counts = (self.first_candidates, self.price_candidates, self.max_candidates)
        if min(counts) < 1 or self.rounds < 0 or not 0 <= self.gap <= 1:
            raise ProblemError(f"{self}: expected counts of at least 1, rounds of at least 0 and a gap from 0 to 1")
        if self.time_limit is not None and not self.time_limit > 0:
            raise ProblemError(f"time_limit is {self.time_limit}, expected seconds > 0 or None")


def search_candidates(
    source: CandidateSource,
    demand: Any,
    capacity: np.ndarray,
    options: PriceRounds | None = None,
    *,
    threads: int = 0,
    extra: ExtraLists | None = None,
    order: np.ndarray | None = None,
    item_ids: Any | None = None,
    user_ids: Any | None = None,
    on_round: Callable[[Round], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> SearchResult:
    """The best allocation over all pairs that the rounds of `PriceRounds` reach, with its candidates and bound.

    demand              number or int[items]; capacity int[users]
    threads             most threads of the solves, 0: all cores; the source has its own
    extra               candidates of other retrievals, which join the first lists and count as found first
    order               every item row in upload order, for the sequential pass; None: row order
    item_ids, user_ids  outside ids of the rows, handed on to the problem
    on_round            called after each round with its record
    progress            called with the items searched since the last call: items * (options.rounds + 2) at most

    Ctrl-C during a solve ends the search with the best answer so far and the status `interrupted`. Deterministic.
    Raises ProblemError for wrong sizes or scores.
    """
    options = options or PriceRounds()
    wanted = np.broadcast_to(np.asarray(demand), (source.items,))
    if order is not None and len(order) != source.items:
        raise ProblemError(f"order has {len(order)} entries, expected {source.items}: every item once")
    search = _Search(
        source, wanted, np.asarray(capacity), options, {"item_ids": item_ids, "user_ids": user_ids}, threads
    )
    search.begin(order, extra, progress)
    for number in range(options.rounds + 1):
        record = search.round(number, progress)
        if on_round is not None:
            on_round(record)
        if search.done:
            break
    return search.result()


class _Search:
    """The state between rounds: candidates, the best matches as pairs, the best bound and its prices."""

    first: FirstComeLists
    lists: CandidateLists
    item: np.ndarray
    user: np.ndarray
    value: float
    last: Allocation

    def __init__(
        self,
        source: CandidateSource,
        demand: np.ndarray,
        capacity: np.ndarray,
        options: PriceRounds,
        ids: dict[str, Any],
        threads: int,
    ) -> None:
        self.source, self.demand, self.capacity, self.options, self.ids = source, demand, capacity, options, ids
        self.threads = threads
        self.start = time.perf_counter()
        self.bound, self.prices = np.inf, np.zeros(source.users)
        self.new: CandidateLists | None = None
        self.rounds: list[Round] = []

    def begin(self, order: np.ndarray | None, extra: ExtraLists | None, progress: Callable[[int], None] | None) -> None:
        """The sequential pass: the first lists, beside those of other retrievals, and the first answer."""
        count = self.options.first_candidates
        first = first_come_all_pairs(self.source, order, self.demand, self.capacity, count, progress=progress)
        self.lists = first.lists if extra is None else _extra_lists(self.source, extra).merged(first.lists)
        self.first, self.item, self.user, self.value = first, first.item, first.user, first.value

    def round(self, number: int, progress: Callable[[int], None] | None) -> Round:
        """Adds the users found last, solves, fills free places, and asks who is better at the new prices."""
        start_prices = None
        if self.new is not None:
            start_prices = self.last.user_prices
            merged = self.lists.merged(self.new)
            self.lists = _cut(merged, start_prices, self.item, self.user, self.options.max_candidates)
        problem, edges = self._problem(self.lists), self.lists.edges
        gap, time_left = self._solve_gap(number), self._time_left
        self.last = solve(
            problem,
            self.options.solver,
            gap=gap,
            time_limit=time_left,
            start_prices=start_prices,
            threads=self.threads,
        )
        self._keep_answer()
        self.new = self._ask(self.last.user_prices, progress)
        self._bound()
        gap, seconds = relative_gap(self.value, self.bound), time.perf_counter() - self.start
        bound = upper_bound(self._problem(self.lists), self.last.user_prices)
        self.rounds.append(Round(number, edges, self.value, bound, self.bound, gap, seconds))
        return self.rounds[-1]

    def _solve_gap(self, number: int) -> float:
        """Prices need not be finer than what the next round changes; the last round's answer must be."""
        coarse = EARLY_GAP * self.rounds[-1].gap_all_pairs if 0 < number < self.options.rounds else 0.0
        return max(self.options.gap / 2, coarse)

    def _problem(self, lists: CandidateLists) -> Problem:
        return lists.problem(self.demand, self.capacity, **self.ids)

    def _keep_answer(self) -> None:
        """The answer of the last solve, with its free places filled, if it is the best so far."""
        last = self.last
        item, user, value = last.problem.item_of(last.chosen), last.problem.user[last.chosen], last.value
        more = self._fill_free_places(user)
        if more is not None:
            self.lists = self.lists.merged(more.lists)
            item, user = np.concatenate([item, more.item]), np.concatenate([user, more.user])
            value += more.value
        if value > self.value:
            self.item, self.user, self.value = item, user, value

    def _fill_free_places(self, held: np.ndarray) -> FirstComeLists | None:
        """Items short of users look, in row order, at all users with places left.

        Prices alone would send all of them to the same free users. `held` are the users of the last answer, by item.
        """
        missing, left = self.demand - self.last.item_load, self.capacity - self.last.user_load
        if not (missing.any() and left.any()):
            return None
        return first_come_all_pairs(
            self.source,
            np.flatnonzero(missing),
            missing,
            left,
            self.options.price_candidates,
            held=(np.concatenate([np.zeros(1, np.int64), np.cumsum(self.last.item_load)]), held),
            code=FREE_PLACES,
        )

    def _ask(self, prices: np.ndarray, progress: Callable[[int], None] | None) -> CandidateLists:
        """Each item's best users at these prices, enough of them for the bound."""
        count = max(self.options.price_candidates, int(self.demand.max(initial=0)))
        users, scores = [np.empty((0, count), np.int32)], [np.empty((0, count), np.float32)]
        for begin in range(0, self.source.items, SLICE):
            asked = np.arange(begin, min(begin + SLICE, self.source.items))
            user, score = self.source.best(asked, prices, count)
            users.append(user)
            scores.append(score)
            if progress is not None:
                progress(asked.size)
        return lists_from_padded(np.concatenate(users), np.concatenate(scores), BY_PRICE)

    def _bound(self) -> None:
        """The dual value over the candidates and the users just found.

        Nobody outside is among an item's best at these prices if the source is exact: it is the dual value of all pairs.
        """
        assert self.new is not None
        prices = self.last.user_prices
        bound = upper_bound(self._problem(self.lists.merged(self.new)), prices)
        if bound < self.bound:
            self.bound, self.prices = bound, prices

    @property
    def _time_left(self) -> float | None:
        """Seconds left of the limit; a solve gets at least a moment to give an answer."""
        if self.options.time_limit is None:
            return None
        return max(self.options.time_limit - (time.perf_counter() - self.start), 1e-3)

    @property
    def done(self) -> bool:
        """Whether the gap over all pairs is reached, the time is over or the last solve was interrupted."""
        over = self._time_left is not None and self._time_left <= 1e-3
        return over or self.rounds[-1].gap_all_pairs <= self.options.gap or self.last.status is Status.INTERRUPTED

    def result(self) -> SearchResult:
        """The best matches as edges of the last candidates."""
        problem = self._problem(self.lists)
        allocation = replace(
            self.last,
            problem=problem,
            chosen=np.sort(self.lists.edges_of(self.item, self.user)),
            user_prices=self.prices,
            bound=self.bound,
            status=self._status(),
            seconds=time.perf_counter() - self.start,
            bound_covers="all pairs" if self.source.exact else "pairs searched",
        )
        return SearchResult(problem, allocation, self.lists.found, self.first, tuple(self.rounds))

    def _status(self) -> Status:
        gap = self.rounds[-1].gap_all_pairs
        if gap <= OPTIMAL_GAP:
            return Status.OPTIMAL
        if gap <= self.options.gap:
            return Status.WITHIN_GAP
        if self.last.status is Status.INTERRUPTED:
            return Status.INTERRUPTED
        return Status.TIME_LIMIT if self._time_left is not None and self._time_left <= 1e-3 else Status.STEP_LIMIT


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
