"""Limits, value and optimum of an allocation from plain lists, by code that imports nothing of the package.

The optimum is exact: float32 and float16 scores are whole multiples of one power of two, so they become Python
integers, and matches are added one at a time along the residual path that gains the most.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array, hstack, identity, vstack


@dataclass(frozen=True)
class Case:
    """What a problem is made from: `score` of each candidate pair (item, user), and limits by row.

    creator  row of each item's creator, -1: unknown; empty: no creators
    cap      most items of one creator for one user, for each creator that has a cap
    banned   pairs that must not be matched, candidates or not
    """

    score: dict[tuple[int, int], float]
    demand: Sequence[int]
    capacity: Sequence[int]
    floor: Sequence[int] = ()
    creator: Sequence[int] = ()
    cap: dict[int, int] = field(default_factory=dict)
    banned: frozenset[tuple[int, int]] = frozenset()

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The pairs that may be matched."""
        return [pair for pair in self.score if pair not in self.banned]

    @property
    def open_pairs(self) -> list[tuple[int, int]]:
        """Those of them that no limit of 0 rules out."""
        closed = {item for item, most in enumerate(self.demand) if not most}
        closed |= {item for item, who in enumerate(self.creator) if self.cap.get(who) == 0}
        return [pair for pair in self.pairs if pair[0] not in closed and self.capacity[pair[1]]]

    def limit_of(self, item: int, user: int) -> tuple[int, int] | None:
        """The (user, creator) that this pair counts against, if there is a cap."""
        creator = self.creator[item] if self.creator else -1
        return (user, creator) if creator in self.cap else None


Pairs = Sequence[tuple[int, int]]


def broken(case: Case, pairs: Pairs) -> list[str]:
    """What the matches break: nothing, if they may be given."""
    allowed = set(case.pairs)
    wrong = [f"{pair} may not be matched" for pair in pairs if pair not in allowed]
    if wrong:
        return wrong
    found = [f"{pair} are matched {count} times" for pair, count in Counter(pairs).items() if count > 1]
    for side, limit in enumerate((case.demand, case.capacity)):
        load = Counter(pair[side] for pair in pairs)
        name = ("item", "user")[side]
        found += [f"{name} {row} has {count}, over {limit[row]}" for row, count in load.items() if count > limit[row]]
    for limited, count in Counter(case.limit_of(*pair) for pair in pairs).items():
        if limited is not None and count > case.cap[limited[1]]:
            found.append(f"user and creator {limited} have {count}, over {case.cap[limited[1]]}")
    return found


def value(case: Case, pairs: Pairs) -> float:
    """Sum of the scores, rounded once."""
    return float(sum(Fraction(case.score[pair]) for pair in pairs))


def loads(case: Case, pairs: Pairs) -> list[int]:
    """How many users each item has."""
    load = Counter(item for item, _ in pairs)
    return [load[item] for item in range(len(case.demand))]


def shortfall(case: Case, pairs: Pairs) -> int:
    """Users that items lack of their floors, in all."""
    return sum(max(0, least - load) for least, load in zip(case.floor, loads(case, pairs), strict=False))


