"""A problem on disk: one .npy file for each array and a manifest, opened memory-mapped.

`manifest.json` holds the schema version, dtype, length and SHA-256 of each file, and its own SHA-256. A folder appears
whole under its name or not at all: it is written beside it and renamed.
"""

import errno
import glob
import hashlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ProblemError
from .problem_limits import read_only

if TYPE_CHECKING:
    from .problem import Problem

MANIFEST = "manifest.json"
KIND = "dualrec problem"
SCHEMA = 1
DTYPES = {
    "indptr": ("int64",),
    "user": ("int32",),
    "score": ("float32", "float16"),
    "demand": ("int32",),
    "capacity": ("int32",),
    "item_ids": ("int64", "str"),
    "user_ids": ("int64", "str"),
    "floor": ("int32",),
    "creator": ("int32",),
    "group": ("int32",),
    "group_limit": ("int32",),
    "creator_ids": ("int64", "str"),
    "item_excluded": ("int32",),
}
"""The arrays that a folder may hold and what each is; the first five are always there."""
REQUIRED = tuple(DTYPES)[:5]


def save_problem(problem: "Problem", folder: Path) -> None:
    """Writes the folder; raises ProblemError where it exists already, OSError where the disk fails."""
    with new_folder(folder) as aside:
        fill_folder(problem, aside)


def fill_folder(problem: "Problem", folder: Path) -> None:
    """Writes the arrays that are not there yet, then the manifest."""
    for name in DTYPES:
        path, array = folder / f"{name}.npy", getattr(problem, name)
        if array is not None and not path.exists():
            np.save(path, array, allow_pickle=False)
    _write_manifest(folder, problem.excluded)


def _write_manifest(folder: Path, excluded: int) -> None:
    files = {}
    for path in sorted(folder.glob("*.npy")):
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        files[path.stem] = {"dtype": _dtype_name(dtype), "length": shape[0], "sha256": _sha256(path)}
    manifest = {"kind": KIND, "schema": SCHEMA, "excluded": int(excluded), "files": files}
    manifest["sha256"] = _sha256_of(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def open_arrays(folder: Path, verify: bool) -> dict[str, Any]:
    """The fields of a saved problem, arrays memory-mapped and read-only.

    Raises ProblemError where the folder is none, of a later version, or a file is missing, cut short or (with `verify`,
    which reads everything once) changed.
    """
    manifest = _manifest(folder)
    found: dict[str, Any] = {"excluded": manifest["excluded"]}
    for name, record in manifest["files"].items():
        found[name] = _open_array(folder / f"{name}.npy", name, record, verify)
    _check_lengths(folder, found)
    return found


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write in, beside `folder`; renamed to it at the end, deleted where something goes wrong.

    Raises ProblemError where `folder` exists and is not empty.
    """
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProblemError(f"{folder} exists already, expected a new folder; name another or delete it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    aside = folder.with_name(f"{_unfinished(folder)}{os.getpid()}-{secrets.token_hex(4)}")
    aside.mkdir()
    try:
        yield aside
        for path in (*aside.iterdir(), aside):
            _sync(path)
        try:
            aside.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            raise ProblemError(f"{folder} was made by another meanwhile; name another or delete it") from error
        _sync(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _unfinished(folder: Path) -> str:
    """How names begin of what this machine has begun to write; a process number says nothing on another."""
    return f".{folder.name}.unfinished-{socket.gethostname()}-"


def _remove_leftovers(folder: Path) -> None:
    """Deletes what processes of this machine that are no more left unfinished."""
    begin = _unfinished(folder)
    for path in folder.parent.glob(glob.escape(begin) + "*"):
        owner = path.name.removeprefix(begin).partition("-")[0]
        try:
            os.kill(int(owner), 0)
        except (ValueError, ProcessLookupError):
            shutil.rmtree(path, ignore_errors=True)
        except PermissionError:
            continue


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_of(manifest: dict[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _dtype_name(dtype: np.dtype) -> str:
    return "str" if dtype.kind == "U" else dtype.name


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProblemError(f"{folder} holds no saved problem: {MANIFEST} is missing") from None
    except (OSError, ValueError) as error:
        raise ProblemError(f"{path} cannot be read ({error}), expected the manifest of a saved problem") from error
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND or not isinstance(manifest.get("schema"), int):
        raise ProblemError(f"{path} is no manifest of a saved problem")
    if manifest["schema"] > SCHEMA:
        raise ProblemError(f"{folder} has schema {manifest['schema']}, expected at most {SCHEMA}: update dualrec")
    files = manifest.get("files")
    if not isinstance(files, dict) or not set(REQUIRED) <= set(files) <= set(DTYPES):
        raise ProblemError(f"{path} lists the arrays {_listed(files)}, expected at least {', '.join(REQUIRED)}")
    if manifest.get("sha256") != _sha256_of(manifest) or not all(_is_record(record) for record in files.values()):
        raise ProblemError(f"{path} is damaged; save the problem again")
    return manifest


def _is_record(record: Any) -> bool:
    kinds = {"dtype": str, "length": int, "sha256": str}
    return isinstance(record, dict) and all(isinstance(record.get(key), kind) for key, kind in kinds.items())


def _listed(files: Any) -> str:
    return ", ".join(sorted(map(str, files))) if isinstance(files, dict) else "none"


def _open_array(path: Path, name: str, record: dict[str, Any], verify: bool) -> np.ndarray:
    if not path.is_file():
        raise ProblemError(f"{path} is missing; save the problem again")
    if verify and _sha256(path) != record["sha256"]:
        raise ProblemError(f"{path} is damaged: its SHA-256 is not that of the manifest; save the problem again")
    try:
        array = np.load(path, mmap_mode="r" if record["length"] else None, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise ProblemError(f"{path} is cut short or damaged ({error}); save the problem again") from error
    kind = _dtype_name(array.dtype)
    if array.shape != (record["length"],) or kind != record["dtype"] or kind not in DTYPES[name]:
        raise ProblemError(
            f"{path} holds {kind} of shape {array.shape}, expected {' or '.join(DTYPES[name])} of shape "
            f"({record['length']},)"
        )
    view: np.ndarray = read_only(array)[0]
    return view


def _check_lengths(folder: Path, found: dict[str, Any]) -> None:
    """Raises ProblemError where arrays of one side differ in length."""
    items, edges = found["demand"].size, found["user"].size
    along = {"indptr": items + 1, "score": edges, "item_ids": items, "user_ids": found["capacity"].size}
    along |= {"floor": items, "creator": items, "group": edges, "item_excluded": items}
    for name, length in along.items():
        if name in found and found[name].size != length:
            raise ProblemError(f"{folder / name}.npy has {found[name].size} entries, expected {length}")
    if found["indptr"][0] != 0 or found["indptr"][-1] != edges:
        raise ProblemError(f"{folder}/indptr.npy does not end at the number of edges ({edges})")
