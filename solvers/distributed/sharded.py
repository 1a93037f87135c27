"""`solve_shards`: an allocation of a problem that no process holds as a whole, with its certificate."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..allocation import Status
from ..best import OPTIMAL_GAP
from ..certificate import relative_gap
from ..errors import ProblemError
from ..interrupt import interruptible
from ..problem_folder import new_folder
from ..solve import check_limits
from ..step import Clock, Goal
from .session import Held, Session
from .shards import open_shards
from .solver import Distributed, notes_of, started, steps_of
from .worker import Round


@dataclass(frozen=True, eq=False)
class ShardedAllocation:
    """What `solve_shards` wrote to ``folder``: matches as the Parquet files of ``pairs`` (item, user, score), user prices as
    ``prices.npy`` float64[users], and the figures as ``result.json``.

    gap is (bound - value) / bound; history: each step as told to on_step.
    """

    folder: Path
    value: float
    bound: float
    gap: float
    matches: int
    status: Status
    seconds: float
    history: tuple[dict[str, Any], ...]


@dataclass
class _Best:
    """The best matches and the lowest bound so far; they may come from different steps."""

    held: Held | None = None
    prices: np.ndarray | None = None
    value: float = -1.0
    bound: float = np.inf
    matches: int = 0

    def add(self, session: Session, held: Held) -> None:
        total = session.certify(held)
        if total.bound < self.bound:
            self.bound, self.prices = total.bound, held.prices
        worse: Held | None = held
        if total.value > self.value:
            worse, self.held, self.value, self.matches = self.held, held, total.value, total.matches
        if worse is not None:
            session.forget(worse)

    @property
    def figures(self) -> dict[str, Any]:
        gap = relative_gap(self.value, self.bound)
        return {"value": self.value, "bound": self.bound, "gap": gap, "matches": self.matches}


def solve_shards(
    folder: str | Path,
    out: str | Path,
    options: Distributed | None = None,
    *,
    gap: float = 1e-3,
    time_limit: float | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    on_round: Callable[[Round], None] | None = None,
) -> ShardedAllocation:
    """Allocates the shards of ``folder`` (see `write_shards`) by the workers of ``options``; writes ``out``, a new folder,
    whole or not at all.

    on_round                  told of each round of bids
    gap, time_limit, on_step  as in `solve`. Ctrl-C ends it with the best allocation so far

    Every limit is checked by the workers: an item's on its worker, a user's over the sums of all. No process holds more
    than its shards and the prices. Messages are in ``options.folder``, or beside ``out``; all machines must see both and
    the shards. Raises ProblemError for shards that cannot be used, wrong arguments or an ``out`` that exists, SolverError
    where workers are lost for good or messages find no room, OSError where the disk of ``out`` fails.
    """
    options = Distributed() if options is None else options
    if not isinstance(options, Distributed):
        raise ProblemError(f"options is {type(options).__name__}, expected Distributed(...)")
    check_limits(gap, time_limit)
    shards, clock, best, history = open_shards(folder), Clock(time_limit), _Best(), list[dict[str, Any]]()
    with new_folder(Path(out)) as aside:
        messages = aside if options.folder is None else Path(options.folder)
        with started(options.engine, shards, options.workers, messages) as engine, interruptible(clock):
            session = Session(shards, engine)
            try:
                _solve(session, options, Goal(gap, clock), best, (history, on_step, on_round))
            except KeyboardInterrupt:  # a second Ctrl-C does not wait for the step at hand
                if best.held is None:
                    raise
            _write(session, best, aside)
        asked = max(gap, OPTIMAL_GAP)
        found = {**best.figures, "status": _status(best.figures["gap"], asked, clock), "seconds": clock.seconds}
        record = {**found, "options": asdict(options), "history": history}
        (aside / "result.json").write_text(json.dumps(record, indent=1))
    return ShardedAllocation(folder=Path(out), history=tuple(history), **found)


def _solve(session: Session, options: Distributed, goal: Goal, best: _Best, told: tuple[Any, Any, Any]) -> None:
    """Goes from step to step until the best is good enough. told: history, on_step, on_round of `solve_shards`."""
    history, on_step, on_round = told
    for number, held in enumerate(steps_of(session, options, goal, on_round), start=1):
        notes = notes_of(held, session.shards)
        best.add(session, held)
        history.append({"step": number, **notes, **best.figures, "seconds": goal.clock.seconds})
        if on_step is not None:
            on_step(history[-1])
        if best.figures["gap"] <= max(goal.gap, OPTIMAL_GAP):
            return


def _write(session: Session, best: _Best, folder: Path) -> None:
    assert best.held is not None and best.prices is not None
    plan, rounds = best.held.plan, best.held.rounds
    (folder / "pairs").mkdir()
    paths = [str(folder / "pairs" / f"{worker:05d}.parquet") for worker in range(session.engine.workers)]
    session.engine.each("write_pairs", [(plan, rounds, path) for path in paths])
    for unfinished in (folder / "pairs").glob(".*"):  # of workers that were lost while they wrote
        unfinished.unlink(missing_ok=True)
    np.save(folder / "prices.npy", best.prices, allow_pickle=False)


def _status(gap: float, asked: float, clock: Clock) -> Status:
    if gap <= asked:
        return Status.OPTIMAL if gap <= OPTIMAL_GAP else Status.WITHIN_GAP
    if clock.interrupted:
        return Status.INTERRUPTED
    return Status.TIME_LIMIT if clock.out_of_time else Status.STEP_LIMIT
