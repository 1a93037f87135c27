"""A connection to Ray: that of the program, one to a named cluster, or a Ray of this machine while anybody here uses it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..errors import SolverError
from ..interrupt import interrupts_held

ROOM_PATIENCE = 60.0
"""Seconds to wait for free CPUs of a cluster that others use as well."""


class _Started:
    """The connection to Ray that this process made, how many use it (0: there is none), and whether it is to a cluster."""

    lock = threading.Lock()
    users = 0
    cluster = False


class Places(NamedTuple):
    """Where actors go: the module ray, and the options of an actor (`ray.remote(**options)`)."""

    ray: Any
    options: dict[str, Any]


@contextmanager
def room_for(workers: int) -> Iterator[Places]:
    """Room for so many actors: all of it or none.

    On a cluster, to which the program is connected or which the variable RAY_ADDRESS names, a CPU for each actor is
    reserved, on different machines where it can be. Without one a Ray is started on this machine, where actors share the
    CPUs. What was connected or started here is ended by the last who uses it.
    Raises SolverError where Ray is missing, does not start, or has no room for ROOM_PATIENCE seconds.
    """
    try:
        import ray
    except ImportError as error:
        raise SolverError("engine ray needs the package ray: pip install 'dualrec[ray]'") from error
    mine = _join(ray, workers)
    try:
        if mine and not _Started.cluster:
            yield Places(ray, {"num_cpus": 0})
        else:
            with _reserved(ray, workers) as options:
                yield Places(ray, options)
    finally:
        if mine:
            _leave(ray)


def _join(ray: Any, workers: int) -> bool:
    """Whether the connection was made here, by this call or by one that still uses it."""
    with _Started.lock:
        if not ray.is_initialized():
            _Started.users = 0  # somebody else may have ended it
            _connect(ray, workers)
        elif not _Started.users:
            return False
        _Started.users += 1
        return True


def _connect(ray: Any, workers: int) -> None:
    """To the cluster that RAY_ADDRESS names, else to a Ray that starts here."""
    address = os.environ.get("RAY_ADDRESS", "local")
    _Started.cluster = address != "local"
    here = {} if _Started.cluster else {"num_cpus": workers, "include_dashboard": False}
    try:
        with interrupts_held():  # in the middle, Ray would leave processes behind
            ray.init(address=address, log_to_driver=False, configure_logging=False, **here)
    except KeyboardInterrupt:
        ray.shutdown()
        raise
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        what = f"no Ray answers at {address}" if _Started.cluster else "Ray does not start on this machine"
        raise SolverError(f"{what}: {one_line(error)}") from error


def _leave(ray: Any) -> None:
    with _Started.lock:
        _Started.users -= 1
        if _Started.users == 0:
            ray.shutdown()


@contextmanager
def _reserved(ray: Any, workers: int) -> Iterator[dict[str, Any]]:
    """A CPU for each actor, reserved at once so that two solves never wait for each other's halves."""
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    processors = int(ray.cluster_resources().get("CPU", 0))
    if processors < workers:
        raise SolverError(f"Ray has {processors} CPUs, expected {workers}: one for each worker")
    group = placement_group([{"CPU": 1}] * workers, strategy="SPREAD")
    try:
        if not group.wait(ROOM_PATIENCE):
            free = int(ray.available_resources().get("CPU", 0))
            raise SolverError(
                f"Ray has {free} free CPUs of {processors}, expected {workers}: one for each worker; "
                f"waited {ROOM_PATIENCE:.0f} seconds"
            )
        yield {"num_cpus": 1, "scheduling_strategy": PlacementGroupSchedulingStrategy(group)}
    finally:
        if ray.is_initialized():
            remove_placement_group(group)


def one_line(error: BaseException) -> str:
    """The first line of what an error says that says anything."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
