"""Starting from an earlier allocation, the history, Ctrl-C, and what the driver keeps of a solver's steps."""

import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dualrec.solvers.allocation import Allocation, Status
from dualrec.solvers.bench_restart import changed
from dualrec.solvers.certificate import check, upper_bound
from dualrec.solvers.errors import ProblemError
from dualrec.solvers.instances import SCORE_KINDS, Ragged, Skewed, TightFlat
from dualrec.solvers.min_cost_flow import MinCostFlow
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve
from dualrec.solvers.start import rows_among, start_from, within_limits
from dualrec.solvers.start_kernels import carry_edges, find_edges, fit, keep_within
from dualrec.solvers.step import Goal, Step

Make = Callable[..., Problem]

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)


def relabelled(problem: Problem, seed: int, share: float = 1.0) -> Problem:
    """The same problem with ids in another order, strings, and each edge kept with probability `share`."""
    rng = np.random.default_rng(seed)
    edges = np.flatnonzero(rng.random(problem.edges) < share)
    order = rng.permutation(edges)
    items, users = rng.permutation(problem.items), rng.permutation(problem.users)
    named = {"item_ids": np.char.add("i", items.astype(str)), "user_ids": np.char.add("u", users.astype(str))}
    item, user = problem.item_of(order), problem.user[order]
    columns = np.char.add("i", item.astype(str)), np.char.add("u", user.astype(str)), problem.score[order]
    return Problem.from_edges(*columns, problem.demand[items], problem.capacity[users], **named)


def pairs_of(allocation: Allocation) -> set[tuple[Any, Any]]:
    pairs = allocation.pairs()
    return set(zip(pairs["item"].tolist(), pairs["user"].tolist(), strict=True))


