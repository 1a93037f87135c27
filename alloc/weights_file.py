"""A network's weights on disk: safetensors, and in the header all that loading them needs, with a checksum."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save
from torch import nn

from .artifacts import canonical_json, write_bytes
from .errors import InputError

Network = TypeVar("Network", bound=nn.Module)


def save_weights(path: Path, network: nn.Module, shape: Any, about: Mapping[str, str]) -> None:
    """Write the weights, the dataclass that the network is built from and what else is said ``about`` it. Raises OSError."""
    weights = {name: np.ascontiguousarray(value.numpy()) for name, value in network.state_dict().items()}
    header = {**about, "shape": json.dumps(asdict(shape)), "sha256": _sha256(weights)}
    write_bytes(path, _in_order(save(weights, header)))


def load_weights(
    path: Path, build: Callable[[dict[str, Any]], Network], what: str, vocabulary: str | None = None
) -> Network:
    """Read what `save_weights` wrote into the network that ``build`` makes of its shape; runs no code from the file.

    Raises InputError when it is missing, damaged, foreign (``what`` was expected), or of another vocabulary than the given.
    """
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata()
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        network = build(json.loads(about["shape"]))
        network.load_state_dict(weights)
        intact = _sha256({name: value.numpy() for name, value in weights.items()}) == about["sha256"]
        written = about["vocabulary"]
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except Exception as error:  # the library's own error class is not exported
        raise InputError(f"{path} is not a file of {what}: {error}") from None
    if not intact:
        raise InputError(f"{path} is not a file of {what}: it is damaged, its checksum is another")
    if vocabulary is not None and vocabulary != written:
        raise InputError(
            f"{path} was trained with other categories, user features or kinds of feedback (vocabulary {written[:12]}, "
            f"expected {vocabulary[:12]}); train anew on these data"
        )
    network.requires_grad_(False)
    return network.eval()


def _in_order(raw: bytes) -> bytes:
    """The file with its header's keys sorted: safetensors writes those of the metadata in an order of chance."""
    size = int.from_bytes(raw[:8], "little")
    text = canonical_json(json.loads(raw[8 : 8 + size])).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + raw[8 + size :]


def _sha256(weights: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].shape} {weights[name].dtype}\0".encode())
        digest.update(np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()
