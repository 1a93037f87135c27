"""A day in order of arrival: the replay over all pairs beside the rule's own over a problem of all pairs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dualrec.alloc.arrivals import replay_arrivals
from dualrec.solvers.online import OnlineRule
from dualrec.solvers.online_prices import UserPrices
from dualrec.solvers.problem import Problem


@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 9))
def test_the_replay_is_the_rules_own_over_all_pairs(seed: int, items: int, users: int) -> None:
    rng = np.random.default_rng(seed)
    scores = (rng.random((items, users)) * (rng.random((items, users)) < 0.8)).astype(np.float32)
    demand, capacity = rng.integers(0, 4, items), rng.integers(0, 5, users)
    gone = np.sort(rng.random(items))
    rules = {"first come": None, "prices": UserPrices(rng.random(users) / 2, 1.5)}
    found = replay_arrivals(
        lambda rows: scores[rows], demand, gone, {name: OnlineRule(capacity, rule) for name, rule in rules.items()}
    )
    indptr = np.arange(items + 1) * users
    problem = Problem.from_csr(indptr, np.tile(np.arange(users), items), scores.ravel(), demand, capacity)
    for name, rule in rules.items():
        chosen = OnlineRule(capacity, rule).run(problem, gone)
        np.testing.assert_allclose(found[name], scores.ravel()[chosen].sum(dtype=np.float64))