class TestRestart:
    @pytest.mark.parametrize("family", [Skewed(300, 900, 60, 12, 4), TightFlat(60, 450, 400, 200, 27)])
    @pytest.mark.parametrize("name", ["auction", "min-cost-flow"])
    def test_from_its_own_answer_takes_one_step(self, family: Any, name: str) -> None:
        problem = family.make(1)
        first = solve(problem, name)
        again = solve(problem, name, start=first)
        assert [step["solver"] for step in again.history] == ["start"]
        assert np.array_equal(again.chosen, first.chosen) and again.bound == first.bound
        assert again.status is first.status

    @pytest.mark.parametrize("family", [Skewed(1_000, 5_000, 200, 40, 10), TightFlat(400, 3_000, 500, 200, 27)])
    @pytest.mark.parametrize("change", ["items", "anew"])
    def test_after_one_score_in_a_hundred_it_is_repaired(self, family: Any, change: str) -> None:
        """Not solved again from zero: better scores displace worse ones, and open places are filled."""
        problem = family.make(1)
        again = solve(changed(problem, change, 2), gap=2e-3, start=solve(problem, gap=2e-3))
        assert [step.get("warm", False) for step in again.history] == [False, True]
        assert again.history[0]["gap"] > 2e-3 >= again.gap

    @settings(max_examples=50)
    @given(seed=seeds, kind=kinds)
    def test_with_floors_and_creators_too(self, limited_problem: Make, seed: int, kind: str) -> None:
        problem = limited_problem(seed, kind)
        first = solve(problem, "min-cost-flow", gap=1e-6)
        rebuilt = replace(problem, score=problem.score.copy())
        for other in (problem, rebuilt):
            again = solve(other, "min-cost-flow", gap=1e-6, start=first)
            assert again.gap == pytest.approx(first.gap, abs=1e-12)
            assert len(again.history) == 1 or first.gap > 1e-6 or first.matches == 0

    @settings(max_examples=50)
    @given(seed=seeds, kind=kinds, share=st.sampled_from([0.5, 0.9, 1.0]))
    def test_matches_and_prices_follow_their_ids(self, seed: int, kind: str, share: float) -> None:
        numbered = Ragged(items=12, users=10, kind=kind).make(seed)
        old, new = relabelled(numbered, seed + 1), relabelled(numbered, seed + 2, share)
        first = solve(old)
        start = start_from(new, first)
        check(new, start.chosen)
        item = new.item_of(np.arange(new.edges))
        edge_of = {(new.item_name(i), new.user_name(u)): e for e, (i, u) in enumerate(zip(item, new.user, strict=True))}
        carried = sorted(edge_of[pair] for pair in pairs_of(first) if pair in edge_of)
        assert start.chosen.tolist() == carried
        price_of = dict(zip(old.user_ids.tolist(), first.user_prices.tolist(), strict=True))  # type: ignore[union-attr]
        for row in np.flatnonzero(new.capacity > 0):
            assert start.prices[row] == price_of[new.user_name(row)]
        if share == 1.0:
            assert upper_bound(new, start.prices) == pytest.approx(first.bound, rel=1e-12, abs=1e-300)

    @settings(max_examples=50)
    @given(seed=seeds, kind=kinds)
    def test_lower_limits_keep_the_highest_scores(self, seed: int, kind: str) -> None:
        problem = Ragged(items=12, users=10, most=5, kind=kind).make(seed)
        rng = np.random.default_rng(seed)
        smaller = replace(
            problem, demand=problem.demand // 2, capacity=rng.integers(0, problem.capacity + 1).astype(np.int32)
        )
        first = solve(problem)
        start = start_from(smaller, first)
        assert start.chosen.tolist() == greedy_twin(smaller, first.chosen)

    def test_a_solver_is_told_what_the_start_holds(self) -> None:
        problem = Skewed(60, 200, 30, 6, 3).make(0)
        first, solver = solve(problem, "greedy"), Recorder()
        answer = solve(problem, solver, gap=0, start=first)
        (goal,) = solver.seen
        assert goal.start_chosen is not None and goal.start_prices is not None
        assert np.array_equal(goal.start_chosen, first.chosen)
        assert np.array_equal(goal.start_prices, first.user_prices)
        assert [step["solver"] for step in answer.history] == ["start", "recorder"]

    def test_prices_given_stand_in_for_those_of_the_start(self) -> None:
        problem = Skewed(60, 200, 30, 6, 3).make(0)
        prices, solver = np.full(problem.users, 0.5), Recorder()
        solve(problem, solver, gap=0, start=solve(problem, "greedy"), start_prices=prices)
        assert np.array_equal(solver.seen[0].start_prices, prices)

    def test_a_start_without_common_ids_is_no_step(self) -> None:
        old = Problem.from_edges(["a"], ["x"], [1.0], 1, 1)
        new = Problem.from_edges([7, 8], [1, 2], [1.0, 2.0], 1, 1)
        answer = solve(new, start=solve(old))
        assert answer.value == 3.0
        assert all(step["solver"] == "auction" for step in answer.history)

    def test_a_changed_problem_is_certified_anew(self) -> None:
        problem = TightFlat(60, 450, 400, 200, 27).make(3)
        rng = np.random.default_rng(0)
        score = problem.score * np.where(rng.random(problem.edges) < 0.01, 3, 1).astype(np.float32)
        changed = Problem.from_csr(problem.indptr, problem.user, score, problem.demand, problem.capacity)
        answer, cold = solve(changed, start=solve(problem)), solve(changed)
        assert answer.gap <= 1e-3 and answer.bound >= cold.value
        assert upper_bound(changed, answer.user_prices) == answer.bound

    def test_at_the_time_limit_the_start_is_the_answer(self) -> None:
        problem = TightFlat(60, 450, 400, 200, 27).make(3)
        first = solve(problem, "first-come")
        answer = solve(problem, gap=0, time_limit=0, start=first)
        assert answer.status is Status.TIME_LIMIT and np.array_equal(answer.chosen, first.chosen)

    def test_anything_but_an_allocation_is_refused(self) -> None:
        problem = Ragged().make(0)
        with pytest.raises(ProblemError, match="start is dict, expected an Allocation"):
            solve(problem, start=solve(problem).pairs())  # type: ignore[arg-type]

    @settings(max_examples=40)
    @given(seed=seeds)
    def test_prices_of_creator_limits_follow_user_and_creator(self, limited_problem: Make, seed: int) -> None:
        problem = limited_problem(seed, floors=False, items=12, users=6)
        first = solve(problem, "min-cost-flow")
        item = np.random.default_rng(seed).permutation(problem.items)
        ids = np.empty(problem.items, np.int64)
        ids[item] = np.arange(problem.items)
        rows = problem.item_of(np.arange(problem.edges))
        assert problem.creator is not None and problem.creator_ids is not None
        turned = Problem.from_edges(
            rows,
            problem.user,
            problem.score,
            problem.demand[item],
            problem.capacity,
            item_ids=item,
            user_ids=np.arange(problem.users),
            creator=problem.creator_ids[problem.creator][item],
            creator_cap=int(problem.group_limit[0]) if problem.groups else 9,  # type: ignore[index]
        )
        start = start_from(turned, first)
        assert turned.groups == problem.groups
        bound = upper_bound(turned, start.prices, group_prices=start.group_prices)
        assert bound == pytest.approx(first.bound, rel=1e-12, abs=1e-300)


