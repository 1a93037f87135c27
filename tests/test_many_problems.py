"""10,000 random problems: every solver against an exact optimum found by code that shares nothing with the package.

300 of them run with the fast tests. A failure names the shape: `make(Shape(...))` in random_problems.py is the problem.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dualrec.solvers.allocation import Allocation
from dualrec.solvers.certificate import certify, upper_bound
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import SOLVERS, solve

EXACT = 1e-9
"""Relative: solvers that agree to this agree. Sums of scores are rounded, and bounds with them."""

PDLP_EVERY = 10
"""One problem in so many is also solved by PDLP."""

MEETS_FLOORS = ("auction", "min-cost-flow", "lp", "greedy", "local", "pdlp")


class Judge:
    """Holds solvers' answers against the optimum; counts the problems."""

    def __init__(self, checker: ModuleType, maker: ModuleType) -> None:
        self.checker, self.maker, self.count = checker, maker, 0

    def judge(self, shape: Any, exact: bool = True) -> None:
        """Every solver on one problem; `exact`: the optimum in whole numbers, else by HiGHS."""
        self.count += 1
        try:
            One(self.checker, *self.maker.make(shape), exact, shape.seed).all_solvers()
        except BaseException as error:
            error.add_note(f"the problem is make({shape!r})")
            raise


class One:
    """One problem as plain lists and as a Problem, and its optimum."""

    def __init__(self, checker: ModuleType, plain: dict[str, Any], problem: Problem, exact: bool, seed: int) -> None:
        self.checker, self.problem, self.seed = checker, problem, seed
        self.case = checker.Case(**plain)
        self.find = checker.optimum if exact else checker.linear_optimum
        self.best = self.optimum_with(self.case)
        self.shortfall = checker.shortfall(self.case, self.best)
        self.value = checker.value(self.case, self.best)
        self.slack = EXACT * max(self.value, self.highest_given_up)

    @property
    def highest_given_up(self) -> float:
        """The highest score that floors may keep out: exact solvers are exact to a share of the scores, not of the rest."""
        case = self.case
        return max((case.score[pair] for pair in case.open_pairs), default=0.0) if case.floor else 0.0

    def optimum_with(self, case: Any) -> list[tuple[int, int]]:
        best = self.find(case)
        assert not self.checker.broken(case, best)
        return best  # type: ignore[no-any-return]

    def all_solvers(self) -> None:
        gap = 10.0 ** -np.random.default_rng(self.seed).uniform(2, 9)
        asked = dict.fromkeys(SOLVERS, gap) | {"min-cost-flow": EXACT, "lp": EXACT}
        if self.seed % PDLP_EVERY:
            del asked["pdlp"]
        if self.problem.floor is not None or self.problem.group is not None:
            del asked["device-auction"]  # refuses them
        answers = {name: solve(self.problem, name, gap=gap) for name, gap in asked.items()}
        for name, answer in answers.items():
            try:
                self.is_sound(answer, name)
            except BaseException as error:
                error.add_note(f"by {name}, gap {asked[name]}: {answer}")
                raise
        for name in ("min-cost-flow", "lp"):
            assert answers[name].value == pytest.approx(self.value, rel=0, abs=self.slack), name
            assert answers[name].bound - answers[name].value <= self.slack, name
        assert answers["auction"].gap <= gap
        assert answers["auction"].value >= self.value * (1 - gap) - self.slack
        assert answers["local"].value >= answers["greedy"].value
        self.any_prices_bound()

    def is_sound(self, answer: Allocation, name: str) -> None:
        """No limit broken, the least shortfall, and a bound that holds."""
        pairs = pairs_of(answer)
        assert self.checker.broken(self.case, pairs) == []
        assert answer.value == pytest.approx(self.checker.value(self.case, pairs), rel=1e-12, abs=0)
        assert answer.shortfall.sum() == self.checker.shortfall(self.case, pairs) >= self.shortfall
        if name in MEETS_FLOORS:
            assert answer.shortfall.sum() == self.shortfall
            assert answer.value <= self.value + self.slack
        most = self.most_with(np.minimum(self.case.floor or [0], answer.item_load))
        assert answer.bound >= most - self.slack
        again = certify(self.problem, answer.chosen, answer.user_prices, answer.group_prices)
        assert (again.value, again.bound, again.gap) == (answer.value, answer.bound, answer.gap)
        if not self.case.floor:
            assert all(step["bound"] >= most - self.slack for step in answer.history)

    def most_with(self, least: np.ndarray) -> float:
        """The most that is possible where items have `least` users; which can be, as somebody found such matches."""
        load = self.checker.loads(self.case, self.best)
        if not self.case.floor or (np.minimum(self.case.floor, load) == least).all():
            return self.value
        case = replace(self.case, floor=least.tolist())
        best = self.optimum_with(case)
        assert self.checker.shortfall(case, best) == 0
        return float(self.checker.value(case, best))

    def any_prices_bound(self) -> None:
        """Random prices and none: the optimum lies below, with as much of the floors as it meets, or less."""
        rng, problem = np.random.default_rng([self.seed, 5]), self.problem
        high = float(problem.score.max(initial=0.0))
        met = np.minimum(self.case.floor or 0, self.checker.loads(self.case, self.best))
        for size in (0.1, 1.0, 3.0):
            prices = [
                size * high * rng.random(count) * rng.integers(0, 2, count) for count in (problem.users, problem.groups)
            ]
            least = rng.integers(0, met + 1)
            assert upper_bound(problem, prices[0], group_prices=prices[1], least=least) >= self.value - self.slack
        assert upper_bound(problem, least=met) >= self.value - self.slack


