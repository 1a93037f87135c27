"""A finished run appears under `runs/` whole, and `latest` moves to it in one step.

Readers follow `latest` and see the run of before or the new one, never a half. Each run holds `MANIFEST.json`, which
lists every other file with its size and SHA-256.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .artifacts import (
    copy_file,
    file_records,
    find_damage,
    load_json,
    remove,
    rename_folder,
    save_json,
    sync,
    write_text,
)
from .errors import InputError

MANIFEST = "MANIFEST.json"
MANIFEST_SCHEMA = 1
LATEST = "latest"
RUNS = "runs"
_UNFINISHED = ".publishing-"
_KEY_LETTERS = 10


def run_id(data_name: str, day: int, key: str) -> str:
    """`NAME-dayD-KEY` with the first ten letters of the run's key; letters unfit for a file's name become dashes."""
    name = re.sub(r"[^A-Za-z0-9_]+", "-", data_name).strip("-") or "data"
    return f"{name}-day{day}-{key[:_KEY_LETTERS]}"


def publish(out: Path, name: str, key: str, files: Mapping[str, Path], texts: Mapping[str, str]) -> Path:
    """Copy `files` and write `texts` (both by published name) as the run `name`, then point `latest` at it.

    A damaged run of that name is replaced. Returns the run's folder. Raises OSError, with nothing published.
    """
    clean(out)
    try:
        folder = _fill(out / f"{_UNFINISHED}{name}", name, key, files, texts)
        run_dir = out / RUNS / name
        run_dir.parent.mkdir(exist_ok=True)
        sync(out)
        if run_dir.exists():  # only ever a damaged one, see `published_run`
            run_dir.replace(out / f"{_UNFINISHED}damaged-{name}")
        rename_folder(folder, run_dir)
        point_latest(out, run_dir)
    finally:
        clean(out)
    return run_dir


def _fill(folder: Path, name: str, key: str, files: Mapping[str, Path], texts: Mapping[str, str]) -> Path:
    """Make the folder of a run with its files and their manifest."""
    folder.mkdir()
    for published, source in files.items():
        (folder / published).parent.mkdir(exist_ok=True)
        copy_file(source, folder / published)
    for published, text in texts.items():
        write_text(folder / published, text)
    save_json(
        folder / MANIFEST,
        {"schema": MANIFEST_SCHEMA, "run": name, "key": key, "files": file_records(folder)},
    )
    return folder


def point_latest(out: Path, run_dir: Path) -> None:
    """Make `out/latest` a link to the run, in one step. Raises OSError, with the old link in place."""
    link = out / f"{_UNFINISHED}{LATEST}"
    remove(link)
    link.symlink_to(Path(RUNS) / run_dir.name)
    link.replace(out / LATEST)
    sync(out)


def clean(out: Path) -> None:
    """Delete what killed runs left half published."""
    for path in out.glob(f"{_UNFINISHED}*"):
        remove(path)


def published_run(out: Path, key: str) -> Path | None:
    """The published, undamaged run with this key, or None."""
    for run_dir in sorted((out / RUNS).glob(f"*-{key[:_KEY_LETTERS]}")):
        try:
            if verify_run(run_dir)["key"] == key:
                return run_dir
        except InputError:
            continue
    return None


def verify_run(run_dir: Path) -> dict[str, Any]:
    """The manifest of a published run, once every file agrees with it. Raises InputError naming the damage."""
    manifest = load_json(run_dir / MANIFEST)
    fields = {"schema": int, "run": str, "key": str, "files": dict}
    if not isinstance(manifest, dict) or any(not isinstance(manifest.get(k), t) for k, t in fields.items()):
        raise InputError(f"{run_dir / MANIFEST} is damaged; run the night again to replace the run")
    if manifest["schema"] > MANIFEST_SCHEMA:
        raise InputError(f"{run_dir} was written by a later version (schema {manifest['schema']}); update dualrec")
    damage = find_damage(run_dir, manifest["files"], MANIFEST)
    if damage:
        raise InputError(f"{run_dir}: {damage}; run the night again to replace the run")
    return manifest


def find_run(out: Path, name: str | None) -> Path:
    """The folder of a run by name, path, or (None) the latest. Raises InputError when there is none."""
    if name is None:
        if not (out / LATEST).is_dir():
            raise InputError(f"{out} holds no published run yet; make one with: dualrec nightly --out {out}")
        return (out / LATEST).resolve()
    for run_dir in (out / RUNS / name, Path(name)):
        if (run_dir / MANIFEST).is_file():
            return run_dir
    known = ", ".join(sorted(path.name for path in (out / RUNS).glob("*"))) or "none"
    raise InputError(f"no run {name!r} in {out / RUNS}; the runs there: {known}")
