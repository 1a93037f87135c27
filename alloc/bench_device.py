"""The auction and the exact search on a device, each beside its floor: `python -m dualrec.alloc.bench_device`.

The floor of each is the time in which the device would copy the bytes that it reads: for the auction 6 an edge (an int32
and a float16) and pass, for the search a float32 a pair, written once and read once.
"""

import argparse
import math
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..models.exact_search import ExactSearch
from ..models.inner_product import InnerProduct
from ..solvers.bench import write_result
from ..solvers.bench_machine import machine
from ..solvers.device_auction import FEW_MISSING, PASSES, DeviceAuction, first_share
from ..solvers.device_certificate import certify_rows
from ..solvers.device_instances import SkewedOnDevice
from ..solvers.device_memory import DEVICES, NO_CUDA, check_memory, settled_device
from ..solvers.device_rounds import DeviceRounds
from ..solvers.device_run import needed_bytes
from ..solvers.errors import SolverError

SCHEMA = 1
EDGE_BYTES, PAIR_BYTES = 6, 8
COPIED = {"cuda": 1 << 30, "cpu": 1 << 27}
"""Bytes of the copy that measures the bandwidth."""

SIZES = {"cuda": (200.0, 1000.0, 4000.0), "cpu": (2.0,)}
SEARCHES = {"cuda": ("4096x1000000", "4096x10000000"), "cpu": ("64x100000",)}
DIMENSIONS, BEST = 64, 300


