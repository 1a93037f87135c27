"""A connection to Ray: that of the program, or one started on this machine for as long as anybody here uses it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..errors import SolverError

ROOM_PATIENCE = 60.0
"""Seconds to wait for free CPUs of a cluster that others use as well."""


class _Started:
    """The Ray that was started by this process, and how many use it: 0 where there is none."""

    lock = threading.Lock()
    users = 0


class Places(NamedTuple):
    """Where actors go: the module ray, and the options of an actor (`ray.remote(**options)`)."""

    ray: Any
    options: dict[str, Any]


@contextmanager
def room_for(workers: int) -> Iterator[Places]:
    """Room for so many actors: all of it or none.

    On a cluster that the program is connected to, a CPU for each actor is reserved, on different machines where it can be.
    Without a cluster a Ray is started on this machine and ended by the last who uses it; there actors share the CPUs.
    Raises SolverError where Ray is missing, does not start, or has no room for ROOM_PATIENCE seconds.
    """
    try:
        import ray
    except ImportError as error:
        raise SolverError("engine ray needs the package ray: pip install 'dualrec[ray]'") from error
    mine = _join(ray, workers)
    try:
        if mine:
            yield Places(ray, {"num_cpus": 0})
        else:
            with _reserved(ray, workers) as options:
                yield Places(ray, options)
    finally:
        if mine:
            _leave(ray)


def _join(ray: Any, workers: int) -> bool:
    """Whether Ray was started here, by this call or by one that still uses it."""
    with _Started.lock:
        if not ray.is_initialized():
            _Started.users = 0  # somebody else may have ended it
            try:
                ray.init(
                    address="local",
                    num_cpus=workers,
                    include_dashboard=False,
                    log_to_driver=False,
                    configure_logging=False,
                )
            except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
                raise SolverError(f"Ray does not start on this machine: {one_line(error)}") from error
        elif not _Started.users:
            return False
        _Started.users += 1
        return True


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
