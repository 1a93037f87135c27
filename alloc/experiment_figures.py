"""What an experiment reports of one run: hit rate, coverage, ranking, shares by source, and expected delivered feedback."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .artifacts import load_array, load_json
from .config import Config
from .night_view import load_view
from .outcome import truth_of
from .stage_report import share_by_source
from .stage_store import FinishedStage
from .world_truth import world_truth

FEEDBACK = {"like": 1.0, "comment": 2.0, "follow": 2.0, "share": 2.0, "profile_visit": 1.0, "effective_view": 0.5}
"""What delivered feedback counts, whatever a version's own beta: the explicit kinds, and watching half of a like."""

NAMES = {
    "matches": "matches",
    "hit_rate": "hit rate",
    "coverage": "coverage",
    "came_true": "came true",
    "interaction_auc": "retrieval AUC",
    "ranking_auc": "ranking AUC",
    "delivered": "delivered feedback",
    "per_match": "per match",
}
"""The columns of the table."""


def run_figures(config: Config, finished: Mapping[str, FinishedStage]) -> dict[str, Any]:
    """Figures of a run whose stages up to the evaluation are done, on a day with a truth window.

    hit_rate: share of matches whose user came. coverage: share of the new items with a match whose user came.
    interaction_auc: users who met a new item against active users at random. ranking_auc: the heads' P(feedback) among those
    who met one, mean over the kinds in FEEDBACK that happened. delivered:
    sum over the matches of P(the user comes) x expected feedback when shown, by the chances of the world; per_match: its
    mean. These two are absent for data that is not the built-in world.
    """
    folders = {name: stage.folder for name, stage in finished.items()}
    evaluation, allocation = (load_json(folders[name] / f"{name}.json") for name in ("evaluation", "allocation"))
    view = load_view(folders["tables"])
    users, items = (load_array(folders["retrieval"] / f"{name}.npy") for name in ("users", "items"))
    item, user = (load_array(folders["allocation"] / f"{name}.npy") for name in ("item", "user"))
    truth = truth_of(view, users, items, config.evaluate.early_users_in_truth)
    met = np.zeros(len(items), bool)
    met[item[truth.active[user]]] = True
    figures: dict[str, Any] = {
        "matches": len(item),
        "value": allocation["value"],
        "items_full": allocation["items_full"],
        "hit_rate": evaluation["outcome"]["ours"]["hit_rate"],
        "came_true": evaluation["outcome"]["ours"]["came_true"],
        "coverage": float(met.mean()),
        "interaction_auc": evaluation["ranking_auc"].get("interaction"),
        "ranking_auc": _mean_auc(evaluation["ranking_auc"], load_json(folders["ranking"] / "ranking.json")["heads"]),
        "share": share_by_source(folders["allocation"]),
        "seconds": sum(stage.seconds for stage in finished.values()),
    }
    if config.data.reader == "world":
        world = world_truth(config.data.world, config.seed, view.day + 1)
        each = world.comes[users[user]] * world.feedback(items[item], users[user], FEEDBACK)
        figures |= {"delivered": float(each.sum()), "per_match": float(each.mean()) if len(each) else 0.0}
    return figures


def _mean_auc(found: Mapping[str, float], heads: Sequence[Mapping[str, Any]]) -> float | None:
    """Over the kinds that some interactions lack; None where no kind has both outcomes."""
    always = {head["kind"] for head in heads if head["always"]}
    each = [found[kind] for kind in FEEDBACK if kind in found and kind not in always]
    return float(np.mean(each)) if each else None
