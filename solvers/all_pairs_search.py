"""The state of a candidate search over all pairs between rounds: the candidates, the best answer, the best bound."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from .allocation import Allocation, Status
from .candidate_lists import BY_PRICE, FREE_PLACES, CandidateLists, ExtraLists, found_in, lists_from_padded
from .candidate_source import CandidateSource, MeasuredSource, RowSource
from .certificate import relative_gap, upper_bound
from .column_limits import at_most, without_hopeless
from .errors import ProblemError
from .price_round_options import PriceRounds
from .problem import Problem
from .search_result import Round, SearchResult
from .sequential import FirstComeLists, first_come_all_pairs
from .solve import OPTIMAL_GAP, solve

SLICE = 1024
"""Items asked for in one call of a source that does not say what suits it."""

RECALL_ITEMS = 64
"""Items on which an approximate source's recall is measured."""

EARLY_GAP = 0.05
"""Gap of an early solve, as a share of the gap over all pairs before it."""


class AllPairsSearch:
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
        self.bound, self.last_bound, self.prices = np.inf, np.inf, np.zeros(source.users)
        self.new: CandidateLists | None = None
        self.rounds: list[Round] = []

    def begin(self, order: np.ndarray | None, extra: ExtraLists | None, progress: Callable[[int], None] | None) -> None:
        """The sequential pass: the first lists, beside those of other retrievals, and the first answer."""
        count = self.options.first_candidates
        begin = time.perf_counter()
        first = first_come_all_pairs(self.source, order, self.demand, self.capacity, count, progress=progress)
        self.first_seconds = time.perf_counter() - begin
        self.lists = first.lists if extra is None else _extra_lists(self.source, extra).merged(first.lists)
        self.first, self.item, self.user, self.value = first, first.item, first.user, first.value

    def round(self, number: int, progress: Callable[[int], None] | None) -> Round:
        """Adds the users found last, solves, fills free places, and asks who is better at the new prices."""
        start_prices, dropped, cut = None, 0, 0
        if self.new is not None:
            start_prices = self.last.user_prices
            dropped, cut = self._add_new(start_prices)
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
        self._keep_answer(number)
        asked = time.perf_counter()
        self.new = self._ask(self.last.user_prices, number, progress)
        searched = time.perf_counter() - asked
        self._bound()
        gap, bound = relative_gap(self.value, self.bound), upper_bound(self._problem(self.lists), self.last.user_prices)
        seconds = time.perf_counter() - self.start
        record = Round(number, edges, self.value, bound, self.bound, gap, seconds, searched, dropped, cut)
        self.rounds.append(record)
        return record

    def _add_new(self, prices: np.ndarray) -> tuple[int, int]:
        """Adds the users found last; returns how many candidates go as hopeless, and over the limit of an item."""
        assert self.new is not None
        lists, dropped, most = self.lists.merged(self.new), 0, self.options.max_candidates
        # Only where there are too many: gone for nothing, they may be found again and again.
        if self.source.exact and np.diff(lists.indptr).max(initial=0) > most:
            room = self.last_bound - self.value
            lists, dropped = without_hopeless(lists, prices, self.demand, self.item, self.user, room)
        self.lists, cut = at_most(lists, prices, self.item, self.user, most)
        return dropped, cut

    def _solve_gap(self, number: int) -> float:
        """Prices need not be finer than what the next round changes; the last round's answer must be."""
        coarse = EARLY_GAP * self.rounds[-1].gap_all_pairs if 0 < number < self.options.rounds else 0.0
        return max(self.options.gap / 2, coarse)

    def _problem(self, lists: CandidateLists) -> Problem:
        return lists.problem(self.demand, self.capacity, **self.ids)

    def _keep_answer(self, number: int) -> None:
        """The answer of the last solve, with its free places filled, if it is the best so far."""
        last = self.last
        item, user, value = last.problem.item_of(last.chosen), last.problem.user[last.chosen], last.value
        more = self._fill_free_places(user, number)
        if more is not None:
            self.lists = self.lists.merged(more.lists)
            item, user = np.concatenate([item, more.item]), np.concatenate([user, more.user])
            value += more.value
        if value > self.value:
            self.item, self.user, self.value = item, user, value

    def _fill_free_places(self, held: np.ndarray, number: int) -> FirstComeLists | None:
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
            found=found_in(FREE_PLACES, number),
        )

    def _ask(self, prices: np.ndarray, number: int, progress: Callable[[int], None] | None) -> CandidateLists:
        """Each item's best users at these prices, enough of them for the bound."""
        count = self._asked
        users, scores = [np.empty((0, count), np.int32)], [np.empty((0, count), np.float32)]
        most = getattr(self.source, "asked_at_once", SLICE)
        for begin in range(0, self.source.items, most):
            asked = np.arange(begin, min(begin + most, self.source.items))
            user, score = self.source.best(asked, prices, count)
            users.append(user)
            scores.append(score)
            if progress is not None:
                progress(asked.size)
        return lists_from_padded(np.concatenate(users), np.concatenate(scores), found_in(BY_PRICE, number))

    def _bound(self) -> None:
        """The dual value over the candidates and the users just found.

        Nobody outside is among an item's best at these prices if the source is exact: it is the dual value of all pairs.
        """
        assert self.new is not None
        prices = self.last.user_prices
        self.last_bound = upper_bound(self._problem(self.lists.merged(self.new)), prices)
        if self.last_bound < self.bound:
            self.bound, self.prices = self.last_bound, prices

    def _recall(self) -> float | None:
        """Of an approximate source that can tell, on RECALL_ITEMS items spread over all."""
        if self.source.exact or not isinstance(self.source, MeasuredSource):
            return None
        items = np.unique(np.linspace(0, self.source.items - 1, min(RECALL_ITEMS, self.source.items)).astype(np.int64))
        return self.source.recall(items, self.last.user_prices, self._asked)

    @property
    def _asked(self) -> int:
        """Users asked for by price: enough of them for the bound."""
        return max(self.options.price_candidates, int(self.demand.max(initial=0)))

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
        found, rounds = self.lists.found, tuple(self.rounds)
        return SearchResult(problem, allocation, found, self.first, rounds, self._recall(), self.first_seconds)

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
