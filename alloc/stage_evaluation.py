"""Stage `evaluation`: the allocation beside first come and plain rules at the same capacity, against what users did."""

from collections.abc import Callable

import numpy as np

from ..models.metrics import auc
from ..models.pair_scores import PairScorer
from ..solvers.candidate_source import RowSource
from .artifacts import load_array, load_json, save_json
from .baselines import Places, Rows, activity_rows, allowed, category_rows, early_user_rows, hand_out, random_rows
from .night_view import NightView, load_view
from .outcome import Truth, outcome, recall_without_cap, truth_of
from .scorer import load_scorer, row_source
from .stage import StageContext

Matches = tuple[np.ndarray, np.ndarray]
_AUC_PAIRS = 100_000


def run(context: StageContext) -> None:
    """Write `evaluation.json`: values of the baselines on our scores, outcomes, ranking AUC."""
    view = load_view(context.input("tables"))
    options, retrieval = context.config.evaluate, context.input("retrieval")
    scorer = load_scorer(view, retrieval, context.input("ranking"))
    users, items = load_array(retrieval / "users.npy"), load_array(retrieval / "items.npy")
    rules, notes = _rules(context, view, users, items) if options.enabled else ({}, [])
    matches = all_matches(context, rules, scorer) if options.enabled else {}
    values = _values(context, matches, row_source(scorer, context.threads))
    results: dict[str, object] = {
        "baselines": {name: {"value": value} for name, value in values.items()},
        "notes": notes,
    }
    if view.has_truth:
        truth = truth_of(view, users, items, options.early_users_in_truth)
        ours = {"ours": _ours(context), **matches}
        wanted = context.config.allocation.demand
        rows = {"ours": scorer.rows} | {name: allowed(rule, scorer) for name, rule in rules.items()}
        free = {name: recall_without_cap(truth, rule, wanted, options.min_truth) for name, rule in rows.items()}
        results["outcome"] = {
            name: {**outcome(truth, *pair, wanted, options.min_truth), "recall_without_cap": free.get(name)}
            for name, pair in ours.items()
        }
        results["ranking_auc"] = ranking_auc(view, scorer, truth, (users, items), context.config.seed)
    save_json(context.out / "evaluation.json", results)


def all_matches(context: StageContext, rules: dict[str, Rows], scorer: PairScorer) -> dict[str, Matches]:
    """The matches of first come, where the config names it, and of every rule."""
    folder = context.input("candidates")
    capacity = np.array(load_array(folder / "capacity.npy"))
    places = Places(context.config.allocation.demand, capacity, scorer, context.threads)
    made: dict[str, Matches] = {}
    for name in context.config.evaluate.baselines:
        if name == "first_come":
            made[name] = (
                np.array(load_array(folder / "first_come_item.npy")),
                np.array(load_array(folder / "first_come_user.npy")),
            )
        elif name in rules:
            task = context.progress.task(f"baseline {name}", scorer.items)
            made[name] = hand_out(rules[name], places, task.advance)
    return made


def _rules(
    context: StageContext, view: NightView, users: np.ndarray, items: np.ndarray
) -> tuple[dict[str, Rows], list[str]]:
    """The plain rules that the config names and the data allows, and a note on each that it does not."""
    p_active = load_array(context.input("activity") / "p_active.npy")[users]
    made: dict[str, Callable[[], Rows]] = {
        "activity": lambda: activity_rows(p_active),
        "random": lambda: random_rows(context.config.seed, len(users)),
        "category": lambda: category_rows(view.past, view.day, users, view.log.token[items]),
        "early_users": lambda: early_user_rows(view.past, users, items),
    }
    missing = {}
    if view.tables.item_category is None:
        missing["category"] = f"{view.tables.name} has no categories: the category heuristic is left out"
    if view.strict_cold:
        missing["early_users"] = "strict cold: new items have no early users, that baseline is left out"
    wanted: list[str] = [name for name in context.config.evaluate.baselines if name in made]
    rules = {name: made[name]() for name in wanted if name not in missing}
    return rules, [missing[name] for name in wanted if name in missing]


def _values(context: StageContext, matches: dict[str, Matches], source: RowSource) -> dict[str, float]:
    """What each baseline's matches are worth by our scores; one pass over all pairs for those not scored yet."""
    stored = load_json(context.input("candidates") / "candidates.json")
    values = {"first_come": float(stored["first_come_value"])}
    others = [name for name in matches if name not in values]
    if not others:
        return values
    item = np.concatenate([matches[name][0] for name in others])
    user = np.concatenate([matches[name][1] for name in others])
    name_of = np.repeat(np.arange(len(others)), [len(matches[name][0]) for name in others])
    order = np.argsort(item, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(item, minlength=source.items))])
    score = source.scores_of(indptr, user[order])
    total = np.bincount(name_of[order], score, minlength=len(others))
    return values | {name: float(total[number]) for number, name in enumerate(others)}


def _ours(context: StageContext) -> Matches:
    folder = context.input("allocation")
    return load_array(folder / "item.npy"), load_array(folder / "user.npy")


def ranking_auc(
    view: NightView, scorer: PairScorer, truth: Truth, rows: tuple[np.ndarray, np.ndarray], seed: int
) -> dict[str, float]:
    """AUC by head on the truth window.

    A head that is always true: users who interacted against active users at random, for the same items. Any other: its
    probability among the interactions of known users with new items. Heads without both outcomes are left out. ``rows``:
    user rows and item rows of the scorer's places.
    """
    log = view.truth
    user_place = np.full(view.log.users, -1, np.int64)
    item_place = np.full(view.log.items, -1, np.int64)
    user_place[rows[0]] = np.arange(truth.users)
    item_place[rows[1]] = np.arange(truth.items)
    there = np.flatnonzero((user_place[log.user] >= 0) & (item_place[log.item] >= 0))
    item, user = item_place[log.item[there]], user_place[log.user[there]]
    lift, taste = scorer.lift(item, user), scorer.taste(item, user)
    found = {"interaction": _interaction_auc(scorer, truth, seed)}
    for number, head in enumerate(scorer.heads):
        if head.always:
            found[head.kind] = found["interaction"]
            continue
        p = head.probability(lift, scorer.user_rate[user, number], scorer.item_rate[item, number], taste)
        found[head.kind] = auc(np.asarray(log.kinds[head.kind][there]), p)
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _interaction_auc(scorer: PairScorer, truth: Truth, seed: int) -> float:
    generator = np.random.default_rng([seed, 2])
    active = np.flatnonzero(truth.active)
    pairs = truth.pairs
    if not len(pairs) or not len(active):
        return float("nan")
    if len(pairs) > _AUC_PAIRS:
        pairs = np.sort(generator.choice(pairs, _AUC_PAIRS, replace=False))
    item = pairs // truth.users
    others = active[generator.integers(0, len(active), len(pairs))]
    plain = ~np.isin(item * truth.users + others, truth.pairs)
    score = np.concatenate([scorer.lift(item, pairs % truth.users), scorer.lift(item[plain], others[plain])])
    return auc(np.arange(len(score)) < len(pairs), score)