def bandwidth(device: str) -> float:
    """Bytes a second that a copy reads and writes, the best of five."""
    source = torch.zeros(COPIED[device], dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    return max(2 * COPIED[device] / _seconds(lambda: target.copy_(source), device)[0] for _ in range(5))


def measure_auction(millions: float, gap: float, device: str, bytes_a_second: float) -> dict[str, Any]:
    """Seconds from rows on the device to matches and prices there within the gap, the certificate apart."""
    family = _family(millions)
    edges, passes, seconds = family.items * family.candidates, 0.0, 0.0
    length, demand = np.full(family.items, family.candidates), np.full(family.items, family.demand)
    capacity = np.full(family.users, family.capacity, np.int32)
    told: dict[str, Any] = {"what": "auction", "edges": edges, "items": family.items, "users": family.users}
    try:
        check_memory(needed_bytes(length, 2, demand, capacity, device), device)
    except SolverError as error:
        return told | {"status": str(error)}
    making, rows = _seconds(lambda: family.make(device), device)
    places, options = torch.tensor(capacity, device=device), DeviceAuction(device=device)
    share, rounds = first_share(gap, options.first_eps), 0
    mean = float(rows.score[: 1 << 20].float().mean())
    for _ in range(options.max_steps + 1):
        rows.give_back()
        took, (found, price) = _seconds(lambda: _auction(rows, places, share * mean, gap), device)  # noqa: B023
        certifying, certificate = _seconds(lambda: certify_rows(rows, places, price), device)  # noqa: B023
        seconds, passes, rounds = seconds + took, passes + found.read / edges, rounds + found.rounds
        if certificate.gap <= gap:
            break
        share *= options.shrink
    floor = passes * edges * EDGE_BYTES / bytes_a_second
    figures = {"gap_asked": gap, "gap": certificate.gap, "value": certificate.value, "bound": certificate.bound}
    times = {"seconds": seconds, "floor_seconds": floor, "times_floor": seconds / floor}
    apart = {"seconds_to_make": making, "seconds_to_certify": certifying, "peak_bytes": _peak(device)}
    return told | {"status": "measured", "passes": passes, "rounds": rounds, **figures, **times, **apart}


def measure_search(items: int, users: int, device: str, bytes_a_second: float) -> dict[str, Any]:
    """Seconds in which the items each get their BEST best users of all at prices, of vectors of DIMENSIONS numbers."""
    rng = np.random.default_rng(0)
    vectors = [rng.normal(0.1, 1.0, (count, DIMENSIONS)).astype(np.float32) for count in (items, users)]
    of, prices = InnerProduct(*vectors), rng.random(users)
    search = ExactSearch(lambda rows, first, last: of.tile(rows, first, last, device), items, users, device=device)
    search.best(np.arange(min(items, 8)), prices, BEST)  # the vectors are copied, the kernels loaded
    seconds, _ = _seconds(lambda: search.best(np.arange(items), prices, BEST), device)
    floor = items * users * PAIR_BYTES / bytes_a_second
    told = {"what": "search", "items": items, "users": users, "dimensions": DIMENSIONS, "best": BEST}
    times = {"seconds": seconds, "floor_seconds": floor, "times_floor": seconds / floor}
    return told | {"status": "measured", **times, "peak_bytes": _peak(device)}


def line(told: dict[str, Any]) -> str:
    """What was measured, in one line."""
    size = f"{told['edges'] / 1e6:,g} M edges" if "edges" in told else f"{told['items']:,} x {told['users']:,} pairs"
    if told["status"] != "measured":
        return f"{told['what']}, {size}: {told['status']}"
    reads = f", gap {told['gap']:.1e}, {told['passes']:.1f} reads, {told['rounds']} rounds" if "gap" in told else ""
    floor = f"{told['times_floor']:.1f} times the floor of {told['floor_seconds']:.3g} s"
    return f"{told['what']}, {size}: {told['seconds']:.3g} s, {floor}{reads}"


def _auction(rows: Any, places: torch.Tensor, eps: float, gap: float) -> tuple[DeviceRounds, torch.Tensor]:
    with torch.no_grad():
        rounds = DeviceRounds(rows, places)
        look = rounds.run(eps, FEW_MISSING * gap, PASSES * rows.size, lambda: False)
        price = rounds.places.price[: rows.users].clone()
        rounds.close(look, lambda: False)
    return rounds, price


def _family(millions: float) -> SkewedOnDevice:
    """200,000 items and 1.5 M users at 200 M edges."""
    scale, whole = millions / 200, SkewedOnDevice()
    return replace(whole, items=max(1, round(whole.items * scale)), users=max(2_000, round(whole.users * scale)))


def _seconds(work: Any, device: str) -> tuple[float, Any]:
    _wait(device)
    start = time.perf_counter()
    done = work()
    _wait(device)
    return time.perf_counter() - start, done


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _peak(device: str) -> int | None:
    if device == "cpu":
        return None
    peak = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return peak


def _positive(word: str) -> float:
    number = float(word)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{word}: expected a number above 0")
    return number


def _size(word: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]+)x([0-9]+)", word)
    size = (int(found[1]), int(found[2])) if found else (0, 0)
    if min(size) < 1:
        raise argparse.ArgumentTypeError(f"{word}: expected ITEMSxUSERS, both at least 1, such as 64x100000")
    return size


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m dualrec.alloc.bench_device", description=__doc__)
    parser.add_argument("--device", choices=DEVICES, default="auto", help="(default: a GPU where there is one)")
    parser.add_argument("--millions", type=_positive, nargs="*", help=f"edges of the auctions (default: {SIZES})")
    parser.add_argument("--search", type=_size, nargs="*", help=f"ITEMSxUSERS of the searches (default: {SEARCHES})")
    parser.add_argument("--gap", type=_positive, default=1e-3)
    parser.add_argument("--json", type=Path, help="file for the result")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Measures, prints a line each, and writes the result."""
    given = arguments(words)
    device = settled_device(given.device)
    if device == "cpu" and given.device == "cuda":
        print(NO_CUDA, file=sys.stderr)
    speed = bandwidth(device)
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    about = {
        "device": name,
        "torch": torch.__version__,
        "copy_bytes_a_second": speed,
        "threads": torch.get_num_threads(),
    }
    print(f"{name}: copies {speed / 1e9:,.0f} GB/s (read and written)")
    runs: list[dict[str, Any]] = []
    for millions in SIZES[device] if given.millions is None else given.millions:
        runs.append(measure_auction(millions, given.gap, device, speed))
        print(line(runs[-1]), flush=True)
    for items, users in map(_size, SEARCHES[device]) if given.search is None else given.search:
        runs.append(measure_search(items, users, device, speed))
        print(line(runs[-1]), flush=True)
    if given.json is not None:
        write_result({"schema": SCHEMA, "machine": machine(), **about, "runs": runs}, given.json)


if __name__ == "__main__":
    main()
