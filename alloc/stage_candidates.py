"""Stage `candidates`: first come's own lists, the retrievals' finds, and rounds at current prices over all pairs."""

from dataclasses import asdict

import numpy as np

from ..models.pair_scores import PairScorer
from ..solvers.allocation import Status
from ..solvers.candidate_lists import CandidateLists, ExtraLists
from ..solvers.candidate_source import CandidateSource, RowSource
from ..solvers.price_rounds import PriceRounds, Round, SearchResult, search_candidates
from .artifacts import load_array, save_arrays, save_json
from .config import AllocationOptions, Config
from .device import auction_on
from .errors import InputError
from .found_candidates import search_found, user_side_lists
from .night_view import NightView, load_view
from .partitioned_rows import PartitionedRows
from .scorer import load_scorer, row_source, tile_search
from .stage import StageContext


def run(context: StageContext) -> None:
    """Write the candidates as CSR over `retrieval`'s items and users, the search's answer, and `candidates.json`."""
    view, retrieval = load_view(context.input("tables")), context.input("retrieval")
    scorer = load_scorer(view, retrieval, context.input("ranking"))
    capacity = user_capacity(view, load_array(retrieval / "users.npy"), context.config.allocation)
    if context.config.retrieval.search == "all_pairs":
        found = _over_all_pairs(context, scorer, capacity)
    else:
        lists, config = _lists(context, scorer, capacity), context.config
        found = search_found(lists, capacity, config.allocation, context.threads, config.device)
    if found.allocation.status is Status.INTERRUPTED:
        raise KeyboardInterrupt  # half a search is not a night's answer
    _save(context, found, capacity)


def _over_all_pairs(context: StageContext, scorer: PairScorer, capacity: np.ndarray) -> SearchResult:
    rows = _rows(context, scorer)
    source: CandidateSource = rows
    extra = _extra(context, rows)
    device = context.config.device if context.config.retrieval.device == "cpu" else context.config.retrieval.device
    if device != "cpu":
        source = tile_search(scorer, device)
    options = search_options(context.config)
    task = context.progress.task("all pairs", source.items * (options.rounds + 2))
    return search_candidates(
        source,
        context.config.allocation.demand,
        capacity,
        options,
        threads=context.threads,
        extra=extra,
        on_round=lambda record: context.progress.note(_line(record)),
        progress=task.advance,
    )


def _lists(context: StageContext, scorer: PairScorer, capacity: np.ndarray) -> CandidateLists:
    """The candidates of the searches that do not look at all pairs."""
    if context.config.retrieval.search == "user_side":
        return user_side_lists(scorer, capacity, context.engine)
    extra = _extra(context, _rows(context, scorer))
    assert extra.score is not None
    return extra.lists(extra.score)


def _rows(context: StageContext, scorer: PairScorer) -> RowSource:
    """The scores of all pairs, by the workers where there are any: the same bytes."""
    local = context.engine.name == "local"
    return row_source(scorer, context.threads) if local else PartitionedRows(scorer, context.engine)


def user_capacity(view: NightView, users: np.ndarray, options: AllocationOptions) -> np.ndarray:
    """int32: capacity of each of the users, one number or the column that the config names. Raises InputError."""
    if options.capacity_column is None:
        return np.full(len(users), options.capacity, np.int32)
    columns = view.tables.user_capacity
    if options.capacity_column not in columns:
        there = ", ".join(sorted(columns)) or "no capacity column"
        raise InputError(
            f"allocation.capacity_column is {options.capacity_column!r}, but the users table has {there}; "
            "name one of its columns, or use allocation.capacity"
        )
    return np.asarray(columns[options.capacity_column][users], np.int32)


def search_options(config: Config) -> PriceRounds:
    """The rounds that the config asks for."""
    asked = config.retrieval
    return PriceRounds(
        first_candidates=asked.sequential,
        price_candidates=asked.price_candidates,
        rounds=asked.price_rounds,
        gap=config.allocation.gap,
        time_limit=config.allocation.time_limit,
        solver=auction_on(config.device),
    )


def _extra(context: StageContext, source: RowSource) -> ExtraLists:
    """The finds of the retrievals, with their scores."""
    folder = context.input("retrieval")
    indptr, user, code = (np.array(load_array(folder / f"extra_{name}.npy")) for name in ("indptr", "user", "code"))
    return ExtraLists(indptr, user, code, source.scores_of(indptr, user))


def _save(context: StageContext, found: SearchResult, capacity: np.ndarray) -> None:
    problem, first = found.problem, found.first_come
    save_arrays(
        context.out,
        indptr=problem.indptr,
        user=problem.user,
        score=problem.score,
        found=found.found,
        capacity=capacity,
        chosen=found.allocation.chosen,
        prices=found.allocation.user_prices,
        first_come_item=first.item,
        first_come_user=first.user,
        first_come_score=first.lists.score[first.chosen],
    )
    about = {
        "bound": found.allocation.bound,
        "value": found.allocation.value,
        "covers": found.covers,
        "recall": found.recall,
        "over_limit": found.cut,
        "first_come_value": first.value,
        "rounds": [asdict(record) for record in found.rounds],
    }
    save_json(context.out / "candidates.json", about)


def _line(record: Round) -> str:
    return (
        f"  round {record.round}: {record.edges:,} candidates, value {record.value:,.4g}, "
        f"gap over all pairs {100 * record.gap_all_pairs:.3f} %"
    )
