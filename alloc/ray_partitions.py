"""Parts of a stage by Ray actors: a lost one is started anew and its part made again."""

import itertools
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from ..solvers.distributed.ray_cluster import Places, one_line, room_for
from ..solvers.errors import SolverError
from .errors import InputError
from .partitions import AHEAD, Parts, Shared, made, one_thread_each

RETRIES = 5
"""How often a part is made again whose worker was lost."""

PATIENCE = 1800.0
"""Seconds without any answer after which a stage is given up; a lost worker is back much sooner."""


class PartWorker:
    """Computes parts in a process of its own, and keeps what the last one read."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        one_thread_each()

    def compute(self, work: Callable[..., Any], shared: Sequence[tuple[int, Any]], part: Any) -> Any:
        """`work(*shared, part)`; each of ``shared`` is its key and where it is kept."""
        import ray

        held = {}
        for key, kept in shared:
            held[key] = self._made[key] if key in self._made else made(ray.get(kept, timeout=PATIENCE))
        self._made = held
        return work(*held.values(), part)


class RayEngine:
    """As many actors as there are workers, of the Ray that the program is connected to, else of one started here.

    Raises InputError where Ray has no room for the workers, or no worker answers for PATIENCE seconds.
    """

    name = "ray"

    def __init__(self, workers: int) -> None:
        self.workers, self._keys = workers, itertools.count()
        self._room = ExitStack()
        self._places: Places | None = None
        self.actors: list[Any] = []

    def share(self, make: Callable[..., Any], *given: Any) -> Shared:
        """See `Engine`: put once into Ray's store, from which processes of a machine read it without a copy."""
        return Shared(next(self._keys), self._begun().ray.put((make, given)))

    def run(self, work: Callable[..., Any], parts: Parts, *shared: Shared) -> Iterator[Any]:
        """See `Engine`: whoever is free takes the next part."""
        ray, kept = self._begun().ray, [(one.key, one.source) for one in shared]
        idle, running, answers = deque(self.actors), dict[Any, tuple[int, Any]](), dict[int, Any]()
        begun = told = 0
        try:
            while told < len(parts):
                while idle and begun < min(len(parts), told + AHEAD * self.workers):
                    actor = idle.popleft()
                    running[actor.compute.remote(work, kept, parts[begun])] = begun, actor
                    begun += 1
                answer = _first(ray, list(running))
                number, actor = running.pop(answer)
                idle.append(actor)
                answers[number] = _value(ray, answer)
                while told in answers:
                    yield answers.pop(told)
                    told += 1
        finally:
            if running:  # an error, or nobody wants the rest: nothing that follows shall wait for it
                self._kill()

    def rest(self) -> None:
        """See `Engine`. A Ray that was started here stays, for a solve that needs it."""
        self._kill()
        if self._places is not None and self._places.options["num_cpus"]:
            self.close()  # CPUs of a cluster that were kept for the workers

    def close(self) -> None:
        """See `Engine`."""
        self._kill()
        self._places = None
        self._room.close()

    def _kill(self) -> None:
        if self._places is not None and self._places.ray.is_initialized():
            for actor in self.actors:
                self._places.ray.kill(actor)
        self.actors = []

    def _begun(self) -> Places:
        """Where the actors are, started where need be."""
        if self._places is None:
            try:
                self._places = self._room.enter_context(room_for(self.workers))
            except SolverError as error:
                raise InputError(f"engine ray: {error}") from None
        if not self.actors:
            options = {"max_restarts": -1, "max_task_retries": RETRIES, **self._places.options}
            actor = self._places.ray.remote(**options)(PartWorker)
            self.actors = [actor.remote() for _ in range(self.workers)]
        return self._places


def _first(ray: Any, running: list[Any]) -> Any:
    """The answer that comes first."""
    done, _ = ray.wait(running, num_returns=1, timeout=PATIENCE)
    if not done:
        raise InputError(f"engine ray: no worker answered for {PATIENCE:.0f} seconds")
    return done[0]


def _value(ray: Any, answer: Any) -> Any:
    try:
        return ray.get(answer, timeout=PATIENCE)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayActorError as error:
        lost = f"a worker was lost {RETRIES + 1} times at one part (out of memory?)"
        raise InputError(f"engine ray: {lost}: {one_line(error)}") from None
    except ray.exceptions.RayError as error:  # a store that is full
        raise InputError(f"engine ray: {one_line(error)}") from None
