"""What a solver and the driver in `solve.py` say to each other: steps one way, time the other."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from .problem import Problem


@dataclass(frozen=True, eq=False)
class Step:
    """A feasible allocation and prices to certify it with; `notes` goes to `on_step` beside the certificate.

    chosen        int64[matches] edge numbers, ascending
    prices        float64[users], finite and >= 0
    group_prices  float64[groups], finite and >= 0: what a (user, creator) limit adds to the price; None: all 0
    """

    chosen: np.ndarray
    prices: np.ndarray
    notes: dict[str, Any] = field(default_factory=dict)
    group_prices: np.ndarray | None = None


class Clock:
    """Wall time since the start, the moment to stop, and whether the user pressed Ctrl-C."""

    def __init__(self, time_limit: float | None = None) -> None:
        self._start = time.perf_counter()
        self._limit = time_limit
        self.interrupted = False

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    @property
    def left(self) -> float | None:
        """Seconds left of the limit, 0 once it has passed; None without one."""
        return None if self._limit is None else max(0.0, self._limit - self.seconds)

    @property
    def out_of_time(self) -> bool:
        """Whether the time limit has passed."""
        return self._limit is not None and self.seconds >= self._limit

    @property
    def stop(self) -> bool:
        """Whether a solver should hand back what it has."""
        return self.interrupted or self.out_of_time


@dataclass(frozen=True, eq=False)
class Goal:
    """What is asked of a solver: the gap, the time left, and where to start.

    start_prices  float64[users] >= 0 to start from, or None
    start_chosen  int64[matches], ascending: a feasible allocation to start from, certified by the driver before; or None
    threads       most threads that a solver may use, at least 1
    """

    gap: float
    clock: Clock
    start_prices: np.ndarray | None = None
    start_chosen: np.ndarray | None = None
    threads: int = 1


class Solver(Protocol):
    """A solver is its options, frozen. `steps` yields answers; the driver certifies each and may stop asking.

    promises  whether going on leads to any gap asked for; False: take the answer as it is
    """

    promises: ClassVar[bool]

    @property
    def name(self) -> str:
        """As in `solve(problem, name)`."""
        ...

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        """Answers in order; each feasible. After `goal.clock.stop` at most one more."""
        ...
