"""Why an item or a user got what it got: matches at their prices, who stood next, and what kept the others away.

Prices are those that certify the bound. At an optimum they separate exactly; where a solver stopped at a gap, what is
said of them is off by about as much.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ProblemError
from .explain_words import item_sentences, user_sentences
from .ids import known_rows

if TYPE_CHECKING:
    from .allocation import Allocation


@dataclass(frozen=True, eq=False)
class Partners:
    """Some partners of one item or user: arrays of one length.

    id     outside ids, int64 or str
    score  float64
    price  float64: the user's, and that of the (user, creator) limit where there is one
    net    float64, score - price
    """

    id: np.ndarray
    score: np.ndarray
    price: np.ndarray
    net: np.ndarray


@dataclass(frozen=True)
class Unmatched:
    """Why candidates were not matched: how many for each reason; each counts once, for the first that holds.

    worthless    the score is 0
    closed       the user takes no items, or the item wants no users
    capped       the user has as many of the creator's items as the limit allows
    too_dear     the user is full, at a price above the score
    other_taken  the user is full, at a price that the score reaches: others were as good
    item_full    the user has a place left, the item has none
    free         both have a place left
    """

    worthless: int
    closed: int
    capped: int
    too_dear: int
    other_taken: int
    item_full: int
    free: int


@dataclass(frozen=True, eq=False)
class ItemExplanation:
    """Why an item got its users; `str()` says it in sentences.

    item        outside id; `creator` too, None where unknown
    demand      users wanted; `floor`: wanted at the least
    excluded    pairs with it that were dropped when the problem was made
    users       the users it got, by falling net
    next_users  the candidates it did not get, by falling net
    missed_by   what next_users[0] lacks: its net below the lowest among `users`, or below 0 where the item has places
                left; None without candidates left
    next_place  what one more place (demand + 1) would be worth, an estimate from the prices
    unmatched   what kept `next_users` away
    """

    item: Any
    creator: Any
    demand: int
    floor: int
    excluded: int
    users: Partners
    next_users: Partners
    missed_by: float | None
    next_place: float
    unmatched: Unmatched

    def __str__(self) -> str:
        return item_sentences(self)


@dataclass(frozen=True, eq=False)
class UserExplanation:
    """Why a user got its items; `str()` says it in sentences.

    user        outside id
    capacity    items taken at the most
    price       what one more place with the user would bring, an estimate
    items       the items it got, by falling net
    next_items  the items that had it as a candidate and did not get it, by falling net above the item's own lowest
    missed_by   what next_items[0] lacks: its net below the item's own lowest, or below 0 where the item has places left;
                None without candidates left
    unmatched   what kept `next_items` away
    """

    user: Any
    capacity: int
    price: float
    items: Partners
    next_items: Partners
    missed_by: float | None
    unmatched: Unmatched

    def __str__(self) -> str:
        return user_sentences(self)


def explain(allocation: "Allocation", *, item: Any = None, user: Any = None) -> ItemExplanation | UserExplanation:
    """Why this item, or this user (outside ids), got what it got. Raises ProblemError for an unknown id, or for both."""
    if (item is None) == (user is None):
        raise ProblemError("explain takes item=ID or user=ID, expected one of them")
    problem = allocation.problem
    if item is not None:
        return explain_item(allocation, _row(item, "item", problem.item_ids, problem.items))
    return explain_user(allocation, _row(user, "user", problem.user_ids, problem.users))


def explain_item(allocation: "Allocation", row: int) -> ItemExplanation:
    """Why the item of this row got its users. One pass over the matches the first time, then over its candidates."""
    problem = allocation.problem
    edges = np.arange(problem.indptr[row], problem.indptr[row + 1])
    net = problem.score[edges] - edge_prices(allocation, edges)
    edges = edges[np.argsort(-net, kind="stable")]
    got = np.isin(edges, allocation.chosen)
    users, others = (_partners(allocation, problem.user_ids, problem.user, edges[which]) for which in (got, ~got))
    creator = -1 if problem.creator is None else int(problem.creator[row])
    nearest = float(others.net[0]) if others.id.size else None
    return ItemExplanation(
        item=problem.item_name(row),
        creator=None if creator < 0 else problem.creator_name(creator),
        demand=int(problem.demand[row]),
        floor=0 if problem.floor is None else int(problem.floor[row]),
        excluded=0 if problem.item_excluded is None else int(problem.item_excluded[row]),
        users=users,
        next_users=others,
        missed_by=None if nearest is None else max(0.0, float(allocation.lowest_net[row]) - nearest),
        next_place=max(0.0, nearest or 0.0) if users.id.size == problem.demand[row] else 0.0,
        unmatched=_reasons(allocation, edges[~got]),
    )


def explain_user(allocation: "Allocation", row: int) -> UserExplanation:
    """Why the user of this row got its items. One pass over all edges."""
    problem = allocation.problem
    edges = np.flatnonzero(problem.user == row)
    net = problem.score[edges] - edge_prices(allocation, edges)
    got = np.isin(edges, allocation.chosen)
    above = net - allocation.lowest_net[problem.item_of(edges)]
    order = np.lexsort((-np.where(got, net, above), ~got))
    matches = int(got.sum())
    items, others = (_partners(allocation, problem.item_ids, None, part) for part in np.split(edges[order], [matches]))
    return UserExplanation(
        user=problem.user_name(row),
        capacity=int(problem.capacity[row]),
        price=float(allocation.user_prices[row]),
        items=items,
        next_items=others,
        missed_by=max(0.0, -float(above[order[matches]])) if others.id.size else None,
        unmatched=_reasons(allocation, edges[~got]),
    )


def edge_prices(allocation: "Allocation", edges: np.ndarray) -> np.ndarray:
    """What each edge costs: its user's price, and the price of its (user, creator) limit; float64[n]."""
    problem = allocation.problem
    prices = allocation.user_prices[problem.user[edges]]
    if problem.group is None or allocation.group_prices is None:
        return prices
    group = problem.group[edges]
    return prices + np.where(group >= 0, allocation.group_prices[group], 0.0)


