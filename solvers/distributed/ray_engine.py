"""Workers as Ray actors, on any number of machines."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import SolverError
from .messages import PATIENCE, FolderMessages
from .ray_cluster import Places, one_line, room_for
from .worker import Worker

RETRIES = 100
"""How often a call is made again whose worker was lost: each is about a second of rounds."""


class Actor:
    """A worker in a process of its own. It reads its shards at the first call, so that what is wrong with them is an answer
    to a call, and not an actor that cannot be made.
    """

    def __init__(self, folder: str, messages: str, number: int, workers: int) -> None:
        self._arguments = folder, messages, number, workers
        self._worker: Worker | None = None

    def call(self, method: str, *arguments: Any) -> Any:
        """What a method of the worker answers."""
        if self._worker is None:
            self._worker = Worker(*self._arguments)
        return getattr(self._worker, method)(*arguments)


class RayEngine:
    """Workers as Ray actors; a lost one is started anew, reads its shards and the messages, and the call is made again.

    messages  a folder that all machines see
    places    see `room_for`
    """

    def __init__(self, folder: Path, messages: Path, workers: int, places: Places) -> None:
        self.workers, self._ray, self._messages = workers, places.ray, FolderMessages(messages)
        self._messages.probe()
        made: Any = self._ray.remote(**places.options, max_restarts=-1, max_task_retries=RETRIES)(Actor)
        paths = str(folder.absolute()), str(messages.absolute())
        self.actors: list[Any] = [made.remote(*paths, number, workers) for number in range(workers)]

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Engine`. Raises SolverError where one did not answer for 2 PATIENCE seconds, or is lost for good."""
        errors = self._ray.exceptions
        try:
            return self._each(method, arguments)
        except errors.GetTimeoutError as error:
            raise SolverError(f"a worker did not answer `{method}` for {2 * PATIENCE:.0f} seconds") from error
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:
            raise SolverError(f"a worker is lost for good: {one_line(error)}") from error

    def _each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        waiting = [part.call.remote(method, *one) for part, one in zip(self.actors, arguments, strict=True)]
        left = list(waiting)
        while left:  # what one raises comes through while others wait for its messages
            done, left = self._ray.wait(left, timeout=2 * PATIENCE)
            self._ray.get(done or left, timeout=1.0)
        return list(self._ray.get(waiting))

    def put(self, name: str, *arrays: Any) -> None:
        """See `Engine`."""
        self._messages.put(name, *arrays)

    def forget(self, step: str) -> None:
        """See `Engine`."""
        self._messages.forget(step)

    def close(self) -> None:
        """See `Engine`."""
        if self._ray.is_initialized():
            for one in self.actors:
                self._ray.kill(one)


@contextmanager
def ray_engine(folder: Path, messages: Path, workers: int) -> Iterator[RayEngine]:
    """A RayEngine on the Ray that the program is connected to, or on one started here."""
    with room_for(workers) as places:
        engine = RayEngine(folder, messages, workers, places)
        try:
            yield engine
        finally:
            engine.close()
