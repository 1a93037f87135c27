"""Options of the candidate search over all pairs."""

from dataclasses import dataclass

from .errors import ProblemError
from .step import Solver


@dataclass(frozen=True)
class PriceRounds:
    """Options of `search_candidates`.

    A shortlist of each item's best users, solved to optimality, loses to first come: the lists crowd onto the same
    users. So the sequential pass makes the first lists, and each round adds to every item its best users at the
    prices of the last answer (column generation). The answer is never worth less than first come; with an exact source
    the bound covers all pairs. Time: one pass over the pairs for first come and one a round, and a solve a round.

    first_candidates  users kept for each item in the sequential pass (more where an item wants more)
    price_candidates  users added to each item in each round, at most (as many as the largest demand where that is more)
    rounds            most rounds after the first solve
    gap               stop once (bound over all pairs - value) / bound is at most this
    solver            name or options, as for `solve`
    max_candidates    most candidates of an item; where one has more, those go that can be in no better answer (with an
                      exact source), then its of least score - price (the result's `cut` counts these), matches never
    time_limit        seconds after which no round is begun and the solve in hand stops; the best answer so far counts
    """

    first_candidates: int = 300
    price_candidates: int = 300
    rounds: int = 4
    gap: float = 1e-3
    solver: str | Solver = "auction"
    max_candidates: int = 3000
    time_limit: float | None = None

    def __post_init__(self) -> None:
        counts = (self.first_candidates, self.price_candidates, self.max_candidates)
        if min(counts) < 1 or self.rounds < 0 or not 0 <= self.gap <= 1:
            raise ProblemError(f"{self}: expected counts of at least 1, rounds of at least 0 and a gap from 0 to 1")
        if self.time_limit is not None and not self.time_limit > 0:
            raise ProblemError(f"time_limit is {self.time_limit}, expected seconds > 0 or None")