def _row(one: Any, side: str, ids: np.ndarray | None, rows: int) -> int:
    row = int(known_rows([one], side, ids, rows)[0])
    if row < 0:
        raise ProblemError(f"{side} {one!r} is not in the problem, expected one of its {rows} {side}s")
    return row


def _partners(
    allocation: "Allocation", ids: np.ndarray | None, partner: np.ndarray | None, edges: np.ndarray
) -> Partners:
    """The users (`partner` is the problem's user) or items (`partner` None) of these edges, in their order."""
    problem = allocation.problem
    rows = problem.item_of(edges) if partner is None else partner[edges].astype(np.int64)
    score, price = problem.score[edges].astype(np.float64), edge_prices(allocation, edges)
    return Partners(rows if ids is None else ids[rows], score, price, score - price)


def _reasons(allocation: "Allocation", edges: np.ndarray) -> Unmatched:
    problem, user = allocation.problem, allocation.problem.user[edges]
    item, score = problem.item_of(edges), problem.score[edges].astype(np.float64)
    full = allocation.user_load[user] >= problem.capacity[user]
    capped = np.zeros(edges.size, bool)
    if problem.group is not None and problem.group_limit is not None:
        group = problem.group[edges]
        capped = (group >= 0) & (allocation.group_load >= problem.group_limit)[group]
    holds = {
        "worthless": score == 0,
        "closed": (problem.capacity[user] == 0) | (problem.demand[item] == 0),
        "capped": capped,
        "too_dear": full & (allocation.user_prices[user] > score),
        "other_taken": full,
        "item_full": allocation.item_load[item] >= problem.demand[item],
        "free": np.ones(edges.size, bool),
    }
    first = np.argmax(list(holds.values()), axis=0)
    counts = np.bincount(first, minlength=len(holds)).tolist() if edges.size else [0] * len(holds)
    return Unmatched(**dict(zip(holds, counts, strict=True)))