def optimum(case: Case) -> list[tuple[int, int]]:
    """The matches with the least shortfall and, among those, the highest value: exact, for small cases."""
    pairs = case.pairs
    ratio = {pair: float(case.score[pair]).as_integer_ratio() for pair in pairs}
    unit = max((below for _, below in ratio.values()), default=1)
    worth = {pair: above * (unit // below) for pair, (above, below) in ratio.items()}
    bonus = sum(worth.values()) + 1  # for a floor's place: more than all scores together
    graph = _Graph()
    for item, most in enumerate(case.demand):
        least = case.floor[item] if case.floor else 0
        graph.arc("source", ("item", item), least, bonus)
        graph.arc("source", ("item", item), most - least, 0)
    arcs = {}
    for pair in pairs:
        limited, end = case.limit_of(*pair), ("user", pair[1])
        if limited is not None:
            if limited not in graph.number:
                graph.arc(limited, end, case.cap[limited[1]], 0)
            end = limited  # type: ignore[assignment]
        arcs[pair] = graph.arc(("item", pair[0]), end, 1, worth[pair])
    for user, most in enumerate(case.capacity):
        graph.arc(("user", user), "sink", most, 0)
    while graph.add_one("source", "sink"):
        pass
    return [pair for pair, arc in arcs.items() if graph.room[arc] == 0]


def linear_optimum(case: Case) -> list[tuple[int, int]]:
    """As `optimum`, to HiGHS's tolerance of 1e-10 of the highest open score, by two linear programs: larger cases."""
    pairs, items = case.open_pairs, len(case.demand)
    if not pairs:
        return []
    rows: dict[Any, int] = {("item", item): item for item in range(items)}
    entry: list[tuple[int, int]] = []
    for column, (item, user) in enumerate(pairs):
        of_pair = (("item", item), ("user", user), case.limit_of(item, user))
        entry += [(rows.setdefault(row, len(rows)), column) for row in of_pair if row is not None]
    most = {"item": case.demand, "user": case.capacity}
    limit = [most[row[0]][row[1]] if row[0] in most else case.cap[row[1]] for row in rows]
    matrix = csr_array(coo_array((np.ones(len(entry)), np.array(entry).T), (len(rows), len(pairs))))
    score = np.array([case.score[pair] for pair in pairs], float)
    gain = score / (score.max() or 1.0)
    short = np.repeat([0.0, 1.0], [len(pairs), items])
    matrix = vstack(
        [hstack([matrix, csr_array((len(rows), items))]), hstack([-matrix[:items], -identity(items)]), short[None]]
    ).tocsr()
    limit += [-least for least in case.floor or [0] * items]
    least = round(float(short @ _most(-short, matrix[:-1], limit, len(pairs)))) if case.floor else 0
    taken = _most(np.append(gain, np.zeros(items)), matrix, [*limit, least], len(pairs))
    return [pair for pair, x in zip(pairs, taken[: len(pairs)], strict=True) if x > 0.5]


def _most(gain: np.ndarray, matrix: csr_array, limit: list[int], pairs: int) -> np.ndarray:
    """The vertex x >= 0 with the most gain and matrix @ x <= limit; x <= 1 for the first columns, those of pairs."""
    bounds = [(0, 1)] * pairs + [(0, None)] * (gain.size - pairs)
    tight = {"dual_feasibility_tolerance": 1e-10, "primal_feasibility_tolerance": 1e-10}
    found = linprog(-gain, A_ub=matrix, b_ub=np.array(limit, float), bounds=bounds, method="highs-ds", options=tight)
    assert found.status == 0, found.message
    return np.asarray(found.x)


class _Graph:
    """Residual graph; arc `a` and its reverse `a ^ 1`."""

    def __init__(self) -> None:
        self.number: dict[Any, int] = {}
        self.out: list[list[int]] = []
        self.to: list[int] = []
        self.room: list[int] = []
        self.gain: list[int] = []

    def node(self, name: Any) -> int:
        if name not in self.number:
            self.number[name] = len(self.out)
            self.out.append([])
        return self.number[name]

    def arc(self, start: Any, end: Any, room: int, gain: int) -> int:
        ends = self.node(start), self.node(end)
        for side, (most, worth) in enumerate(((room, gain), (0, -gain))):
            self.out[ends[side]].append(len(self.to))
            self.to.append(ends[1 - side])
            self.room.append(most)
            self.gain.append(worth)
        return len(self.to) - 2

    def add_one(self, source: Any, sink: Any) -> bool:
        """One more match along the path that gains the most, if any gains something."""
        start, end = self.node(source), self.node(sink)
        best, by = {start: 0}, {start: -1}
        waiting, queued = deque([start]), {start}
        while waiting:
            at = waiting.popleft()
            queued.discard(at)
            for arc in self.out[at]:
                to, gain = self.to[arc], best[at] + self.gain[arc]
                if self.room[arc] and (to not in best or gain > best[to]):
                    best[to], by[to] = gain, arc
                    if to not in queued:
                        queued.add(to)
                        waiting.append(to)
        if best.get(end, 0) <= 0:
            return False
        at = end
        while at != start:
            self.room[by[at]] -= 1
            self.room[by[at] ^ 1] += 1
            at = self.to[by[at] ^ 1]
        return True
