"""Runs of the block auction as the driver sees them: pauses, ends of time, threads, starts, and the last resort."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualrec.solvers.allocation import Status
from dualrec.solvers.auction import Auction
from dualrec.solvers.block_run import BlockRun
from dualrec.solvers.certificate import certify, check
from dualrec.solvers.instances import SCORE_KINDS, Ragged, Skewed, TiedGroups, TightFlat
from dualrec.solvers.problem import Problem
from dualrec.solvers.scaled_auction import scaled_steps
from dualrec.solvers.solve import solve
from dualrec.solvers.step import Clock, Goal, Step
from dualrec.solvers.workers import Workers

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(SCORE_KINDS)

FAMILIES = {
    "tight": TightFlat(items=60, users=450, candidates=400),
    "skewed": Skewed(items=300, users=900, candidates=150, demand=40, capacity=10),
    "tied groups": TiedGroups(items=300, groups=12, users=500, candidates=200, demand=30, capacity=12, levels=20),
}
families = pytest.mark.parametrize("family", FAMILIES)


class LooksAtTheClock(Clock):
    """Says stop when it has been looked at so often."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    @property
    def stop(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def fills_what_it_can(problem: Problem, chosen: np.ndarray) -> None:
    check(problem, chosen)
    load = np.bincount(problem.user[chosen], minlength=problem.users)
    item = problem.item_of(np.arange(problem.edges))
    free = (problem.item_load(chosen) < problem.demand)[item] & (load < problem.capacity)[problem.user]
    free[chosen] = False
    assert not (free & (problem.score > 0)).any()


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a run on millions of edges, the clock is looked at in the middle."""
    monkeypatch.setattr("dualrec.solvers.block_auction.SLICE", 2_000)


@pytest.fixture
def interim_steps(small_slices: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a run on many millions of edges, some steps come before the end."""
    monkeypatch.setattr("dualrec.solvers.block_run.LONG_RUN", 0)
    monkeypatch.setattr("dualrec.solvers.block_run.FIRST_REPORT", 0.2)
    monkeypatch.setattr("dualrec.solvers.block_run.NEXT_REPORT", 1.1)


@pytest.mark.usefixtures("interim_steps")
class TestPauses:
    @families
    def test_interim_steps_are_feasible_and_tell_how_many_bid(self, family: str) -> None:
        problem = FAMILIES[family].make()
        *interim, last = BlockRun(problem, Clock(), Workers(1)).cold(0.02, np.inf)
        assert interim and "bidding" not in last.notes
        for step in (*interim, last):
            check(problem, step.chosen)
            assert (step.prices >= 0).all()
        for earlier, later in itertools.pairwise((*interim, last)):
            assert earlier.notes["bidding"] > 0 and earlier.notes["passes"] < later.notes["passes"]
            assert earlier.chosen.size <= last.chosen.size

    @pytest.mark.parametrize("family", ["tight", "skewed"])
    def test_pauses_change_nothing(self, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
        problem = FAMILIES[family].make()
        *_, paused = BlockRun(problem, Clock(), Workers(1)).cold(0.02, np.inf)
        monkeypatch.undo()
        (whole,) = BlockRun(problem, Clock(), Workers(1)).cold(0.02, np.inf)
        assert same_bytes(paused, whole)

    def test_history_shows_the_gap_falling(self) -> None:
        answer = solve(FAMILIES["tight"].make(), gap=1e-6)
        gaps = [step["gap"] for step in answer.history]
        assert len(gaps) > 10 and gaps == sorted(gaps, reverse=True) and gaps[-1] == answer.gap <= 1e-6
        assert sum("bidding" in step for step in answer.history) > 3

    def test_an_interim_step_can_be_enough(self) -> None:
        answer = solve(FAMILIES["tight"].make(), gap=0.1)
        assert answer.gap <= 0.1 and answer.history[-1]["bidding"] > 0
        fills_what_it_can(answer.problem, answer.chosen)


@pytest.mark.usefixtures("interim_steps")
class TestEndOfTime:
    @families
    @pytest.mark.parametrize("looks", [0, 1, 2, 5, 9])
    def test_the_next_step_is_filled(self, family: str, looks: int) -> None:
        """Wherever in the run the clock says stop."""
        problem, clock = FAMILIES[family].make(), LooksAtTheClock(looks)
        steps = Auction(threads=1).steps(problem, Goal(0.0, clock))
        last = next(step for step in steps if clock.looks < 0)
        fills_what_it_can(problem, last.chosen)
        assert certify(problem, last.chosen, last.prices).gap < 1

    @families
    @pytest.mark.parametrize("limit", [0, 0.02])
    def test_time_limit(self, family: str, limit: float) -> None:
        problem = FAMILIES[family].make()
        answer = solve(problem, Auction(passes=1e9), gap=0, time_limit=limit)
        fills_what_it_can(problem, answer.chosen)
        assert answer.status in (Status.TIME_LIMIT, Status.OPTIMAL)
        assert answer.gap < 1

    def test_interruption_in_the_middle(self) -> None:
        """The clock is told from outside, as Ctrl-C tells it, while the auction runs."""
        problem, clock = TightFlat(items=600, users=4_500, candidates=500).make(), Clock()
        timer = threading.Timer(0.05, setattr, (clock, "interrupted", True))
        timer.start()
        *_, last = Auction(passes=1e9, threads=2).steps(problem, Goal(0.0, clock))
        timer.join()
        fills_what_it_can(problem, last.chosen)


def same_bytes(one: Step, other: Step) -> bool:
    return one.chosen.tobytes() == other.chosen.tobytes() and one.prices.tobytes() == other.prices.tobytes()


class TestThreads:
    @families
    @pytest.mark.parametrize("passes", [0.3, 1.0, np.inf])
    def test_they_change_no_byte(self, family: str, passes: float, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not even where the reads that a run may take end it."""
        monkeypatch.setattr("dualrec.solvers.block_auction.WORTH_THREADS", 0)
        problem = FAMILIES[family].make()
        steps = [list(BlockRun(problem, Clock(), Workers(n)).cold(0.02, passes)) for n in (1, 2, 3, 5)]
        for other in steps[1:]:
            assert len(other) == len(steps[0]) and all(itertools.starmap(same_bytes, zip(other, steps[0], strict=True)))
            assert [step.notes for step in other] == [step.notes for step in steps[0]]

    @families
    def test_a_run_ends_with_its_reads(self, family: str) -> None:
        problem = FAMILIES[family].make()
        run = BlockRun(problem, Clock(), Workers(1))
        (step,) = run.cold(1e-3, 0.5)
        assert step.notes["bidding"] > 0 and 0.5 <= run.passes < 2

    @families
    def test_whole_solves(self, family: str) -> None:
        problem = FAMILIES[family].make(1)
        one, *others = (solve(problem, Auction(threads=n, passes=3.0), gap=1e-7) for n in (1, 2, 5))
        for other in others:
            assert np.array_equal(one.chosen, other.chosen) and np.array_equal(one.user_prices, other.user_prices)


class TestWarm:
    @settings(max_examples=60)
    @given(seed=seeds, kind=kinds, size=st.sampled_from([0.0, 0.3, 1.0, 1e3, 1e30]))
    def test_any_start_is_safe(self, seed: int, kind: str, size: float) -> None:
        """Matches of another solver at prices that have nothing to do with them."""
        problem = Ragged(items=20, users=15, most=5, kind=kind).make(seed)
        prices = size * float(problem.score.max(initial=0.0)) * np.random.default_rng(seed).random(problem.users)
        start = solve(problem, "first-come")
        for step in BlockRun(problem, Clock(), Workers(1)).warm(prices, start.chosen, 0.1, 10.0):
            proof = certify(problem, step.chosen, step.prices)
            assert proof.value <= proof.bound * (1 + 1e-12)

    @settings(max_examples=40)
    @given(seed=seeds, kind=kinds, size=st.sampled_from([0.0, 1.0, 1e39]), gap=st.sampled_from([1e-2, 1e-5]))
    def test_a_bad_start_costs_no_quality(self, seed: int, kind: str, size: float, gap: float) -> None:
        problem = Ragged(items=20, users=15, most=5, kind=kind).make(seed)
        answer = solve(problem, start=solve(problem, "greedy"), start_prices=np.full(problem.users, size), gap=gap)
        assert answer.gap <= gap
        assert answer.value >= solve(problem, "min-cost-flow").value * (1 - gap - 1e-9)

    def test_threads_change_no_byte(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dualrec.solvers.block_auction.WORTH_THREADS", 0)
        problem, yesterday = FAMILIES["tight"].make(), solve(FAMILIES["tight"].make(), gap=1e-2)
        rng = np.random.default_rng(0)
        noise = np.exp(rng.normal(0, 0.1, problem.edges)).astype(np.float32)
        limits = problem.demand, problem.capacity
        today = Problem.from_csr(problem.indptr, problem.user, problem.score * noise, *limits)
        start = yesterday.user_prices, yesterday.chosen
        one, *others = (list(BlockRun(today, Clock(), Workers(n)).warm(*start, 0.02, 10.0)) for n in (1, 2, 5))
        assert all(same_bytes(one[0], other[0]) for other in others)


class TestLastResort:
    @settings(max_examples=60)
    @given(seed=seeds, kind=kinds, dear=st.sampled_from([0.0, 0.5, 2.0]))
    def test_steps_are_within_eps_a_match(self, seed: int, kind: str, dear: float) -> None:
        """From any prices, and at last as near to the optimum as numbers allow."""
        problem = Ragged(items=20, users=15, most=5, kind=kind).make(seed)
        mean = float(problem.score.mean()) if problem.edges else 1.0
        prices = dear * mean * np.random.default_rng(seed).random(problem.users)
        for step in scaled_steps(problem, Goal(0.0, Clock()), prices, 0.1 * mean, 0.2, 30):
            proof = certify(problem, step.chosen, step.prices)
            assert proof.value >= proof.bound - step.notes["eps"] * step.chosen.size - 1e-9 * proof.bound
            if proof.gap <= 1e-9:
                return
        raise AssertionError(f"the last step has a gap of {proof.gap}")

    def test_it_takes_over_where_reads_end(self) -> None:
        problem = FAMILIES["tight"].make()
        answer = solve(problem, Auction(passes=0.5), gap=1e-6)
        assert answer.gap <= 1e-6 and "passes" not in answer.history[-1]


class TestWorkers:
    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_results_come_in_order_of_the_parts(self, count: int) -> None:
        workers = Workers(count)
        assert workers.run(lambda a, b: 10 * a + b, [(part, 3) for part in range(count)]) == [
            10 * part + 3 for part in range(count)
        ]

    @pytest.mark.parametrize("count", [1, 2, 5])
    @pytest.mark.parametrize("size", [0, 1, 7, 1_000_003])
    def test_ranges_are_all_in_order_and_about_as_long(self, count: int, size: int) -> None:
        ranges = Workers(count).ranges(size)
        assert [0, *(last for _, last in ranges)] == [*(first for first, _ in ranges), size]
        lengths = [last - first for first, last in ranges]
        assert len(ranges) == count and max(lengths) - min(lengths) <= 1

    @pytest.mark.parametrize("part", [0, 1])
    def test_an_exception_of_a_part_comes_through(self, part: int) -> None:
        def work(number: int) -> None:
            if number == part:
                raise ArithmeticError("of a part")

        with pytest.raises(ArithmeticError, match="of a part"):
            Workers(2).run(work, [(0,), (1,)])
