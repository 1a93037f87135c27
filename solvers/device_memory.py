"""Where the device auction runs, and whether it has the memory: a CUDA device, or the CPU."""

import torch

from .errors import SolverError
from .memory import available_bytes

DEVICES = ("auto", "cpu", "cuda")

NO_CUDA = 'device is "cuda", but torch finds none that works: this runs on the CPU'
"""What is said where a GPU was asked for and there is none, or none that works."""


def settled_device(asked: str) -> str:
    """`cuda` or `cpu`: what is asked for where it is there and works; `auto` is `cuda` where there is one."""
    return "cuda" if asked != "cpu" and torch.cuda.is_available() and works("cuda") else "cpu"


def works(device: str) -> bool:
    """Whether an operation runs there: a driver that is too old or a GPU that torch has no code for says so only then."""
    try:
        return torch.ones(1, device=device).add_(1).item() == 2
    except torch.OutOfMemoryError:  # it works, for somebody else: the memory is looked at later
        return True
    except (RuntimeError, AssertionError):
        return False


def free_bytes(device: str) -> int | None:
    """Memory of the device that this process may still take; None where the system does not tell."""
    if device == "cpu":
        return available_bytes()
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info()[0]


def check_memory(needed: int, device: str) -> None:
    """Raises SolverError where `needed` bytes are more than the device has free."""
    free = free_bytes(device)
    if free is not None and needed > free:
        raise SolverError(
            f"the auction needs {_size(needed)} on device {device!r}, {_size(free)} are free; use a larger device, "
            "float16 scores, or `auction`"
        )


def _size(count: int) -> str:
    return f"{count:,} bytes ({count / 2**30:.1f} GiB)"
