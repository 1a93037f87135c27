"""Versions side by side: each config's night on each seed, and one table of means and spreads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .artifacts import load_json, save_json, write_text
from .config import Config, load_config
from .device import settle_device
from .errors import InputError
from .experiment_figures import NAMES, run_figures
from .fingerprint import data_fingerprint
from .lock import run_lock
from .night import run_key
from .progress import Progress
from .show import format_table
from .stage_list import EVALUATED
from .stage_store import run_stages

FOLDER = "experiment"


@dataclass(frozen=True)
class Version:
    """One row of the table: its name as given, and its settings but the seed."""

    name: str
    config: Config


def read_versions(text: str, overrides: Sequence[str]) -> list[Version]:
    """The versions in "v1,v2" or "v1,v1+activity.mode=none+towers.ef=true": configs by name or path, with settings of
    their own after those that all share. Raises InputError for none, for one given twice and for what is no config."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError(f"--versions is {text!r}, expected configs such as v1,v2 or v1+towers.ef=true")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"--versions names {twice[0]!r} twice, expected each version once")
    versions = []
    for name in names:
        config, *own = name.split("+")
        versions.append(Version(name, load_config(config, [*overrides, *own])))
    return versions


def run_experiment(versions: Sequence[Version], seeds: int, out: Path, progress: Progress) -> str:
    """Run every version on every seed and return the table; `OUT/experiment/experiment.json` and `.md` hold it too.

    Seeds are the config's own and those after it. A run that was made before with the same settings, data and program is
    read, not made again. Raises InputError for fewer than one seed and for a day without a truth window.
    """
    if seeds < 1:
        raise InputError(f"--seeds is {seeds}, expected at least 1")
    folder = out / FOLDER
    runs: dict[str, list[dict[str, Any]]] = {version.name: [] for version in versions}
    with run_lock(folder):
        for number in range(seeds):
            for version in versions:
                config = version.config.model_copy(update={"seed": version.config.seed + number})
                progress.note(f"{version.name}, seed {config.seed}")
                config = settle_device(config, progress)
                runs[version.name].append(_one_run(config, folder, progress))
        summary = {name: summarise(made) for name, made in runs.items()}
        save_json(folder / "experiment.json", {"runs": runs, "summary": summary})
        table = experiment_table(summary, seeds)
        write_text(folder / "experiment.md", table + "\n")
    return f"{table}\nfigures: {folder / 'experiment.json'}"


def summarise(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation (0 for one run) of every figure over the seeds, the shares as `share_SOURCE`."""
    flat = [{**run, **{f"share_{name}": share for name, share in run["share"].items()}} for run in runs]
    found = {}
    for key in flat[0]:
        values = [run.get(key) for run in flat]
        numbers = np.array([value for value in values if isinstance(value, int | float)], float)
        if len(numbers):
            spread = float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0
            found[key] = {"mean": float(numbers.mean()), "spread": spread}
    return found


def experiment_table(summary: Mapping[str, Mapping[str, Mapping[str, float]]], seeds: int) -> str:
    """Plain text, one line a version: mean +- spread over the seeds, then the shares of the sources that found matches."""
    sources = [
        key
        for key in next(iter(summary.values()))
        if key.startswith("share_") and any(one.get(key, {}).get("mean") for one in summary.values())
    ]
    columns = [key for key in NAMES if any(key in one for one in summary.values())]
    head = ("version", *(NAMES[key] for key in columns), *(key.removeprefix("share_") for key in sources))
    rows = [head]
    for name, one in summary.items():
        rows.append((name, *(_cell(one.get(key), seeds) for key in [*columns, *sources])))
    return format_table(rows)


def _cell(figure: Mapping[str, float] | None, seeds: int) -> str:
    if figure is None:
        return "-"
    mean, spread = figure["mean"], figure["spread"]
    digits = 0 if abs(mean) >= 100 else 4 if abs(mean) < 1 else 2
    return f"{mean:,.{digits}f}" + (f" ±{spread:,.{digits}f}" if seeds > 1 else "")


def _one_run(config: Config, folder: Path, progress: Progress) -> dict[str, Any]:
    fingerprint = data_fingerprint(config)
    stored = folder / "runs" / f"{run_key(config, fingerprint)[:24]}.json"
    if stored.exists():
        progress.note("reused")
        return dict(load_json(stored))
    finished = run_stages(EVALUATED, config, folder / "work", progress, fingerprint)
    about = load_json(finished["tables"].folder / "night.json")
    if not about["has_truth"]:
        raise InputError(f"day {about['day']} has no truth window in the data, which an experiment needs")
    stored.parent.mkdir(exist_ok=True)
    save_json(stored, run_figures(config, finished))
    return dict(load_json(stored))
