"""Where the training, the exact search and the auction of a night run: what the config asks for, and what there is."""

from ..solvers.step import Solver
from .config import Config
from .errors import InputError
from .progress import Progress


def settle_device(config: Config, progress: Progress) -> Config:
    """The config with `device` and `retrieval.device` as they will be, `cpu` or `cuda`; says in one line where a GPU was
    asked for and there is none.

    So a night that falls back is the night on the CPU, the same bytes under the same key. Torch loads only where a device
    other than the CPU is asked for. Raises InputError for workers and a GPU at once; `auto` is the CPU with workers.
    """
    asked = {config.device, config.retrieval.device}
    if asked == {"cpu"}:
        return config
    from ..solvers.device_memory import NO_CUDA, settled_device

    there = settled_device("cuda")
    if there == "cpu" and "cuda" in asked:
        progress.note(NO_CUDA)
    if there == "cuda" and "cuda" in asked and config.engine != "local":
        raise InputError(f"device is cuda and engine is {config.engine}, expected one of them: workers have no GPU")
    device = "cpu" if config.device == "auto" and config.engine != "local" else config.device
    settled = {"device": "cpu" if device == "cpu" else there}
    searched = {"device": "cpu" if config.retrieval.device == "cpu" else there}
    return config.model_copy(update={**settled, "retrieval": config.retrieval.model_copy(update=searched)})


def auction_on(device: str) -> str | Solver:
    """The auction for `solve` on a settled device: on the CPU the solver of that name, which is the reference."""
    if device == "cpu":
        return "auction"
    from ..solvers.device_auction import DeviceAuction

    return DeviceAuction(device=device)