class TestHistory:
    def test_the_answer_keeps_what_on_step_was_given(self) -> None:
        told: list[dict[str, Any]] = []
        answer = solve(TightFlat(60, 450, 400, 200, 27).make(0), gap=1e-6, on_step=told.append)
        assert list(answer.history) == told and len(told) > 1
        for number, step in enumerate(told, start=1):
            assert {"step", "solver", "value", "bound", "gap", "seconds", "matches"} <= set(step)
            assert step["step"] == number and step["solver"] == "auction"
        assert (told[-1]["value"], told[-1]["matches"]) == (answer.value, answer.matches)
        assert [step["seconds"] for step in told] == sorted(step["seconds"] for step in told)

    def test_value_never_falls_and_bound_never_rises(self) -> None:
        history = solve(TightFlat(60, 450, 400, 200, 27).make(0), "pdlp", gap=0).history
        assert len(history) > 1
        values, bounds = [step["value"] for step in history], [step["bound"] for step in history]
        assert values == sorted(values) and bounds == sorted(bounds, reverse=True)


class TestInterrupt:
    def test_the_first_press_asks_for_the_best_so_far(self) -> None:
        answer = solve(TightFlat(60, 450, 400, 200, 27).make(0), gap=1e-9, on_step=lambda _: press())
        assert answer.status is Status.INTERRUPTED and len(answer.history) == 1
        check(answer.problem, answer.chosen)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_a_press_before_the_first_answer_waits_for_it(self) -> None:
        answer = solve(Skewed(60, 200, 30, 6, 3).make(0), Recorder(before=press), gap=0)
        assert answer.status is Status.INTERRUPTED and answer.matches > 0

    def test_the_second_press_breaks_off(self) -> None:
        def twice() -> None:
            press()
            press()

        with pytest.raises(KeyboardInterrupt):
            solve(Ragged().make(0), Recorder(before=twice), gap=0)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_a_solver_that_ends_without_an_answer(self) -> None:
        with pytest.raises(KeyboardInterrupt):
            solve(Ragged().make(0), Recorder(before=press, answers=0), gap=0)

    def test_a_program_s_own_handler_stays(self) -> None:
        pressed = []
        before = signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
        try:
            answer = solve(Ragged(items=20, users=20).make(0), Recorder(before=press), gap=0)
        finally:
            signal.signal(signal.SIGINT, before)
        assert pressed == [1] and answer.status is not Status.INTERRUPTED

    def test_solves_in_other_threads(self) -> None:
        answers: list[Allocation] = []
        thread = threading.Thread(target=lambda: answers.append(solve(Ragged().make(0))))
        thread.start()
        thread.join()
        assert answers[0].gap <= 1e-3


