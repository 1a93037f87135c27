"""The judge of the other solvers is judged: it names what is broken, and its optimum is that of trying everything."""

import itertools
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def test_names_what_is_broken(independent_checker: ModuleType) -> None:
    score = {(item, user): 1.0 for item in range(3) for user in range(3)}
    case = independent_checker.Case(score, [2, 1, 1], [2, 1, 3], [2, 1, 0], [0, 0, -1], {0: 1}, frozenset({(2, 2)}))

    def broken(*pairs: tuple[int, int]) -> str:
        return "; ".join(independent_checker.broken(case, pairs))

    assert broken() == broken((0, 0), (0, 1), (2, 0)) == ""
    assert broken((2, 2), (0, 3)) == "(2, 2) may not be matched; (0, 3) may not be matched"
    assert broken((0, 2), (0, 2)).startswith("(0, 2) are matched 2 times")
    assert broken((0, 0), (0, 1), (0, 2)) == "item 0 has 3, over 2"
    assert broken((0, 1), (2, 1)) == "user 1 has 2, over 1"
    assert broken((0, 2), (1, 2)) == "user and creator (2, 0) have 2, over 1"
    assert independent_checker.shortfall(case, [(0, 0), (2, 0)]) == 2


def test_imports_nothing_of_the_package(independent_checker: ModuleType) -> None:
    modules = {getattr(thing, "__module__", "") or "" for thing in vars(independent_checker).values()}
    assert not [name for name in modules if name.startswith("dualrec")]


def best_by_trying_all(checker: ModuleType, case: Any) -> tuple[int, float]:
    pairs = case.pairs
    tried = [list(itertools.compress(pairs, taken)) for taken in itertools.product([False, True], repeat=len(pairs))]
    allowed = [chosen for chosen in tried if not checker.broken(case, chosen)]
    return min((checker.shortfall(case, chosen), -checker.value(case, chosen)) for chosen in allowed)


@settings(max_examples=60)
@given(data=st.data())
def test_optimum_is_that_of_trying_everything(
    independent_checker: ModuleType, random_problems: ModuleType, data: st.DataObject
) -> None:
    shape = data.draw(random_problems.shapes(3, 3))
    case = independent_checker.Case(**random_problems.make(shape)[0])
    best = best_by_trying_all(independent_checker, case)
    for optimum in (independent_checker.optimum, independent_checker.linear_optimum):
        found = optimum(case)
        assert not independent_checker.broken(case, found)
        assert independent_checker.shortfall(case, found) == best[0]
        assert independent_checker.value(case, found) == pytest.approx(-best[1], rel=1e-9, abs=0)
