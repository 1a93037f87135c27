"""`dualrec tune-beta`: weights of the heads sought on the last days before the night, against a stated outcome."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..models.beta_search import Replay, Tuned, tune_beta
from ..models.log import NEGATIVE
from ..models.pair_scores import DEFAULT_BETA
from .artifacts import load_array, save_json
from .config import Config
from .config_errors import nearest
from .device import settle_device
from .errors import InputError
from .fingerprint import data_fingerprint
from .interactions import KINDS
from .lock import run_lock
from .night_view import load_view
from .progress import Progress
from .show import format_table
from .stage_list import STAGES
from .stage_store import run_stages

FOLDER = "tuning"
WATCHED = "effective_view"
"""The kind that must not fall among the chosen, where the data has it."""

_UNTIL = "ranking"


def read_outcome(text: str) -> dict[str, float]:
    """What each kind of feedback counts, from "like=1,comment=2". Raises InputError naming what is wrong."""
    found: dict[str, float] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        kind, _, number = part.partition("=")
        if kind not in KINDS:
            raise InputError(
                f"--outcome names {kind!r}, which is no feedback kind; the nearest is {nearest(kind, KINDS)!r}"
            )
        try:
            found[kind] = float(number)
        except ValueError:
            raise InputError(f"--outcome gives {kind} {number!r}, expected a number as in {kind}=1") from None
        if not np.isfinite(found[kind]):
            raise InputError(f"--outcome gives {kind} {number!r}, expected a finite number")
    if not any(found.values()):
        raise InputError(f"--outcome is {text!r}, expected what feedback counts, as in like=1,comment=2")
    return found


def tune(config: Config, outcome: Mapping[str, float], share: float, tries: int, progress: Progress) -> str:
    """Run the night's stages up to the ranking, search, and return a table; `OUT/tuning/beta.json` holds it too.

    Guards for the users: among the chosen, skips may not rise, nor effective views fall, where the data has them. Raises
    InputError for kinds that the data lacks, and where the heads have no network whose predictions can be judged.
    """
    if not 0 < share < 1:
        raise InputError(f"--share is {share:g}, expected more than 0 and less than 1")
    if tries < 1:
        raise InputError(f"--tries is {tries}, expected at least 1")
    config = settle_device(config, progress)
    stages = STAGES[: [stage.name for stage in STAGES].index(_UNTIL) + 1]
    folder = Path(config.out) / FOLDER
    with run_lock(folder):
        finished = run_stages(stages, config, folder / "work", progress, data_fingerprint(config))
        view = load_view(finished["tables"].folder)
        heads = view.tables.heads
        unknown = sorted(set(outcome) - set(heads))
        if unknown:
            raise InputError(f"--outcome names {unknown[0]!r}, which the data lacks; it has {', '.join(heads)}")
        ranking = finished[_UNTIL].folder
        row, p = load_array(ranking / "held_row.npy"), load_array(ranking / "held_p.npy")
        if not len(row):
            raise InputError(
                "the heads of this night are smoothed rates, whose predictions cannot be judged; set heads.model=network, "
                "or give more days"
            )
        log = view.past.take(np.array(row))
        replay = Replay(np.array(p), np.stack([log.kinds[kind] for kind in heads], 1), log.item.astype(np.int64), heads)
        guards = {kind: sign for kind, sign in ((WATCHED, 1.0), (NEGATIVE, -1.0)) if kind in heads}
        task = progress.task("weights", tries)
        start = config.score.beta or DEFAULT_BETA
        try:
            found = tune_beta(replay, start, outcome, guards, share, tries, config.seed, lambda: task.advance(1))
        except ValueError as error:
            raise InputError(f"the interactions held out from the heads: {error}") from None
        about = {"outcome": dict(outcome), "share": share, "seed": config.seed, "exposures": len(row)}
        save_json(folder / "beta.json", {**about, **vars(found), "gains": found.gains})
    return "\n".join([tuning_table(found, len(row)), f"figures: {folder / 'beta.json'}"])


def tuning_table(found: Tuned, exposures: int) -> str:
    """Plain text: both weights, the outcome of the chosen, and the guards."""
    rows = [("", "before", "after")]
    rows += [(f"beta {kind}", f"{found.start[kind]:g}", f"{found.best.get(kind, 0.0):g}") for kind in found.start]
    rows.append(("outcome a chosen exposure", f"{found.before:.4f}", f"{found.after:.4f}"))
    rows += [(f"share with {kind}", f"{old:.4f}", f"{new:.4f}") for kind, (old, new) in found.guards.items()]
    gain = f"difference {found.after - found.before:+.4f} [{found.low:+.4f}, {found.high:+.4f}] on items not searched"
    tried = f"{exposures:,} exposures, {found.tried} weights tried, {found.refused} refused by the guards"
    settings = ",".join(f"{kind}: {weight:g}" for kind, weight in found.best.items())
    advice = f"to use them: 'score.beta={{{settings}}}'" if found.gains else "no sure gain: keep the weights"
    return "\n".join([format_table(rows), gain, tried, advice])
