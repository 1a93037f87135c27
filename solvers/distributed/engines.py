"""Where workers run: what an engine does, and threads of this process as one."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol

from .messages import MemoryMessages
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
        self._pools = [ThreadPoolExecutor(1) for _ in range(workers)]  # each does its calls in order, all at once

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Engine`."""
        each = zip(self._pools, self._parts, arguments, strict=True)
        waiting = [pool.submit(getattr(part, method), *one) for pool, part, one in each]
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
        for pool in self._pools:
            pool.shutdown()
