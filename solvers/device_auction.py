"""`DeviceAuction`: the auction on one CUDA GPU, or by the same code on the CPU."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .auction import LEAST_EPS, POWER, SMALLEST_FIRST_EPS, USUAL_EPS, USUAL_GAP
from .errors import ProblemError
from .problem import Problem
from .step import Goal, Step

if TYPE_CHECKING:
    from .device_run import DeviceRun

FEW_MISSING = 0.05
"""Share of the gap asked for; so few places still bid for, of all that are held, are filled with who is free."""

PASSES, SMALL_WORK = 200.0, 5e7
"""Most reads of all edges; or, if more, edges read with 5,000 for each round: 10,000 rounds of a problem that is small."""

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class DeviceAuction:
    """The block auction as PyTorch operations on one GPU; the same code runs on a CPU, 5 to 30 times slower than `Auction`.

    In a round a block of items bids at the same prices, then users keep their best bids; the host launches several rounds
    before it looks at who still waits. Items that miss few places bid from short lists, as prices only
    rise. Guarantees, given `passes` enough: as `Auction`, value >= optimum - eps * matches, but for the few places that are
    filled at the end with who is free; the certificate tells. It knows no floors and no (user, creator) limits,
    starts from zero prices whatever `start` is, and has no last resort for gaps below about 1e-5. The answer is the same on
    every run on one device; two kinds of device may differ.

    Memory of the device: 6 bytes an edge where float16 holds the scores, else 8 (a third more at the worst where rows
    differ in length, and as much again while they are copied), 8 bytes a place, 48 a user, about 700 an item, up to 40 an
    edge of a block (64 M edges). SolverError where it has less. Time: every read of an edge is of those 6 or 8 bytes and of
    a price; 2 to 5 reads where capacities bind softly, 10 to 20 where demand is 99 % of supply.

    device     "cuda"; "cpu"; "auto": a GPU where there is one. "cuda" where there is none warns and runs on the CPU
    first_eps, shrink, max_steps  as in `Auction`
    passes     most reads of all edges; None: 200, or in a small problem as many as 10,000 rounds make. Price wars of
               many ties can take more and end with `step_limit`, filled by who is free: 3 of 400 small random problems
               missed 1e-3, with gaps up to 5e-3
    """

    device: str = "auto"
    first_eps: float = 0.1
    shrink: float = 0.2
    max_steps: int = 4
    passes: float | None = None

    name: ClassVar[str] = "device-auction"
    promises: ClassVar[bool] = True

    def __post_init__(self) -> None:
        numbers = (
            self.first_eps > 0
            and 0 < self.shrink < 1
            and self.max_steps >= 0
            and (self.passes is None or self.passes > 0)
        )
        if not (numbers and self.device in DEVICES):
            raise ValueError(
                f"{self}: expected device one of {', '.join(DEVICES)}, first_eps > 0, 0 < shrink < 1, max_steps >= 0, "
                "passes > 0"
            )

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        """Answers for smaller and smaller eps, each from zero prices."""
        if problem.floor is not None or problem.group is not None:
            raise ProblemError("the auction on a device knows no floors and no (user, creator) limits; use `auction`")
        from .device_memory import NO_CUDA, settled_device
        from .device_run import DeviceRun

        device = settled_device(self.device)
        if device != self.device and self.device == "cuda":
            warnings.warn(NO_CUDA, stacklevel=2)
        yield from self._steps(DeviceRun(problem, goal, device), goal)

    def _steps(self, run: "DeviceRun", goal: Goal) -> Iterator[Step]:
        share = first_share(goal.gap, self.first_eps)
        left, least = (PASSES, SMALL_WORK) if self.passes is None else (self.passes, 0.0)
        for _ in range(self.max_steps + 1):
            yield run.step(share, FEW_MISSING * goal.gap, left, least)
            share, left, least = share * self.shrink, left - run.passes, least - run.work
            if goal.clock.stop or max(left, least) <= 0 or share < LEAST_EPS or run.finest_eps(share) >= run.eps:
                return


def first_share(gap: float, first_eps: float) -> float:
    """Eps of the first step, as a share of the mean score: see `Auction`."""
    return min(first_eps, max(USUAL_EPS * (gap / USUAL_GAP) ** POWER, SMALLEST_FIRST_EPS))
