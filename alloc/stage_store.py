"""Runs stages into folders that appear whole, and reuses those that are still good.

A stage writes into `NAME.partial/`; when it ends, its files are listed with their checksums in `manifest.json`, flushed
to disk, and the folder is renamed to `NAME/`. A kill at any moment leaves either a finished stage or one to run again.
"""

import functools
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..solvers.errors import SolverError
from .artifacts import canonical_json, file_records, find_damage, load_json, remove, rename_folder, save_json
from .config import Config, effective_config, result_settings
from .errors import InputError
from .partitions import make_engine
from .progress import Progress
from .stage import Stage, StageContext, visible_settings

MANIFEST = "manifest.json"
MANIFEST_SCHEMA = 1
LIBRARIES = ("faiss-cpu", "numba", "numpy", "ortools", "scipy", "torch", "xgboost")


@dataclass(frozen=True)
class FinishedStage:
    """A stage's folder, its key, the digest of its files, the seconds that it took, and whether it was reused."""

    folder: Path
    key: str
    digest: str
    seconds: float
    reused: bool


def run_stages(
    stages: Sequence[Stage], config: Config, work: Path, progress: Progress, data_fingerprint: str = ""
) -> dict[str, FinishedStage]:
    """Run each stage in turn below `work`, or reuse its folder; returns the finished stages by name.

    Raises ValueError when an input is not an earlier stage, OSError when the disk fails, InputError where the engine of the
    config cannot be had, and what a stage raises.
    """
    work.mkdir(parents=True, exist_ok=True)
    finished: dict[str, FinishedStage] = {}
    with closing(make_engine(config.engine, config.workers)) as engine:
        for stage in stages:
            missing = [name for name in stage.inputs if name not in finished]
            if missing:
                raise ValueError(f"stage {stage.name!r} needs {missing[0]!r}, which is not an earlier stage")
            key = stage_key(stage, config, {name: finished[name] for name in stage.inputs}, data_fingerprint)
            context = replace(_context(stage, config, work, progress, finished), engine=engine)
            reused = _reusable(stage, key, work, progress)
            finished[stage.name] = reused or _run(stage, key, work / stage.name, context)
    return finished


def stage_key(stage: Stage, config: Config, inputs: dict[str, FinishedStage], data_fingerprint: str) -> str:
    """SHA-256 over everything that may change what the stage writes: code, settings, data and input files."""
    settings = result_settings(config, stage.settings)
    parts = {
        "stage": stage.name,
        "code": code_version(),
        "settings": settings,
        "data": data_fingerprint if stage.reads_data else "",
        "inputs": {name: done.digest for name, done in inputs.items()},
    }
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


@functools.cache
def code_version() -> str:
    """SHA-256 over the package's sources, templates and libraries: a changed program never continues an old one's work."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for folder in ("alloc", "models", "solvers"):
        for path in sorted([*(root / folder).rglob("*.py"), *(root / folder).rglob("*.j2")]):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    for library in LIBRARIES:
        digest.update(f"{library} {version(library)}\0".encode())
    return digest.hexdigest()


def threads_of(config: Config) -> int:
    """The number of threads asked for; 0 in the config means all that this process may use."""
    if config.threads:
        return config.threads
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _reusable(stage: Stage, key: str, work: Path, progress: Progress) -> FinishedStage | None:
    """The stage's finished folder when its key and all its files are as they should be; says why when they are not."""
    folder = work / stage.name
    if not folder.is_dir():
        return None
    try:
        manifest = _load_manifest(folder)
    except InputError as error:
        progress.note(f"{stage.name}: {error}; run again")
        return None
    damage = find_damage(folder, manifest["files"], MANIFEST)
    if manifest["key"] != key or damage:
        progress.note(f"{stage.name}: {damage or 'settings, data or program changed'}; run again")
        return None
    progress.note(f"{stage.name}: reused")
    return FinishedStage(folder, key, _digest(manifest["files"]), manifest["seconds"], reused=True)


def _run(stage: Stage, key: str, folder: Path, context: StageContext) -> FinishedStage:
    """Run one stage into the empty folder of its context, which takes the name `folder` when it is whole."""
    remove(folder)
    remove(context.out)
    context.out.mkdir()
    start = time.perf_counter()
    with context.progress.stage(stage.name):
        _fill(stage, context)
        seconds = round(time.perf_counter() - start, 3)
        files = file_records(context.out)
        save_json(context.out / MANIFEST, {"schema": MANIFEST_SCHEMA, "key": key, "seconds": seconds, "files": files})
        rename_folder(context.out, folder)
    return FinishedStage(folder, key, _digest(files), seconds, reused=False)


def _fill(stage: Stage, context: StageContext) -> None:
    """Call the stage's function; an OSError that names no file, as those of some libraries, names the folder.

    Raises InputError where a solver or a device has no room or no workers: other settings help.
    """
    try:
        stage.function()(context)
    except OSError as error:
        error.filename = error.filename or str(context.out)
        raise
    except SolverError as error:
        raise InputError(f"{stage.name}: {error}") from error
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which need not be loaded for this
            raise
        said = str(error).splitlines()[0]
        raise InputError(f"{stage.name}: the device has too little memory ({said}); use device=cpu") from error


def _context(
    stage: Stage, config: Config, work: Path, progress: Progress, finished: dict[str, FinishedStage]
) -> StageContext:
    """What the stage sees: its own settings, its inputs' folders and the seconds of all earlier stages."""
    return StageContext(
        config=visible_settings(config, stage.settings),
        config_yaml=effective_config(config),
        out=work / f"{stage.name}.partial",
        threads=threads_of(config),
        progress=progress,
        folders={name: finished[name].folder for name in stage.inputs},
        seconds={name: done.seconds for name, done in finished.items()},
    )


def _load_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished stage. Raises InputError when it is damaged or of another schema."""
    manifest = load_json(folder / MANIFEST)
    fields = {"schema": int, "key": str, "seconds": float, "files": dict}
    if not isinstance(manifest, dict) or any(not isinstance(manifest.get(k), t) for k, t in fields.items()):
        raise InputError(f"{folder / MANIFEST} is damaged")
    if manifest["schema"] != MANIFEST_SCHEMA:
        raise InputError(f"{folder / MANIFEST} has schema {manifest['schema']}, expected {MANIFEST_SCHEMA}")
    return manifest


def _digest(files: dict[str, Any]) -> str:
    """SHA-256 over the checksums of a stage's files; the seconds that it took are left out."""
    return hashlib.sha256(canonical_json(files).encode()).hexdigest()
