"""The towers' weights on disk: safetensors, with the network's shape in the header."""

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from ..models.tower_training import shape_record
from ..models.towers import Towers, TowerShape
from .artifacts import write_bytes
from .errors import InputError

FILE = "towers.safetensors"


def save_towers(folder: Path, towers: Towers) -> None:
    """Write the weights and the shape. Raises OSError."""
    weights = {name: np.ascontiguousarray(value.numpy()) for name, value in towers.state_dict().items()}
    write_bytes(folder / FILE, save(weights, {"shape": json.dumps(shape_record(towers))}))


def load_towers(folder: Path) -> Towers:
    """Read what ``save_towers`` wrote; runs no code from the file. Raises InputError when it is damaged or foreign."""
    path = folder / FILE
    try:
        with safe_open(path, "pt") as file:
            shape = TowerShape(**json.loads(file.metadata()["shape"]))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        towers = Towers(shape)
        towers.load_state_dict(weights)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except Exception as error:  # the library's own error class is not exported
        raise InputError(f"{path} is not a file of tower weights: {error}") from None
    towers.requires_grad_(False)
    return towers.eval()
