"""A small platform for tests, warmed up once."""

from functools import cache

from dualrec.alloc.simulation.designs import Design
from dualrec.alloc.simulation.options import (
    MatchOptions,
    PeopleOptions,
    PlatformOptions,
    RecommenderOptions,
)
from dualrec.alloc.simulation.platform import State, begin, run_day
from dualrec.alloc.simulation.policies import policy

OPTIONS = PlatformOptions(
    people=PeopleOptions(users=400, creators=80, appetite=40.0, longest=60, patience=20.0),
    recommender=RecommenderOptions(index_least=4, match_share=0.02),
    match=MatchOptions(demand=5, top_up=3, capacity=2, candidates=40, more_candidates=15),
    warm_days=5,
    days=4,
    reach=(10, 50),
)
BASE = Design("whole", policy("base"))


@cache
def _warmed(seed: int) -> State:
    state = begin(OPTIONS, seed)
    for _ in range(OPTIONS.warm_days):
        run_day(OPTIONS, state, BASE)
    return state


def warmed(seed: int = 1) -> State:
    """A state of its own after the days under base."""
    return _warmed(seed).copy()
