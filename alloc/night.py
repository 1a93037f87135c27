"""The night: lock the folder, run or reuse the stages, publish the run."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .artifacts import canonical_json, load_json
from .config import Config, effective_config, result_settings
from .device import settle_device
from .fingerprint import data_fingerprint
from .lock import run_lock
from .progress import NullProgress, Progress
from .publish import clean, point_latest, publish, published_run, run_id
from .stage import Stage
from .stage_list import OPTIONAL, PUBLISHED, STAGES
from .stage_store import code_version, run_stages

WORK = "work"
METRICS = "metrics.json"


@dataclass(frozen=True)
class NightResult:
    """The published run's folder, its metrics, and whether an earlier run was found instead of a new one made."""

    run_dir: Path
    metrics: dict[str, Any]
    reused: bool


def run_night(
    config: Config,
    progress: Progress | None = None,
    *,
    stages: Sequence[Stage] = STAGES,
    published: Mapping[str, str] = PUBLISHED,
) -> NightResult:
    """Run the night that `config` describes and publish it under `config.out`; a killed run is continued.

    `published` maps each published file to the stage that writes it; `metrics.json` must be among them and hold
    `data.name` and `data.day`. A run with the same settings, data and program is not computed again.
    Raises InputError for what the user gave, OSError when the disk fails; nothing is published then.
    """
    progress = progress or NullProgress()
    config = settle_device(config, progress)
    out = Path(config.out)
    with run_lock(out):
        clean(out)
        fingerprint = data_fingerprint(config)
        key = run_key(config, fingerprint)
        run_dir = published_run(out, key)
        reused = run_dir is not None
        if run_dir is None:
            run_dir = _run_and_publish(config, progress, stages, published, (fingerprint, key))
        else:
            progress.note(f"{run_dir.name}: already published")
            point_latest(out, run_dir)
        return NightResult(run_dir, load_json(run_dir / METRICS), reused)


def run_key(config: Config, fingerprint: str) -> str:
    """SHA-256 over program, data and every setting that may change the result."""
    parts = {"code": code_version(), "settings": result_settings(config), "data": fingerprint}
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def _run_and_publish(
    config: Config,
    progress: Progress,
    stages: Sequence[Stage],
    published: Mapping[str, str],
    keys: tuple[str, str],
) -> Path:
    """Run the stages below `out/work` and publish what they made. `keys`: the data's fingerprint and the run's key."""
    fingerprint, key = keys
    out = Path(config.out)
    finished = run_stages(stages, config, out / WORK, progress, fingerprint)
    files = {name: finished[stage].folder / name for name, stage in published.items()}
    files = {name: path for name, path in files.items() if name not in OPTIONAL or path.exists()}
    data = load_json(files[METRICS])["data"]
    name = run_id(str(data["name"]), int(data["day"]), key)
    return publish(out, name, key, files, {"config.yaml": effective_config(config)})
