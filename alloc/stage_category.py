"""Stage `category`: the candidate search on the category scores, beside first come on the same scores, and the truth."""

from dataclasses import asdict
from typing import Any

import numpy as np

from ..solvers.allocation import Status
from ..solvers.candidate_source import RowSource
from ..solvers.price_rounds import PriceRounds, Round, SearchResult, search_candidates
from .artifacts import load_array, save_arrays, save_json
from .category_scores import CATEGORY_PRIOR, TOTAL_PRIOR, load_category_scores
from .config import Config
from .night_view import NightView, load_view
from .outcome import outcome, truth_of
from .stage import StageContext
from .stage_allocation import figures
from .stage_candidates import user_capacity

ROUNDS = 20
"""Price rounds allowed at least: all items of a category have the same best users, so prices need more rounds."""


def run(context: StageContext) -> None:
    """Write the matches of the search and of first come as places in `affinity`'s items and users, the users' prices,
    and `category.json`."""
    view, affinity = load_view(context.input("tables")), context.input("affinity")
    scores = load_category_scores(view, affinity, context.input("activity"))
    users, items = load_array(affinity / "users.npy"), load_array(affinity / "items.npy")
    capacity = user_capacity(view, users, context.config.allocation)
    found = _search(context, RowSource(scores.rows, scores.items, scores.users, threads=context.threads), capacity)
    if found.allocation.status is Status.INTERRUPTED:
        raise KeyboardInterrupt  # half a search is no answer to judge
    matches = _matches(found)
    arrays = {f"{name}_{side}": rows for name, pair in matches.items() for side, rows in pair.items()}
    save_arrays(context.out, **arrays, user_prices=found.allocation.user_prices)
    about = _about(found) | {"outcome": _outcome(context.config, view, users, items, matches)}
    save_json(context.out / "category.json", about)


def _search(context: StageContext, source: RowSource, capacity: np.ndarray) -> SearchResult:
    asked, allocation = context.config.retrieval, context.config.allocation
    options = PriceRounds(
        first_candidates=asked.sequential,
        price_candidates=asked.price_candidates,
        rounds=max(asked.price_rounds, ROUNDS),
        gap=allocation.gap,
        time_limit=allocation.time_limit,
    )
    return search_candidates(
        source,
        allocation.demand,
        capacity,
        options,
        threads=context.threads,
        on_round=lambda record: context.progress.note(_line(record)),
        progress=context.progress.task("all pairs", source.items * (options.rounds + 2)).advance,
    )


def _matches(found: SearchResult) -> dict[str, dict[str, np.ndarray]]:
    problem, chosen, first = found.problem, found.allocation.chosen, found.first_come
    return {
        "ours": {"item": problem.item_of(chosen), "user": problem.user[chosen]},
        "first_come": {"item": first.item, "user": first.user},
    }


def _about(found: SearchResult) -> dict[str, Any]:
    problem = found.problem
    return {
        "affinity": {"category_prior": CATEGORY_PRIOR, "total_prior": TOTAL_PRIOR},
        "problem": {"items": problem.items, "users": problem.users, "candidates": problem.edges},
        "allocation": figures(found.allocation, {"bound": found.allocation.bound}),
        "first_come": {"value": found.first_come.value, "matches": len(found.first_come.item)},
        "rounds": [asdict(record) for record in found.rounds],
    }


def _outcome(
    config: Config, view: NightView, users: np.ndarray, items: np.ndarray, matches: dict[str, dict[str, np.ndarray]]
) -> dict[str, dict[str, float]]:
    """What became of the matches, as `outcome` says; empty without a truth window."""
    if not view.has_truth:
        return {}
    truth = truth_of(view, users, items, config.evaluate.early_users_in_truth)
    wanted, least = config.allocation.demand, config.evaluate.min_truth
    return {name: outcome(truth, pair["item"], pair["user"], wanted, least) for name, pair in matches.items()}


def _line(record: Round) -> str:
    return (
        f"  round {record.round}: {record.edges:,} candidates, value {record.value:,.4g}, "
        f"gap over all pairs {100 * record.gap_all_pairs:.3f} %"
    )
