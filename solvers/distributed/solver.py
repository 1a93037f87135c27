"""`Distributed`: the auction over several workers, as a solver of a problem that this process holds."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..auction import LEAST_EPS
from ..errors import ProblemError, SolverError
from ..problem import Problem
from ..step import Goal, Step
from .engines import Engine, RayEngine, ThreadEngine
from .session import Held, Session, first_share
from .shards import Shards, open_shards, write_shards
from .worker import Round

ENGINES = ("ray", "threads")


@dataclass(frozen=True)
class Distributed:
    """The block auction with items and users cut into shards over workers; the answer is the same for any number of them.

    In a round a worker's items bid at the prices they know, then its users keep the best bids they got, and say who lost and
    what a place costs now. Bids and answers are messages in a folder that all workers see, written once: a worker that is
    lost is started anew, reads them again, and goes on with the round at hand. Few places that are still bid for at the end
    are filled with who is free. Guarantees: as `Auction`, value >= optimum - eps * matches but for these few; the
    certificate tells. It knows no floors and no (user, creator) limits, and no last resort for gaps below about 1e-5.

    Memory of a worker: its edges (8 bytes), 5 bytes a user of the whole, 8 a place of its users, 768 an item of its own.
    Messages: 16 bytes a bid, about two bids a match; they stay until the step is done with.

    workers     processes, at most one a core where the time matters
    engine      ray: actors, of the Ray the program is connected to, else one on this machine; threads: in this process
    folder      where shards and messages go, seen by all workers; None: a temporary folder of this machine
    first_eps, shrink, max_steps, passes  as in `Auction`
    """

    workers: int = 4
    engine: str = "ray"
    folder: str | None = None
    first_eps: float = 0.1
    shrink: float = 0.2
    max_steps: int = 4
    passes: float = 60.0

    name: ClassVar[str] = "distributed"
    promises: ClassVar[bool] = True

    def __post_init__(self) -> None:
        numbers = self.first_eps > 0 and 0 < self.shrink < 1 and self.max_steps >= 0 and self.passes > 0
        if not (numbers and isinstance(self.workers, int) and self.workers >= 1 and self.engine in ENGINES):
            raise ValueError(
                f"{self}: expected workers >= 1, engine one of {', '.join(ENGINES)}, first_eps > 0, 0 < shrink < 1, "
                "max_steps >= 0, passes > 0"
            )

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        """Answers for smaller and smaller eps, each from zero prices."""
        if problem.floor is not None or problem.group is not None:
            raise ProblemError("the distributed auction knows no floors and no (user, creator) limits; use `auction`")
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="dualrec-") as folder:
            shards = open_shards(write_shards(problem, Path(folder) / "shards"))
            with started(self.engine, shards, self.workers, Path(folder)) as engine:
                session = Session(shards, engine)
                for held in steps_of(session, self, goal):
                    yield Step(session.chosen(held), held.prices, notes_of(held, shards))
                    session.forget(held)


def steps_of(
    session: Session, options: Distributed, goal: Goal, on_round: Callable[[Round], None] | None = None
) -> Iterator[Held]:
    """The steps of a solve, one after the other while they are asked for."""
    share, left = first_share(goal.gap, options.first_eps), options.passes
    for number in range(options.max_steps + 1):
        held = session.step(f"step{number}", share, goal.gap, left, lambda: goal.clock.stop, on_round)
        yield held
        share, left = share * options.shrink, left - held.read / max(1, session.shards.edges)
        if goal.clock.stop or left <= 0 or share < LEAST_EPS or share * session.mean_score <= session.rounding:
            return


def notes_of(held: Held, shards: Shards) -> dict[str, float | int]:
    """What a step tells: eps, passes (reads of all edges), rounds, and items that still waited."""
    notes = {"eps": held.eps, "passes": held.read / max(1, shards.edges), "rounds": held.rounds}
    return notes | ({"bidding": held.bidding} if held.bidding else {})


@contextmanager
def started(engine: str, shards: Shards, workers: int, folder: Path) -> Iterator[Engine]:
    """An engine whose workers have read their shards; its messages are in a new folder inside ``folder``."""
    if engine == "threads":
        made: Engine = ThreadEngine(shards.folder, workers)
    elif engine == "ray":
        with tempfile.TemporaryDirectory(dir=folder, prefix="messages-") as messages:
            made = RayEngine(shards.folder, Path(messages), workers)
            try:
                yield made
            finally:
                made.close()
        return
    else:
        raise SolverError(f"engine is {engine!r}, expected one of {', '.join(ENGINES)}")
    try:
        yield made
    finally:
        made.close()
