"""Resident memory of this process: now, and the most since a moment."""

import ctypes
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, see malloc.h
REFERENCES = Path("/proc/self/clear_refs")


def resident_bytes() -> int:
    """Memory that this process holds now; where the system does not tell, the most that it ever held."""
    return _status("VmRSS") if STATUS.exists() else _most_ever()


def peak_bytes() -> int:
    """The most that this process held since `forget_peak`, or since its start where that cannot be forgotten."""
    return _status("VmHWM") if STATUS.exists() else _most_ever()


def forget_peak() -> bool:
    """Lets `peak_bytes` start again from the memory held now; whether the system allows it."""
    try:
        REFERENCES.write_text("5")
    except OSError:
        return False
    return True


def return_free_memory() -> None:
    """Has the C library give back what it keeps for later, so that it is not taken for memory in use."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def keep_little() -> None:
    """Has the C library give back arrays from 1 MiB at once, for good: it then keeps no more of them than are in use."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, 1 << 20)
        library.mallopt(_TRIM_THRESHOLD, 2 << 20)


def available_bytes() -> int | None:
    """Memory of the machine that a process may still take; None where the system does not tell."""
    file = Path("/proc/meminfo")
    return _kibibytes(file, "MemAvailable") if file.exists() else None


def total_bytes() -> int | None:
    """Memory of the machine; None where the system does not tell."""
    file = Path("/proc/meminfo")
    return _kibibytes(file, "MemTotal") if file.exists() else None


def _status(field: str) -> int:
    return _kibibytes(STATUS, field)


def _kibibytes(file: Path, field: str) -> int:
    lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    (line,) = [line for line in lines if line.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024


def _most_ever() -> int:
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
