"""The candidate search over all pairs: never below first come, and a bound that no allocation of any pairs exceeds."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_array, kron, vstack

from dualrec.solvers import all_pairs_search
from dualrec.solvers.allocation import Status
from dualrec.solvers.candidate_lists import BY_PRICE, CODES, FIRST_COME, FREE_PLACES, ExtraLists, lists_from_padded
from dualrec.solvers.candidate_source import RowSource
from dualrec.solvers.certificate import check, relative_gap
from dualrec.solvers.column_limits import without_hopeless
from dualrec.solvers.dense_instances import CategoryRows, Dense
from dualrec.solvers.errors import ProblemError
from dualrec.solvers.price_rounds import PriceRounds, search_candidates
from dualrec.solvers.sequential import first_come_all_pairs

FEW = PriceRounds(first_candidates=3, price_candidates=2, rounds=3)


def source_of(scores: np.ndarray, **options: int) -> RowSource:
    scores = scores.astype(np.float32)
    return RowSource(lambda rows: scores[rows], *scores.shape, **options)


class Half:
    """An approximate search: it sees only users of even rows, and has no rows to show."""

    exact = False

    def __init__(self, scores: np.ndarray) -> None:
        self.items, self.users = scores.shape
        self._source = source_of(np.where(np.arange(self.users) % 2, 0, scores))

    def best(self, item_rows, user_prices, count, available=None):
        return self._source.best(item_rows, user_prices, count, available)


def optimum(scores: np.ndarray, demand: np.ndarray, capacity: np.ndarray) -> float:
    """The linear program over all pairs; its vertices are whole."""
    items, users = scores.shape
    by_item = kron(csr_array(np.eye(items)), np.ones((1, users)))
    by_user = kron(np.ones((1, items)), csr_array(np.eye(users)))
    limits = np.concatenate([demand, capacity])
    weight = np.maximum(scores, 0).astype(np.float64).ravel()
    return -linprog(-weight, A_ub=vstack([by_item, by_user]), b_ub=limits, bounds=(0, 1), method="highs").fun


def dual_value(scores: np.ndarray, demand: np.ndarray, capacity: np.ndarray, prices: np.ndarray) -> float:
    """D(p) over all pairs, from the formula."""
    net = np.sort(np.maximum(scores.astype(np.float64) - prices, 0), axis=1)[:, ::-1]
    return float(capacity @ prices + sum(row[:wanted].sum() for row, wanted in zip(net, demand, strict=True)))


def random_instance(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Small, with ties, identical rows, empty rows, users without places and items that want nobody."""
    rng = np.random.default_rng(seed)
    items, users = rng.integers(1, 13), rng.integers(1, 25)
    scores = rng.lognormal(0, 0.7, (items, users)) * rng.lognormal(0, 0.7, users)
    if seed % 3 == 1:
        scores = np.ceil(scores)
    if seed % 3 == 2:
        scores = np.ceil(2 * scores)[rng.integers(0, max(1, items // 3), items)]
    scores[rng.random(scores.shape) < rng.choice([0.0, 0.3, 0.8])] = -1
    return scores.astype(np.float32), rng.integers(0, 6, items), rng.integers(0, 4, users)


@pytest.mark.parametrize("seed", range(200))
def test_never_below_first_come_and_never_above_a_true_bound(seed: int) -> None:
    scores, demand, capacity = random_instance(seed)
    order = np.random.default_rng(seed).permutation(demand.size)
    records = []
    result = search_candidates(source_of(scores), demand, capacity, FEW, order=order, on_round=records.append)
    first = first_come_all_pairs(source_of(scores), order, demand, capacity, 3)
    best = optimum(scores, demand, capacity)
    assert result.first_come.value == first.value
    assert tuple(records) == result.rounds
    for record in records:
        assert first.value <= record.value <= best * (1 + 1e-6)
        assert record.bound_all_pairs >= best * (1 - 1e-6)
        assert record.gap_all_pairs == relative_gap(record.value, record.bound_all_pairs)
    answer = result.allocation
    check(result.problem, answer.chosen)
    assert answer.value == pytest.approx(records[-1].value)
    assert result.bound_all_pairs == pytest.approx(dual_value(scores, demand, capacity, answer.user_prices), rel=1e-6)
    pairs = result.problem.item_of(np.arange(result.problem.edges)), result.problem.user
    assert (result.problem.score == scores[pairs]).all()
    assert result.found.size == result.problem.edges


def test_enough_rounds_reach_the_optimum_over_all_pairs() -> None:
    reached = 0
    for seed in range(40):
        scores, demand, capacity = random_instance(seed)
        options = replace(FEW, rounds=30, gap=1e-4)
        result = search_candidates(source_of(scores), demand, capacity, options)
        best = optimum(scores, demand, capacity)
        if result.allocation.status in (Status.OPTIMAL, Status.WITHIN_GAP):
            reached += 1
            assert result.allocation.value >= best * (1 - 1.1e-4)
    assert reached == 40


def test_heavy_ties_are_settled_close_to_the_optimum() -> None:
    """30 items of 3 kinds with identical rows of few levels: hundreds of equal pairs."""
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 3, (3, 80))[np.repeat(np.arange(3), 10)]
    demand, capacity = np.full(30, 8), np.full(80, 3)
    options = PriceRounds(first_candidates=10, price_candidates=10, rounds=12, gap=1e-3)
    result = search_candidates(source_of(scores), demand, capacity, options)
    assert result.allocation.gap <= 1e-3
    assert result.allocation.value >= optimum(scores, demand, capacity) * (1 - 1e-3)


def test_threads_change_no_byte() -> None:
    answers = []
    for threads in (1, 2):
        source = Dense(60, 900).make(4, block_items=7, threads=threads)
        result = search_candidates(source, 30, np.full(900, 3), PriceRounds(40, 40, rounds=2))
        arrays = result.problem.user, result.problem.score, result.found, result.allocation.chosen
        answers.append([array.tobytes() for array in (*arrays, result.allocation.user_prices)])
        answers[-1].append(repr([(r.value, r.bound_all_pairs) for r in result.rounds]))
    assert answers[0] == answers[1]


def test_the_dense_family_gains_a_fifth_over_first_come() -> None:
    source = Dense(600, 8_000).make(0, threads=2)
    result = search_candidates(source, 100, np.full(8_000, 10), PriceRounds(300, 300, rounds=4, gap=1e-4))
    assert result.allocation.value >= 1.15 * result.first_come.value
    assert result.allocation.gap <= 0.01
    assert result.allocation.matches == 60_000
    assert result.covers == "all pairs"


def test_places_of_small_value_are_filled_too() -> None:
    """Most pairs are worth next to nothing, and all items short of users see the same best free ones."""
    source = CategoryRows(items=120, users=900, categories=12).make(0, threads=2)
    options = PriceRounds(first_candidates=60, price_candidates=60, rounds=6)
    result = search_candidates(source, 60, np.full(900, 8), options)
    assert result.allocation.matches == 900 * 8
    assert result.allocation.status is Status.WITHIN_GAP
    assert (result.found % CODES == FREE_PLACES).any()


def test_an_approximate_source_speaks_for_the_pairs_searched() -> None:
    scores, _, _ = random_instance(3)
    result = search_candidates(Half(scores), 2, np.ones(scores.shape[1], int), FEW)
    assert result.covers == "pairs searched"
    assert (result.problem.user % 2 == 0).all()
    assert result.allocation.value <= result.bound_all_pairs * (1 + 1e-9)


@pytest.mark.parametrize("given", [True, False])
def test_extra_candidates_keep_their_name(given: bool) -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((4, 30)).astype(np.float32)
    indptr, user = np.array([0, 3, 6, 6, 9]), np.array([29, 3, 7, 1, 2, 3, 20, 21, 22])
    item, code = np.repeat(np.arange(4), np.diff(indptr)), np.array([5, 6, 5] * 3, np.int8)
    extra = ExtraLists(indptr, user, code, scores[item, user] if given else None)
    result = search_candidates(source_of(scores), 2, np.ones(30, int), FEW, extra=extra)
    edges = [
        np.flatnonzero((result.problem.item_of(np.arange(result.problem.edges)) == i) & (result.problem.user == u))[0]
        for i, u in zip(item, user, strict=True)
    ]
    assert result.found[edges].tolist() == code.tolist()
    assert set((result.found % CODES).tolist()) <= {FIRST_COME, BY_PRICE, FREE_PLACES, 5, 6}


def test_extra_candidates_that_do_not_fit_are_refused() -> None:
    one = np.array([3], np.int8)
    with pytest.raises(ProblemError, match="for 1 items, expected 2"):
        search_candidates(
            source_of(np.ones((2, 3))), 1, np.ones(3, int), extra=ExtraLists(np.array([0, 1]), np.array([0]), one)
        )
    with pytest.raises(ProblemError, match="name users 9 to 9"):
        search_candidates(
            source_of(np.ones((1, 3))), 1, np.ones(3, int), extra=ExtraLists(np.array([0, 1]), np.array([9]), one)
        )
    with pytest.raises(ProblemError, match="give score too"):
        search_candidates(
            Half(np.ones((1, 3))), 1, np.ones(3, int), extra=ExtraLists(np.array([0, 1]), np.array([0]), one)
        )


def test_the_most_candidates_are_kept_to() -> None:
    source = Dense(40, 600).make(1)
    options = PriceRounds(20, 20, rounds=5, gap=0, max_candidates=25)
    records = []
    result = search_candidates(source, 10, np.full(600, 1), options, on_round=records.append)
    assert max(record.edges for record in records[1:]) <= 40 * 25
    assert [r.value for r in records] == sorted(r.value for r in records)
    assert result.allocation.value >= result.first_come.value
    check(result.problem, result.allocation.chosen)


def test_an_answer_below_first_come_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(problem, *arguments, **options):
        found = true_solve(problem, *arguments, **options)
        return replace(found, chosen=found.chosen[:0])

    true_solve = all_pairs_search.solve
    monkeypatch.setattr(all_pairs_search, "solve", nothing)
    monkeypatch.setattr(all_pairs_search.AllPairsSearch, "_fill_free_places", lambda self, held, number: None)
    scores, demand, capacity = random_instance(9)
    result = search_candidates(source_of(scores), demand, capacity, FEW)
    assert result.allocation.value == pytest.approx(result.first_come.value)
    assert result.allocation.value > 0


def test_an_interrupted_solve_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    true_solve = all_pairs_search.solve
    monkeypatch.setattr(
        all_pairs_search, "solve", lambda *a, **k: replace(true_solve(*a, **k), status=Status.INTERRUPTED)
    )
    result = search_candidates(Dense(40, 600).make(1), 30, np.full(600, 1), PriceRounds(40, 40, gap=0))
    assert len(result.rounds) == 1
    assert result.allocation.status is Status.INTERRUPTED


def test_progress_counts_every_item_of_every_pass() -> None:
    done: list[int] = []
    options = PriceRounds(5, 5, rounds=2, gap=0)
    search_candidates(Dense(30, 200).make(0), 5, np.full(200, 1), options, progress=done.append)
    assert sum(done) == 30 * (options.rounds + 2)


def test_no_items_no_places_and_no_rounds() -> None:
    empty = search_candidates(source_of(np.zeros((0, 3))), 5, np.ones(3, int))
    assert empty.allocation.value == empty.bound_all_pairs == 0
    closed = search_candidates(source_of(np.ones((2, 3))), 5, np.zeros(3, int), FEW)
    assert closed.allocation.matches == 0
    alone = search_candidates(source_of(np.ones((2, 3))), 2, np.ones(3, int), replace(FEW, rounds=0))
    assert len(alone.rounds) == 1
    assert alone.allocation.matches == 3


def test_outside_ids_are_handed_on() -> None:
    result = search_candidates(
        source_of(np.ones((1, 2))), 1, np.ones(2, int), FEW, item_ids=["video"], user_ids=["ann", "bob"]
    )
    assert result.allocation.pairs()["item"].tolist() == ["video"]
    assert result.allocation.pairs()["user"].tolist() == ["ann"]


@pytest.mark.parametrize("wrong", [{"rounds": -1}, {"gap": 2.0}, {"price_candidates": 0}, {"max_candidates": 0}])
def test_wrong_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ProblemError, match="expected counts of at least 1"):
        PriceRounds(**wrong)


def test_a_short_order_is_refused() -> None:
    with pytest.raises(ProblemError, match="every item once"):
        search_candidates(source_of(np.ones((2, 3))), 1, np.ones(3, int), order=np.array([0]))


def test_a_time_limit_ends_the_search_with_the_best_answer_so_far() -> None:
    source = Dense(items=60, users=800).make(3)
    options = PriceRounds(rounds=20, gap=0.0, time_limit=1e-3)
    result = search_candidates(source, 20, np.full(800, 3), options)
    assert len(result.rounds) == 1
    assert result.allocation.status is Status.TIME_LIMIT
    assert result.first_come.value <= result.allocation.value <= result.bound_all_pairs


def test_a_time_limit_that_is_no_time_is_refused() -> None:
    with pytest.raises(ProblemError, match="time_limit"):
        PriceRounds(time_limit=0)


@pytest.mark.parametrize("seed", range(30))
def test_hopeless_candidates_are_in_no_better_allocation(seed: int) -> None:
    """Against the linear program with each such pair forced in; matches stay; the rest may go on to the optimum."""
    scores, demand, capacity = random_instance(seed)
    options = replace(FEW, rounds=3)
    result = search_candidates(source_of(scores), demand, capacity, options)
    problem, answer = result.problem, result.allocation
    item, user = problem.item_of(np.arange(problem.edges)), problem.user
    everything = lists_from_padded(*source_of(scores).best(np.arange(len(scores)), np.zeros(scores.shape[1]), 30), 0)
    room = dual_value(scores, demand, capacity, answer.user_prices) - answer.value
    mine = item[answer.chosen], user[answer.chosen]
    kept, dropped = without_hopeless(everything, answer.user_prices, demand, *mine, room + 1e-9)
    assert kept.edges + dropped == everything.edges
    assert (kept.edges_of(*mine) >= 0).all()
    left = np.zeros_like(scores)
    left[kept.item, kept.user] = kept.score
    assert optimum(left, demand, capacity) == pytest.approx(optimum(scores, demand, capacity), rel=1e-6)


def test_a_limit_of_candidates_that_bites_is_told() -> None:
    source, capacity = Dense(60, 900).make(6), np.full(900, 3)
    tight = PriceRounds(40, 40, rounds=3, gap=0.0, max_candidates=50)
    limited = search_candidates(source, 30, capacity, tight)
    free = search_candidates(source, 30, capacity, replace(tight, max_candidates=3000))
    assert limited.cut > 0 == free.cut
    assert limited.cut == sum(record.cut for record in limited.rounds)
    assert limited.allocation.value >= limited.first_come.value
