"""Steps of the auction on a device for the driver: each from zero prices, with its matches and prices on the host."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from .block_run import BlockRun
from .device_lists import LONG, ROOM
from .device_memory import check_memory
from .device_rounds import BLOCK_EDGES, EDGES_OF_A_BID, DeviceRounds
from .device_rows import DeviceRows, padded_size, rows_on
from .errors import SolverError
from .first_come import fill
from .problem import Problem
from .step import Goal, Step
from .workers import Workers

EDGE_OF_A_BLOCK, PLACE, USER, ITEM = 40, 12, 48, 64
"""Bytes of the device, at the most: scratch of each edge of a block, and each place, user and item with what sorts them."""

LISTED_EDGE = 8
"""Bytes of each of the ROOM edges of a list beside its score."""


class DeviceRun:
    """What the steps on one problem share.

    eps, passes, work  of the last step: in units of the score; reads of all edges; edges read and the rounds' share
    """

    def __init__(self, problem: Problem, goal: Goal, device: str) -> None:
        """Raises SolverError where the device's memory is too small."""
        self.problem, self.goal, self.device = problem, goal, device
        self._run = BlockRun(problem, goal.clock, Workers(1))
        self._rows = self._run.rows if self._run.joined is None else self._run.joined.rows
        self.eps, self.passes, self.work = 0.0, 0.0, 0.0
        self._held: DeviceRows | None = None
        check_memory(
            needed_bytes(
                np.diff(self._rows.indptr), self._rows.score.itemsize, self._rows.demand, problem.capacity, device
            ),
            device,
        )

    def finest_eps(self, share: float) -> float:
        """Eps at this share of the mean score, and not below what float32 can tell apart."""
        return self._run.finest_eps(share)

    def step(self, share: float, few: float, passes: float, least: float) -> Step:
        """One auction with this eps for at most so many reads of all edges; what is left free is filled.

        share  eps as a share of the mean score
        few    share of the places held: so few places that are still bid for end the bidding
        least  work that is done before the reads end it: see `DeviceRounds.run`
        """
        self.eps = self.finest_eps(share)
        try:
            with _one_thread(), torch.no_grad():
                return self._step(few, passes, least)
        except torch.OutOfMemoryError as error:
            raise SolverError(f"the auction ran out of memory on device {self.device!r}: {error}") from error

    def _step(self, few: float, passes: float, least: float) -> Step:
        stop = lambda: self.goal.clock.stop  # noqa: E731
        rows = self._on_device()
        rounds = DeviceRounds(rows, torch.tensor(self.problem.capacity, device=self.device))
        look = rounds.run(self.eps, few, passes * rows.size, stop, least)
        price = rounds.places.price[: self.problem.users].cpu().numpy()
        self.passes, self.work, bidding = rounds.read / max(1, rows.size), rounds.work, look.waiting
        unfilled = rounds.close(look, stop).waiting > 0
        chosen = rows.edges_of(rounds.held().cpu().numpy(), self._rows.indptr)
        notes = {"eps": self.eps, "passes": self.passes, "rounds": rounds.rounds, "device": self.device}
        prices = np.where(self.problem.capacity > 0, price, self._run.closed).astype(np.float64)
        if self._run.joined is not None:
            prices, chosen = self._run.joined.prices(chosen, prices), self._run.joined.edges(chosen)
        if unfilled or self._run.joined is not None:
            chosen = self._filled(chosen)
        return Step(chosen, prices, notes | ({"bidding": bidding} if bidding else {}))

    def _on_device(self) -> DeviceRows:
        """The rows, copied to the device by the first step."""
        if self._held is None:
            self._held = rows_on(self._rows, self.problem.users, self.device)
        else:
            self._held.give_back()
        return self._held

    def _filled(self, chosen: np.ndarray) -> np.ndarray:
        """The edges (int64[matches]) and, by first come, those of items and users that both have places left, ascending."""
        held = np.zeros(self.problem.edges, np.uint8)
        held[chosen] = 1
        fill(self.problem, held)
        return np.flatnonzero(held)


def needed_bytes(length: np.ndarray, score_bytes: int, demand: np.ndarray, capacity: np.ndarray, device: str) -> int:
    """Bytes of the device that the auction takes at the most.

    length, demand  int64[items]: candidates of each item, and how many of them it may get; score_bytes: of a score
    """
    edges, padded = int(length.sum()), padded_size(length)
    kept = padded * (4 + score_bytes) + (edges * (4 + score_bytes) if padded != edges else 0)
    places = 2 * min(int(capacity.sum(dtype=np.int64)), edges + capacity.size)
    wanted = np.minimum(length, demand)
    bids = min(
        padded, max(8 * length.size, 2 * (int(wanted.sum(dtype=np.int64)) + length.size))
    )  # of all items at once
    row = max(int(length.max(initial=0)), EDGES_OF_A_BID * int(wanted.max(initial=0)))
    block = EDGE_OF_A_BLOCK * min(max(padded, EDGES_OF_A_BID * bids), max(BLOCK_EDGES[device], row))
    lists = ROOM * (LISTED_EDGE + score_bytes) * int(np.count_nonzero(length > LONG))
    return kept + lists + block + PLACE * places + USER * capacity.size + ITEM * length.size


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread of the CPU within: operations are too short for more, which only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
