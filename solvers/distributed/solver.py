"""`Distributed`: the auction over several workers, as a solver of a problem that this process holds."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import ClassVar

from ..auction import LEAST_EPS
from ..errors import ProblemError, SolverError
from ..problem import Problem
from ..step import Goal, Step
from .engines import Engine, ThreadEngine
from .session import Held, Session, first_share
from .shard_writer import write_shards
from .shards import Shards, open_shards
from .worker import Round

ENGINES = ("ray", "threads")

SHARDS, SHARDS_A_WORKER = 64, 4
"""Shards of a problem: workers get whole ones, so that few would be shared out unevenly."""


@dataclass(frozen=True)
class Distributed:
    """The block auction with items and users cut into shards over workers; the answer is the same for any number of them.

    In a round a worker's items bid at the prices they know, then its users keep the best bids they got, and say who lost and
    what a place costs now. Bids and answers are messages in a folder that all workers see, written once: a worker that is
    lost is started anew, reads them again, and goes on with the round at hand. Few places that are still bid for at the end
    are filled with who is free. Guarantees: as `Auction`, value >= optimum - eps * matches but for these few; the
    certificate tells. It knows no floors and no (user, creator) limits, and no last resort for gaps below about 1e-5.

    Memory of a worker: its edges (8 bytes), 17 bytes a user of the whole (5 in rounds, 12 more while it certifies), 8 a
    place of its users, 768 an item of its own, 13 an item of the whole.
    Messages: 16 bytes a bid, about two bids a match; they stay until the step is done with.

    workers     processes, at most one a core where the time matters
    engine      ray: actors, of the Ray the program is connected to, else one on this machine; threads: in this process
    folder      where shards and messages go, seen by all workers (on NFS: mounted with lookupcache=positive, or each round
                waits for what a client remembers not to be there); None: a temporary folder of this machine
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
        counted = isinstance(self.workers, Integral) and not isinstance(self.workers, bool) and self.workers >= 1
        if not (numbers and counted and self.engine in ENGINES):
            raise ValueError(
                f"{self}: expected workers >= 1, engine one of {', '.join(ENGINES)}, first_eps > 0, 0 < shrink < 1, "
                "max_steps >= 0, passes > 0"
            )
        object.__setattr__(self, "workers", int(self.workers))  # NumPy's numbers do not go into result.json
        object.__setattr__(self, "folder", None if self.folder is None else str(self.folder))

    def steps(self, problem: Problem, goal: Goal) -> Iterator[Step]:
        """Answers for smaller and smaller eps, each from zero prices."""
        if problem.floor is not None or problem.group is not None:
            raise ProblemError("the distributed auction knows no floors and no (user, creator) limits; use `auction`")
        with temporary(None if self.folder is None else Path(self.folder), "dualrec-") as folder:
            shards = open_shards(write_shards(problem, folder / "shards", max(SHARDS, SHARDS_A_WORKER * self.workers)))
            with started(self.engine, shards, self.workers, folder) as engine:
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
    """An engine whose workers have their shards; its messages are in a new folder inside ``folder``."""
    if engine == "threads":
        made = ThreadEngine(shards.folder, workers)
        try:
            yield made
        finally:
            made.close()
        return
    from .ray_engine import ray_engine

    with temporary(folder, "messages-") as messages, ray_engine(shards.folder, messages, workers) as on_ray:
        yield on_ray


@contextmanager
def temporary(folder: Path | None, prefix: str) -> Iterator[Path]:
    """A new folder inside ``folder`` (None: of this machine), deleted at the end, though a worker may still be writing."""
    try:
        made = tempfile.mkdtemp(dir=folder, prefix=prefix)
    except OSError as error:
        raise SolverError(
            f"there is no room for shards and messages in {folder or 'a temporary folder'}: {error}"
        ) from error
    try:
        yield Path(made).absolute()
    finally:
        for _ in range(3):
            shutil.rmtree(made, ignore_errors=True)
