"""Where workers run: threads of this process, or Ray actors on any number of machines."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol

from ..errors import SolverError
from .messages import PATIENCE, FolderMessages, MemoryMessages
from .worker import Worker


class Engine(Protocol):
    """Calls the same method of every worker, each with arguments of its own."""

    workers: int

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers in order of the workers. Raises what a worker raises."""
        ...

    def put(self, name: str, *arrays: Any) -> None:
        """A message of the driver's own."""
        ...

    def forget(self, step: str) -> None:
        """Deletes the messages of a step."""
        ...

    def close(self) -> None:
        """Ends the workers."""
        ...


class ThreadEngine:
    """Workers as threads of this process, their messages in memory: the reference, and for tests."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.workers, self._messages = workers, MemoryMessages()
        self._parts = [Worker(str(folder), self._messages, number, workers) for number in range(workers)]
        self._pool = ThreadPoolExecutor(workers)  # all at once, as they wait for each other

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Engine`."""
        waiting = [
            self._pool.submit(getattr(part, method), *one) for part, one in zip(self._parts, arguments, strict=True)
        ]
        for one in as_completed(waiting):
            if one.exception() is not None:
                self._messages.give_up()  # nobody need wait for the messages of this one
                one.result()
        return [one.result() for one in waiting]

    def put(self, name: str, *arrays: Any) -> None:
        """See `Engine`."""
        self._messages.put(name, *arrays)

    def forget(self, step: str) -> None:
        """See `Engine`."""
        self._messages.forget(step)

    def close(self) -> None:
        """See `Engine`."""
        self._pool.shutdown()


class RayEngine:
    """Workers as Ray actors; a lost one is started anew, reads its shards and the messages, and the call is made again.

    ``messages``: a folder that all machines see. Uses the Ray that the program is connected to, or starts one here.
    """

    def __init__(self, folder: Path, messages: Path, workers: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise SolverError("engine ray needs the package ray: pip install 'dualrec[ray]'") from error
        self.workers, self._ray, self._started = workers, ray, not ray.is_initialized()
        if self._started:
            ray.init(
                address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False, configure_logging=False
            )
        processors = int(ray.cluster_resources().get("CPU", 0))
        if processors < workers:
            raise SolverError(f"Ray has {processors} CPUs, expected {workers}: one for each worker")
        self._messages = FolderMessages(messages)
        actor: Any = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(Worker)
        self.actors: list[Any] = [
            actor.remote(str(folder), str(messages), number, workers) for number in range(workers)
        ]

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Engine`. Raises SolverError where one did not answer for 2 PATIENCE seconds."""
        waiting = [getattr(part, method).remote(*one) for part, one in zip(self.actors, arguments, strict=True)]
        left = list(waiting)
        try:
            while left:  # what one raises comes through while others wait for its messages
                done, left = self._ray.wait(left, timeout=2 * PATIENCE)
                self._ray.get(done or left, timeout=1.0)
            return list(self._ray.get(waiting))
        except self._ray.exceptions.GetTimeoutError as error:
            raise SolverError(f"a worker did not answer `{method}` for {2 * PATIENCE:.0f} seconds") from error
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None

    def put(self, name: str, *arrays: Any) -> None:
        """See `Engine`."""
        self._messages.put(name, *arrays)

    def forget(self, step: str) -> None:
        """See `Engine`."""
        self._messages.forget(step)

    def close(self) -> None:
        """See `Engine`."""
        for one in self.actors:
            self._ray.kill(one)
        if self._started:
            self._ray.shutdown()
