"""Where the parts of a stage are computed: by threads of this process, or by Ray actors on any number of machines.

A part is a function of a module, what all parts read, and what this one is of: nothing else, so that it can be made again
where a worker is lost. Parts are cut by the data alone, never by the number of workers, and their answers come in order.
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

from .errors import InputError

AHEAD = 2
"""Parts begun or waiting for their turn to be handed over, for each worker."""

Parts = Sequence[Any]


@dataclass(frozen=True, eq=False)
class Shared:
    """What all parts of some work read: ``made`` calls it into being, once in each worker. ``source`` is the engine's."""

    key: int
    source: Any


class Engine(Protocol):
    """Computes parts by workers, which start when they are first needed."""

    name: str
    workers: int

    def share(self, make: Callable[..., Any], *given: Any) -> Shared:
        """What `make(*given)` returns, in each worker that needs it; `given` reaches a machine once. Not to be changed."""
        ...

    def run(self, work: Callable[..., Any], parts: Parts, *shared: Shared) -> Iterator[Any]:
        """`work(*shared, part)` of each part, in order, some begun ahead. `work` runs on one thread.

        Raises what `work` raises, and InputError where no worker answers.
        """
        ...

    def rest(self) -> None:
        """Gives up the workers and what they hold, until parts are asked for again."""
        ...

    def close(self) -> None:
        """Ends the workers, and what was started for them."""
        ...


class ThreadEngine:
    """Threads of this process, which hold what they share once."""

    def __init__(self, workers: int, name: str = "threads") -> None:
        self.name, self.workers = name, workers
        self._keys, self._lock = itertools.count(), threading.Lock()
        self._made: dict[int, Any] = {}
        self._pool: ThreadPoolExecutor | None = None

    def share(self, make: Callable[..., Any], *given: Any) -> Shared:
        """See `Engine`."""
        return Shared(next(self._keys), (make, given))

    def run(self, work: Callable[..., Any], parts: Parts, *shared: Shared) -> Iterator[Any]:
        """See `Engine`."""
        values = self._values(shared)
        self._pool = pool = self._pool or ThreadPoolExecutor(self.workers, initializer=one_thread_each)
        waiting: deque[Future[Any]] = deque()
        try:
            for part in parts:
                if len(waiting) == AHEAD * self.workers:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(work, *values, part))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def rest(self) -> None:
        """See `Engine`."""
        self._made.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def close(self) -> None:
        """See `Engine`."""
        self.rest()

    def _values(self, shared: Sequence[Shared]) -> list[Any]:
        """What is shared, made where need be; what other work shared is given up."""
        with self._lock:
            held = {one.key: self._made[one.key] if one.key in self._made else made(one.source) for one in shared}
            self._made = held
            return [held[one.key] for one in shared]


def made(source: tuple[Callable[..., Any], tuple[Any, ...]]) -> Any:
    """Calls a function and its arguments into being."""
    make, given = source
    return make(*given)


def given(value: Any) -> Any:
    """The value itself: for `Engine.share` of what exists already."""
    return value


def one_thread_each() -> None:
    """Torch and faiss on one thread in the thread that calls it."""
    import faiss
    import torch

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)


def ranges(total: int, size: int) -> list[tuple[int, int]]:
    """(first, last) of ranges of ``size`` from 0 to ``total``, the last one shorter: parts cut by the data alone."""
    return [(first, min(first + size, total)) for first in range(0, total, size)]


def make_engine(name: str, workers: int) -> Engine:
    """The engine of that name: "local" is one thread of this process. Raises InputError where Ray is missing."""
    if name == "ray":
        if find_spec("ray") is None:
            raise InputError("engine is 'ray', which needs the package ray: pip install 'dualrec[ray]'")
        from .ray_partitions import RayEngine

        return RayEngine(workers)
    return ThreadEngine(1, "local") if name == "local" else ThreadEngine(workers)
