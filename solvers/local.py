"""Local search: polishes the answer of any other solver."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from .best import worth
from .cheap_prices import lowest_held, lowest_held_groups
from .greedy import Greedy
from .local_kernels import Graph, Guess, Places, look_around, polish_rows
from .problem import Problem
from .solve import make_solver
from .step import Clock, Goal, Solver, Step

SLICE = 2_000_000
"""Edges read between two looks at the clock."""


@dataclass(frozen=True)
class Local:
    """Another solver's answer, then exchanges of single edges while they gain.

    An item takes an edge where it and the user have a place left, or gives up its lowest edge for it, or the user gives
    up one of its own, or both; whoever lost a place by that takes its best edge that is free. An exchange stands only
    if it gains and breaks no floor that was met, so the answer is never worse than the inner solver's. One step a pass
    over the items, until a pass finds nothing or gains less than `least_gain` of the value.

    Promises no gap; the bound is the inner solver's, or that of the lowest score each full user holds. After greedy it
    left 2e-6 to 9e-5 of the optimum where scores spread (greedy: 1e-3 to 4e-3), 3e-3 on three levels (greedy: 1.5e-2).
    0.5 to 1.5 us an edge in all after greedy, 3 after first come; 1 byte an edge and 16 a place of the users. Starts from
    the better of the inner answer and the start given.

    inner       any solver's name or options
    max_passes  most passes
    least_gain  share of the value that a pass must gain for another to follow
    """

    inner: str | Solver = field(default_factory=Greedy)
    max_passes: int = 50
    least_gain: float = 0.0

    name: ClassVar[str] = "local"
    promises: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (self.max_passes >= 0 and self.least_gain >= 0):
            raise ValueError(f"{self}: expected max_passes >= 0 and least_gain >= 0")

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        """The inner solver's answers, then one for each pass."""
        best = goal.start_chosen
        for step in make_solver(self.inner).steps(problem, goal):
            yield step
            if best is None or worth(problem, step.chosen) > worth(problem, best):
                best = step.chosen
        if best is None or goal.clock.stop:
            return
        search = Search(problem, best)
        least = self.least_gain * worth(problem, best)[1]
        for number in range(1, self.max_passes + 1):
            moves, gain = search.run(goal.clock)
            if moves:
                prices = lowest_held(problem, search.chosen)
                groups = lowest_held_groups(problem, search.chosen, prices)
                yield Step(search.chosen, prices, {"pass": number, "moves": moves}, groups)
            if moves == 0 or gain < least or goal.clock.stop:
                return


class Search:
    """The arrays that the kernels work on: `chosen`, and what passes make of it.

    fresh    uint8[edges], 1 where taking the edge counts as a change; None: changes are not counted
    changes  how many more of these may be taken than `chosen` has
    """

    def __init__(self, problem: Problem, chosen: np.ndarray, fresh: np.ndarray | None = None, changes: int = 0) -> None:
        none, floor = np.zeros(0, np.int32), problem.floor
        self.problem = problem
        graph = Graph(
            indptr=problem.indptr,
            user=problem.user,
            score=problem.score32(),
            floor=np.zeros(problem.items, np.int32) if floor is None else floor,
            group=none if problem.group is None else problem.group,
            fresh=np.zeros(0, np.uint8) if fresh is None else fresh,
        )
        self.graph = Graph(*(array.view() for array in graph))
        for array in self.graph:
            array.setflags(write=False)  # one type of arrays, one compilation
        self.places = places_held(problem, chosen, changes)
        self.guess = Guess(
            item_refill=np.zeros(problem.items),
            user_refill=np.zeros(problem.users, np.int64),
            user_refill_item=np.zeros(problem.users, np.int64),
            user_cost=np.zeros(problem.users),
        )

    def run(self, clock: Clock) -> tuple[int, float]:
        """One pass, or less where the clock says stop: moves and what they gained."""
        look_around(self.graph, self.places, self.guess)
        moves, gain, first = 0, 0.0, 0
        while first < self.problem.items and not clock.stop:
            goes_to = self.problem.indptr[first] + SLICE
            last = max(first + 1, int(np.searchsorted(self.problem.indptr, goes_to, side="right")) - 1)
            more, more_gain = polish_rows(self.graph, self.places, self.guess, first, min(last, self.problem.items))
            moves, gain, first = moves + more, gain + more_gain, last
        return moves, gain

    @property
    def chosen(self) -> np.ndarray:
        """Edges held, int64[matches], ascending."""
        return np.flatnonzero(self.places.held)


def places_held(problem: Problem, chosen: np.ndarray, changes: int = 0) -> Places:
    """Who holds what where `chosen` (int64[matches]) is chosen, and `changes` are left."""
    item, user = problem.item_of(chosen), problem.user[chosen]
    load, user_load = problem.item_load(chosen), np.bincount(user, minlength=problem.users)
    group_left = np.zeros(0, np.int64)
    if problem.group is not None and problem.group_limit is not None:
        group = problem.group[chosen]
        group_left = problem.group_limit - np.bincount(group[group >= 0], minlength=problem.groups)
    degree = np.bincount(problem.user, minlength=problem.users)
    slot_start = np.concatenate([[0], np.cumsum(np.minimum(problem.capacity, degree))])
    by_user = np.argsort(user, kind="stable")
    place = slot_start[user[by_user]] + np.arange(chosen.size) - (np.cumsum(user_load) - user_load)[user[by_user]]
    slot_edge, slot_item = np.zeros(slot_start[-1], np.int64), np.zeros(slot_start[-1], np.int64)
    slot_edge[place], slot_item[place] = chosen[by_user], item[by_user]
    held = np.zeros(problem.edges, np.uint8)
    held[chosen] = 1
    left = problem.demand - load, problem.capacity - user_load, group_left
    return Places(held, load, *left, slot_start, slot_edge, slot_item, user_load, np.array([changes]))