class TestFloorsInTheDriver:
    """Floor places count before the value, and the bound is for what the best allocation fills of them."""

    @settings(max_examples=60)
    @given(seed=seeds, kind=kinds)
    def test_any_order_of_steps_ends_with_the_same(self, limited_problem: Make, seed: int, kind: str) -> None:
        problem = limited_problem(seed, kind)
        steps = list(MinCostFlow().steps(problem, Goal(0, _clock())))
        plain = replace(problem, floor=None)
        steps += [Step(step.chosen, np.zeros(problem.users)) for step in MinCostFlow().steps(plain, Goal(0, _clock()))]
        answers = [solve(problem, Replay(order), gap=0) for order in (tuple(steps), tuple(steps[::-1]))]
        for answer in answers:
            least = np.minimum(problem.floor, answer.item_load)  # type: ignore[arg-type]
            prices = {"group_prices": answer.group_prices, "least": least}
            assert upper_bound(problem, answer.user_prices, **prices) == answer.bound  # type: ignore[arg-type]
            assert answer.value <= answer.bound * (1 + 1e-12)
            if len(answer.history) == len(steps):
                filled = [np.minimum(problem.floor, problem.item_load(step.chosen)).sum() for step in steps]  # type: ignore[arg-type]
                assert least.sum() == max(filled)
        if all(len(answer.history) == len(steps) for answer in answers):
            assert answers[0].value == pytest.approx(answers[1].value, rel=1e-9)

    @settings(max_examples=60)
    @given(seed=seeds, kind=kinds)
    def test_a_start_short_of_floors_is_no_end(self, limited_problem: Make, seed: int, kind: str) -> None:
        problem = limited_problem(seed, kind)
        assume(problem.floor is not None)
        first = solve(replace(problem, floor=None), "min-cost-flow")
        answer, exact = solve(problem, "min-cost-flow", gap=0.5, start=first), solve(problem, "min-cost-flow", gap=0)
        short = [np.maximum(0, problem.floor - one.item_load).sum() for one in (answer, exact)]  # type: ignore[operator]
        assert short[0] == short[1]


