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
    """The connection to Ray that this process made: its job (None: there is none), how many use it, whether to a cluster."""

    lock = threading.Lock()
    job: str | None = None
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
    job: str | None = None
    try:
        with interrupts_held():  # in the middle, Ray would leave processes behind
            job = _join(ray, workers)
        if job is not None and not _Started.cluster:
            yield Places(ray, {"num_cpus": 0})
        else:
            with _reserved(ray, workers) as options:
                yield Places(ray, options)
    finally:
        if job is not None:
            _leave(ray, job)


def _join(ray: Any, workers: int) -> str | None:
    """The job of the connection made here, by this call or by one that still uses it; None for the program's own."""
    with _Started.lock:
        if ray.is_initialized():
            if _job(ray) != _Started.job:
                return None
        else:
            _connect(ray, workers)
            _Started.job, _Started.users = _job(ray), 0
        _Started.users += 1
        return _Started.job


def _job(ray: Any) -> str:
    """What tells this connection from others: every Ray counts its jobs from 1."""
    context = ray.get_runtime_context()
    return f"{context.gcs_address} {context.get_job_id()}"


def _connect(ray: Any, workers: int) -> None:
    """To the cluster that RAY_ADDRESS names, else to a Ray that starts here."""
    address = os.environ.get("RAY_ADDRESS") or "local"
    _Started.cluster = address != "local"
    here = {} if _Started.cluster else {"num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, **here)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        what = f"no Ray answers at {address}" if _Started.cluster else "Ray does not start on this machine"
        raise SolverError(f"{what}: {one_line(error)}") from error


def _leave(ray: Any, job: str) -> None:
    """Ends the connection after its last user; one that somebody else has ended or replaced is left alone."""
    with _Started.lock, interrupts_held():
        if _Started.job != job:
            return
        _Started.users -= 1
        if _Started.users == 0:
            _Started.job = None
            if ray.is_initialized() and _job(ray) == job:
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
        with interrupts_held():
            if ray.is_initialized():
                remove_placement_group(group)


def one_line(error: BaseException) -> str:
    """The first line of what an error says that says anything."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
