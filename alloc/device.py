"""Where the exact search and the auction of a night run: what the config asks for, and what there is."""

from ..solvers.step import Solver
from .config import Config
from .progress import Progress


def settle_device(config: Config, progress: Progress) -> Config:
    """The config with `device` as it will be, `cpu` or `cuda`; says in one line where a GPU was asked for and there is none.

    So a night that falls back is the night on the CPU, the same bytes under the same key. Torch loads only where a device
    other than the CPU is asked for.
    """
    if config.device == "cpu":
        return config
    from ..solvers.device_memory import NO_CUDA, settled_device

    device = settled_device(config.device)
    if device == "cpu" and config.device == "cuda":
        progress.note(NO_CUDA)
    return config.model_copy(update={"device": device})


def auction_on(device: str) -> str | Solver:
    """The auction for `solve` on a settled device: on the CPU the solver of that name, which is the reference."""
    if device == "cpu":
        return "auction"
    from ..solvers.device_auction import DeviceAuction

    return DeviceAuction(device=device)
