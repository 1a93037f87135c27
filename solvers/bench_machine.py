"""What a measurement was made on: processor, memory, versions."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from .memory import total_bytes
from .threads import cores

LIBRARIES = ("dualrec", "numpy", "scipy", "numba", "ortools")


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory in GiB, system, versions of Python and the libraries."""
    memory = total_bytes()
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_gib": None if memory is None else round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def processor() -> str:
    """The processor's name, with its family and model where Linux tells them."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return platform.processor() or platform.machine()
    first = file.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    name = fields.get("model name", platform.machine())
    return f"{name} (family {fields['cpu family']}, model {fields['model']})" if "cpu family" in fields else name


def load_average() -> float | None:
    """Processes that wanted a core during the last minute, on average; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