class TestKernels:
    @settings(max_examples=100)
    @given(seed=seeds)
    def test_find_edges_equals_looking_up(self, seed: int) -> None:
        problem = Ragged(items=9, users=15).make(seed)
        rng = np.random.default_rng(seed)
        item, user = rng.integers(-1, problem.items, 60), rng.integers(-1, problem.users, 60)
        if seed % 2:
            order = np.lexsort((user, item))
            item, user = item[order], user[order]
        rows = problem.item_of(np.arange(problem.edges))
        edge_of = {pair: e for e, pair in enumerate(zip(rows.tolist(), problem.user.tolist(), strict=True))}
        out = np.empty(60, np.int64)
        find_edges(problem.indptr, problem.user, item, user, out)
        assert out.tolist() == [edge_of.get(pair, -1) for pair in zip(item.tolist(), user.tolist(), strict=True)]

    @settings(max_examples=100)
    @given(seed=seeds)
    def test_carry_edges_equals_looking_up(self, seed: int) -> None:
        old, new = Ragged(items=9, users=15).make(seed), Ragged(items=8, users=14).make(seed + 1)
        rng = np.random.default_rng(seed)
        items, users = rng.integers(-1, new.items, old.items), rng.integers(-1, new.users, old.users)
        chosen = np.flatnonzero(rng.random(old.edges) < 0.7)
        rows = new.item_of(np.arange(new.edges))
        edge_of = {pair: e for e, pair in enumerate(zip(rows.tolist(), new.user.tolist(), strict=True))}
        pairs = zip(items[old.item_of(chosen)].tolist(), users[old.user[chosen]].tolist(), strict=True)
        out, cut = np.empty(chosen.size, np.int64), rng.integers(0, chosen.size + 1)
        for ends in ((0, cut), (cut, chosen.size)):
            carry_edges((old.indptr, old.user), (new.indptr, new.user), chosen, items, users, *ends, out)
        assert out.tolist() == [edge_of.get(pair, -1) for pair in pairs]

    @settings(max_examples=100)
    @given(seed=seeds, kind=kinds)
    def test_fit_equals_checking(self, seed: int, kind: str) -> None:
        problem = Ragged(items=7, users=20, kind=kind).make(seed)
        rng = np.random.default_rng(seed)
        edge = np.flatnonzero(rng.random(problem.edges) < rng.choice([0.1, 0.4]))
        if edge.size and seed % 3 == 0:
            edge = np.append(edge, rng.integers(0, edge[-1] + 1))
        rows, limits = (problem.indptr, problem.user, problem.stored_score()), (problem.demand, problem.capacity)
        loads = (
            np.bincount(problem.item_of(edge), minlength=problem.items),
            np.bincount(problem.user[edge], minlength=20),
        )
        expected = (np.diff(edge) > 0).all() and (problem.score[edge] > 0).all()
        expected &= (loads[0] <= problem.demand).all() and (loads[1] <= problem.capacity).all()
        assert fit(edge, rows, limits, np.zeros(problem.users, np.int32)) == expected

    @settings(max_examples=60)
    @given(seed=seeds)
    def test_keep_within_equals_counting(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        item, user, group = rng.integers(0, 4, 30), rng.integers(0, 5, 30), rng.integers(-1, 3, 30)
        left = rng.integers(0, 6, 4), rng.integers(0, 6, 5), rng.integers(0, 4, 3)
        order, kept = rng.permutation(30), np.zeros(30, np.bool_)
        twin_left = [side.tolist() for side in left]
        keep_within(order, item, user, group, *left, kept)
        for n in order:
            places = [(twin_left[0], item[n]), (twin_left[1], user[n])]
            places += [(twin_left[2], group[n])] if group[n] >= 0 else []
            fits = all(side[row] > 0 for side, row in places)
            assert kept[n] == fits
            for side, row in places:
                side[row] -= fits

    def test_rows_of_ids(self) -> None:
        words, others = np.array(["b", "a", "c"]), np.array(["c", "d", "b"])
        assert rows_among(words, 3, others, 3).tolist() == [2, -1, 0]
        assert rows_among(None, 2, None, 3).tolist() == [0, 1, -1]
        assert rows_among(None, 2, np.array([5, 1]), 2).tolist() == [-1, 1]
        assert rows_among(words, 3, None, 2).tolist() == [-1, -1]
        assert rows_among(np.zeros(0, np.int64), 0, None, 2).tolist() == [-1, -1]

    def test_edges_worth_nothing_stay_only_for_floors(self) -> None:
        plain = Problem.from_csr([0, 2], [0, 1], [0.0, 1.0], 2, [1, 1])
        assert within_limits(plain, np.array([1, 0])).tolist() == [1]
        assert within_limits(replace(plain, floor=np.array([2], np.int32)), np.array([1, 0])).tolist() == [0, 1]


@dataclass(frozen=True)
class Replay:
    """A solver that says what it was told to say."""

    said: tuple[Step, ...]
    name: ClassVar[str] = "replay"
    promises: ClassVar[bool] = False

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        yield from self.said


@dataclass(frozen=True)
class Recorder:
    """A solver that remembers its goal, calls `before` and gives the first edge of each item, as far as it fits."""

    before: Callable[[], None] | None = None
    answers: int = 1
    seen: list[Goal] = None  # type: ignore[assignment]
    name: ClassVar[str] = "recorder"
    promises: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", [])

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        self.seen.append(goal)
        if self.before is not None:
            self.before()
        firsts = problem.indptr[:-1][np.diff(problem.indptr) > 0]
        for _ in range(self.answers):
            yield Step(within_limits(problem, firsts), np.zeros(problem.users))


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def _clock() -> Any:
    from dualrec.solvers.step import Clock

    return Clock()


def greedy_twin(problem: Problem, edges: np.ndarray) -> list[int]:
    """The edges by falling score, then number, while both sides have places."""
    item_left, user_left = problem.demand.tolist(), problem.capacity.tolist()
    kept = []
    for e in sorted(edges.tolist(), key=lambda e: (-problem.score[e], e)):
        i, u = int(problem.item_of(np.array([e]))[0]), int(problem.user[e])
        if problem.score[e] > 0 and item_left[i] > 0 and user_left[u] > 0:
            item_left[i] -= 1
            user_left[u] -= 1
            kept.append(e)
    return sorted(kept)
