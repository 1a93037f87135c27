"""FairRec: users take items in turn, and every item is kept a least number of users."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .auction_round import rows_by_user
from .cheap_prices import lowest_held, lowest_held_groups
from .fair_rec_kernels import rank_rows, take_in_turn
from .places_left import group_arrays, places_left
from .problem import Problem
from .reachable import reachable
from .step import Goal, Step

_STAGE = 41
"""With the seed, what the order of the users is drawn from."""


@dataclass(frozen=True)
class FairRec:
    """A peer from a paper: users in random order take, one each a round, their best item that still has a copy.

    Phase 1 gives each item l = floor(guarantee x places / items) copies, at most its demand; places are those that users
    can fill (capacity, at most candidates), items those that somebody can get. Phase 2 goes on in the same way with the
    rest of the demand. An item ends below its copies only if every candidate has it, is full, or is at a creator's limit.

    What holds here of the paper's guarantees: at least items - capacity items get l users, where every pair is a candidate,
    users have one capacity and no demand is below l. After phase 1, with one capacity, a user's items are worth as much to
    him as those that another has and he lacks, but for one; with l = 1 users share nothing, and that is freedom from envy
    but for one item (EF1). With more copies EF1 itself can fail after phase 1, see tests/test_fair_rec.py.

    What differs from the paper: candidates are sparse and scores of 0 are not taken; capacities differ between users;
    demand limits an item in both phases, where the paper's phase 2 knows no limit, so users take turns there too instead
    of one after the other; (user, creator) limits are kept; ties go to the item uploaded first. Floors are ignored.

    guarantee  share of the equal share of all places that each item is kept, from 0 to 1 (the paper's alpha)
    seed       of the order in which users take

    O(edges log edges) time: a sort of each user's edges and a read for each phase; 21 bytes an edge of scratch (4 more
    with groups). Takes no start prices; its bound is loose.

    Source: Patro, Biswas, Ganguly, Gummadi, Chakraborty, "FairRec: Two-Sided Fairness for Personalized Recommendations in
    Two-Sided Platforms", WWW 2020, Algorithms 1 and 2.
    """

    guarantee: float = 1.0
    seed: int = 0

    name: ClassVar[str] = "fair-rec"
    promises: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (0 <= self.guarantee <= 1 and self.seed >= 0):
            raise ValueError(f"{self}: expected a guarantee from 0 to 1 and seed >= 0")

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        """One answer, offered with two sets of prices: the driver keeps the lower bound."""
        rows, edge = rows_by_user(problem)
        order, length = np.empty(problem.edges, np.int32), np.empty(problem.users, np.int64)
        rank_rows(rows.indptr, rows.score.view(np.uint32), order, length)
        group, held = group_arrays(problem)[0], np.zeros(problem.edges, np.uint8)
        ranked = rows.indptr, order, length, rows.owner, group[edge] if group.size else group
        arrival = np.random.default_rng([self.seed, _STAGE]).permutation(problem.users)
        left, kept = places_left(problem, held), self.copies(problem)
        rest = left.item - kept
        take_in_turn(arrival, *ranked, kept, left.user, left.group, held)
        take_in_turn(arrival, *ranked, kept + rest, left.user, left.group, held)
        chosen = np.sort(edge[np.flatnonzero(held)])
        prices = lowest_held(problem, chosen)
        yield Step(chosen, prices, group_prices=lowest_held_groups(problem, chosen, prices))
        yield Step(chosen, np.zeros(problem.users))

    def copies(self, problem: Problem) -> np.ndarray:
        """Users that phase 1 keeps for each item, int64[items]."""
        found = reachable(problem)
        places, items = int(np.minimum(problem.capacity, found.user).sum()), np.count_nonzero(found.item)
        share = int(self.guarantee * places / items) if items else 0
        return np.minimum(problem.demand.astype(np.int64), share)
