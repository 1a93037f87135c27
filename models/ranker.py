"""What all rankers on columns share: the rows that they learn from, calibrated predictions, and a checked file header."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .calibration import Platt, fit_platt
from .cross_features import Features

HEADER = "ranker.json"
SCHEMA = 1


@dataclass(frozen=True, eq=False)
class RankerRows:
    """Rows in time order: ``features``, ``outcomes`` bool[n, heads] of the ``heads``, ``held_out`` bool[n]: the latest."""

    features: Features
    outcomes: np.ndarray
    heads: tuple[str, ...]
    held_out: np.ndarray


def ranker_rows(features: Features, outcomes: np.ndarray, heads: tuple[str, ...], share: float) -> RankerRows:
    """Hold out the last ``share`` of the rows, which must be in time order.

    Raises ValueError when a head happened never or always among the rows of either part: nothing can be learnt then.
    """
    if outcomes.shape != (len(features.values), len(heads)):
        raise ValueError(
            f"outcomes have shape {outcomes.shape}, expected {(len(features.values), len(heads))}: rows and heads"
        )
    held = np.arange(len(outcomes)) >= len(outcomes) - max(1, round(share * len(outcomes)))
    for part, name in ((~held, "earlier"), (held, "held-out")):
        for head, happened in zip(heads, outcomes[part].T, strict=True):
            if happened.all() or not happened.any():
                word = "always" if happened.any() else "never"
                raise ValueError(f"head {head!r} {word} happened in the {part.sum()} {name} rows; leave it out")
    return RankerRows(features, outcomes, heads, held)


@dataclass(frozen=True, eq=False, kw_only=True)
class Ranker(ABC):
    """P(kind | interaction) for several heads. ``names``: the features in order; ``scaling``: one curve for each head."""

    kind = ""
    heads: tuple[str, ...]
    names: tuple[str, ...]
    scaling: tuple[Platt, ...]
    options: Mapping[str, Any]

    def predict(self, features: Features) -> np.ndarray:
        """float32[n, heads] calibrated probabilities. Raises ValueError naming the first feature that is another."""
        check_names(features.names, self.names)
        return scaled(self.scaling, self.logits(features.values))

    @abstractmethod
    def logits(self, values: np.ndarray) -> np.ndarray:
        """float64[n, heads] before calibration, of float32[n, features]; rows are independent of each other."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the ranker into an existing folder, its header last. Raises OSError."""

    def _save(self, folder: Path, payload: Mapping[str, bytes], more: Mapping[str, Any]) -> None:
        for name, data in payload.items():
            (folder / name).write_bytes(data)
        about = {
            "schema": SCHEMA,
            "kind": self.kind,
            "heads": self.heads,
            "features": self.names,
            "features_sha256": names_sha256(self.names),
            "scaling": [[curve.slope, curve.offset] for curve in self.scaling],
            "options": dict(self.options),
            "files": {name: _sha256(data) for name, data in payload.items()},
            **more,
        }
        text = json.dumps({"about": about, "sha256": _sha256(_canonical(about))}, indent=1)
        (folder / HEADER).write_text(text + "\n", encoding="utf-8")


def scaled(scaling: tuple[Platt, ...], logits: np.ndarray) -> np.ndarray:
    """float32[n, heads]: each head's curve over its logits."""
    columns = [curve(logit) for curve, logit in zip(scaling, logits.T, strict=True)]
    return np.stack(columns, 1) if columns else np.zeros(logits.shape, np.float32)


def fit_scaling(logits: np.ndarray, outcomes: np.ndarray) -> tuple[Platt, ...]:
    """One curve for each head, from held-out logits and outcomes [n, heads]."""
    return tuple(fit_platt(logit, happened) for logit, happened in zip(logits.T, outcomes.T, strict=True))


def fitted(rows: RankerRows, options: Mapping[str, Any], found: np.ndarray) -> dict[str, Any]:
    """What every ranker is made with, from float64[held-out, heads], its logits of the held-out rows."""
    scaling = fit_scaling(found, rows.outcomes[rows.held_out])
    return {"heads": rows.heads, "names": rows.features.names, "scaling": scaling, "options": options}


def check_names(found: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """Raises ValueError naming the first feature that differs."""
    if found == expected:
        return
    for place, (name, wanted) in enumerate(zip(found, expected, strict=False)):
        if name != wanted:
            raise ValueError(
                f"feature {place} is {name!r}, expected {wanted!r}; make the features that it was fitted on"
            )
    raise ValueError(
        f"there are {len(found)} features, expected {len(expected)}; make the features that it was fitted on"
    )


def names_sha256(names: tuple[str, ...]) -> str:
    """SHA-256 of the names in order, in hexadecimal."""
    return _sha256("\n".join(names).encode())


@dataclass(frozen=True, eq=False)
class Stored:
    """A header that was checked, and the files that it vouches for. ``common``: what every ranker is made with."""

    about: Mapping[str, Any]
    files: Mapping[str, bytes]
    common: Mapping[str, Any]


def read_stored(folder: Path, kind: str) -> Stored:
    """Read and check what a ranker of this kind wrote, before any library sees it.

    Raises OSError when a file is missing, ValueError when it is damaged, foreign or of another kind or schema.
    """
    path = folder / HEADER
    try:
        whole = json.loads(path.read_bytes())
        about = whole["about"]
        intact = _sha256(_canonical(about)) == whole["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a ranker's header: {_one_line(error)}") from None
    if not intact:
        raise ValueError(f"{path} is damaged: its checksum is not the one that it holds")
    try:
        return _checked(folder, kind, about)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a ranker's header: {_one_line(error)}") from None


def _checked(folder: Path, kind: str, about: Mapping[str, Any]) -> Stored:
    path = folder / HEADER
    if about["schema"] != SCHEMA or about["kind"] != kind:
        raise ValueError(
            f"{path} is of kind {about['kind']!r}, schema {about['schema']}; expected kind {kind!r}, schema {SCHEMA}"
        )
    names = tuple(map(str, about["features"]))
    if names_sha256(names) != about["features_sha256"]:
        raise ValueError(f"{path} is damaged: the checksum of its features is another")
    scaling = tuple(Platt(float(slope), float(offset)) for slope, offset in about["scaling"])
    heads = tuple(map(str, about["heads"]))
    if len(scaling) != len(heads):
        raise ValueError(f"{path} has {len(scaling)} scalings, expected {len(heads)}, one for each head")
    files = {}
    for name, checksum in about["files"].items():
        if Path(name).name != name:
            raise ValueError(f"{path} names the file {name!r}, expected one in its own folder")
        files[name] = (folder / name).read_bytes()
        if _sha256(files[name]) != checksum:
            raise ValueError(f"{folder / name} is damaged: its checksum is not the one in {HEADER}")
    common = {"heads": heads, "names": names, "scaling": scaling, "options": about["options"]}
    return Stored(about, files, common)


def _canonical(about: object) -> bytes:
    return json.dumps(about, sort_keys=True, separators=(",", ":")).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())
