"""Parts of a stage by Ray actors: a lost one is started anew and its part made again."""

import itertools
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .errors import InputError
from .partitions import AHEAD, Parts, Shared, made, one_thread_each

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

    Raises InputError where Ray has fewer processors than workers, or no worker answers for PATIENCE seconds.
    """

    name = "ray"

    def __init__(self, workers: int) -> None:
        self.workers, self._keys, self._started = workers, itertools.count(), False
        self.actors: list[Any] = []

    def share(self, make: Callable[..., Any], *given: Any) -> Shared:
        """See `Engine`: put once into Ray's store, from which processes of a machine read it without a copy."""
        ray = self._ray()
        return Shared(next(self._keys), ray.put((make, given)))

    def run(self, work: Callable[..., Any], parts: Parts, *shared: Shared) -> Iterator[Any]:
        """See `Engine`: whoever is free takes the next part."""
        ray, kept = self._ray(), [(one.key, one.source) for one in shared]
        idle, running, answers = deque(self._begin(ray)), dict[Any, tuple[int, Any]](), dict[int, Any]()
        begun = told = 0
        while told < len(parts):
            while idle and begun < min(len(parts), told + AHEAD * self.workers):
                actor = idle.popleft()
                running[actor.compute.remote(work, kept, parts[begun])] = begun, actor
                begun += 1
            answer = self._next(ray, list(running))
            number, actor = running.pop(answer)
            idle.append(actor)
            answers[number] = self._value(ray, answer)
            while told in answers:
                yield answers.pop(told)
                told += 1

    def rest(self) -> None:
        """See `Engine`. Ray itself stays, for a solve that needs it."""
        if self.actors:
            import ray

            for actor in self.actors:
                ray.kill(actor)
            self.actors = []

    def close(self) -> None:
        """See `Engine`."""
        self.rest()
        if self._started:
            import ray

            ray.shutdown()
            self._started = False

    def _ray(self) -> Any:
        """The package, connected."""
        import ray

        if not ray.is_initialized():
            self._started = True
            ray.init(
                address="local",
                num_cpus=self.workers,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
            )
        processors = int(ray.cluster_resources().get("CPU", 0))
        if processors < self.workers:
            raise InputError(f"workers is {self.workers}, but Ray has {processors} CPUs: one is needed for each worker")
        return ray

    def _begin(self, ray: Any) -> list[Any]:
        """The actors, started where need be."""
        if not self.actors:
            actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(PartWorker)
            self.actors = [actor.remote() for _ in range(self.workers)]
        return self.actors

    def _next(self, ray: Any, running: list[Any]) -> Any:
        """An answer that is there."""
        done, _ = ray.wait(running, num_returns=1, timeout=PATIENCE)
        if not done:
            raise InputError(f"engine ray: no worker answered for {PATIENCE:.0f} seconds")
        return done[0]

    def _value(self, ray: Any, answer: Any) -> Any:
        try:
            return ray.get(answer, timeout=PATIENCE)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.GetTimeoutError:
            raise InputError(f"engine ray: no worker answered for {PATIENCE:.0f} seconds") from None
