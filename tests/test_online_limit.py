"""The best rule that does not know the order of a day, against simulated days."""

import numpy as np
import pytest

from dualrec.solvers.online_limit import best_rule, best_share, poisson_below


@pytest.mark.parametrize(("mean", "places"), [(3.0, 1), (12.0, 4), (60.0, 6), (5.0, 20)])
def test_hindsight_and_the_best_rule_on_simulated_days(mean: float, places: int) -> None:
    rng = np.random.default_rng(5)
    bids = np.sort(rng.lognormal(sigma=0.8, size=400))[::-1].copy()
    best, hindsight = best_rule(bids, mean, places)
    days = [rng.choice(bids, rng.poisson(mean)) for _ in range(4_000)]
    assert hindsight == pytest.approx(np.mean([np.sort(day)[::-1][:places].sum() for day in days]), rel=0.03)
    # No fixed threshold does better than the best rule; where there are places for all, it takes all.
    fixed = [
        np.mean([day[day > t][:places].sum() for day in days]) for t in np.quantile(bids, np.linspace(0, 0.99, 40))
    ]
    assert max(fixed) * 0.97 < best <= hindsight * 1.0001
    if places > 3 * mean:
        assert best == pytest.approx(hindsight, rel=0.01)


def test_chances_of_few() -> None:
    assert poisson_below(1, 2.0) == pytest.approx(np.exp(-2))
    assert poisson_below(3, 2.0) == pytest.approx(np.exp(-2) * (1 + 2 + 2))
    assert poisson_below(4, 0.0) == 1


def test_shares_of_users_add_up() -> None:
    rng = np.random.default_rng(1)
    user, bid = rng.integers(0, 5, 600), rng.lognormal(size=600)
    capacity = np.array([3, 3, 3, 3, 0])
    pairs = [best_rule(np.sort(bid[user == u])[::-1].copy(), (user == u).sum() / 2, 3) for u in range(4)]
    expected = sum(best for best, _ in pairs) / sum(hindsight for _, hindsight in pairs)
    assert best_share(user, bid, capacity, days=2, sample=10) == pytest.approx(expected)
    assert best_share(user[:0], bid[:0], capacity, days=2, sample=10) == 1