def pairs_of(answer: Allocation) -> list[tuple[int, int]]:
    """The matches as (item, user)."""
    columns = answer.pairs()
    return list(zip(columns["item"].tolist(), columns["user"].tolist(), strict=True))


@pytest.fixture(scope="module")
def judge(
    independent_checker: ModuleType, random_problems: ModuleType, request: pytest.FixtureRequest
) -> Iterator[Callable[..., None]]:
    """`judge(shape)` tries every solver on one problem; at the end the number of problems is printed."""
    one = Judge(independent_checker, random_problems)
    yield one.judge
    plugins = request.config.pluginmanager
    reporter, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")
    if reporter is not None and capture is not None:
        with capture.global_and_fixture_disabled():
            reporter.write_line(f"\n{one.count:,} random problems, every solver on each")


def seeded(start: int, count: int, each: int) -> list[range]:
    return [range(first, first + each) for first in range(start, start + count, each)]


def by_first(seeds: range) -> str:
    return f"seeds {seeds[0]} to {seeds[-1]}"


@pytest.mark.parametrize(
    "seeds",
    [*seeded(0, 195, 195), *(pytest.param(r, marks=pytest.mark.slow) for r in seeded(1_000, 6_700, 670))],
    ids=by_first,
)
def test_seeded(judge: Callable[..., None], random_problems: ModuleType, seeds: range) -> None:
    for seed in seeds:
        judge(random_problems.random_shape(seed))


@pytest.mark.parametrize("seeds", [range(5), pytest.param(range(5, 305), marks=pytest.mark.slow)], ids=by_first)
def test_mid_size(judge: Callable[..., None], random_problems: ModuleType, seeds: range) -> None:
    """Up to 200 items and 300 users."""
    for seed in seeds:
        judge(random_problems.random_shape(seed, 200, 300), exact=False)


def given_shapes(count: int) -> Callable[..., Any]:
    def decorate(test: Callable[..., None]) -> Any:
        return settings(max_examples=count, suppress_health_check=[HealthCheck.too_slow])(given(data=st.data())(test))

    return decorate


@given_shapes(100)
def test_found_by_hypothesis(judge: Callable[..., None], random_problems: ModuleType, data: st.DataObject) -> None:
    judge(data.draw(random_problems.shapes()))


@pytest.mark.slow
@given_shapes(3_000)
def test_many_found_by_hypothesis(judge: Callable[..., None], random_problems: ModuleType, data: st.DataObject) -> None:
    judge(data.draw(random_problems.shapes()))
