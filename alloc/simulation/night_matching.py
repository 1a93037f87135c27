"""A group's matches: what the night asks for and gets, and the stream between nights."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ...solvers.allocation import Allocation
from ...solvers.online import OnlineRule
from ...solvers.online_prices import bid_curves
from .assigning import Matched, Request, assign
from .designs import Group
from .items import Items
from .knowledge import Knowledge
from .matching import TOWER, Pairs, Reactions, pair_scores
from .options import PlatformOptions
from .people import Creators
from .policies import Policy
from .waiting import Matches, added, matches_of, no_matches

_STREAM_LIST = 4
"""Candidates at prices for each user wanted."""


@dataclass(frozen=True, eq=False)
class NightView:
    """What is known when matches are made: ``forecast`` float64[users], P(visit) of the day to come (during a day: of that
    day); ``features`` as the platform makes them; ``reacted``: (item, user) by day; ``matches`` that wait now."""

    seed: int
    day: int
    group: Group
    items: Items
    creators: Creators
    known: Knowledge
    forecast: np.ndarray
    features: dict[str, np.ndarray]
    reacted: list[np.ndarray]
    matches: Matches


class Night:
    """The matching of one group; remembers the last night's allocation, whose bids price the stream."""

    def __init__(self) -> None:
        self._last: Allocation | None = None
        self._rule: OnlineRule | None = None

    def after(self, options: PlatformOptions, view: NightView) -> tuple[Matches, dict[str, float]]:
        """The matches of the day to come, and what is to be said of them."""
        if view.group.policy.assigner == "none" or "sa_ef" not in view.known.models:
            return no_matches(), {}
        batch, demand = _asked(options, view)
        factor = visit_factor(options, view.group.policy, view.forecast) * view.group.users
        request = _request(options, view, batch, demand, factor)
        matched = assign(options.match, view.group.policy, request)
        self._last, self._rule = matched.allocation, None
        wanted, places = int(demand.sum()), int((factor > 0).sum()) * options.match.capacity
        about = {
            "match_gap": matched.gap,
            "match_value": float(matched.score.sum()),
            "matches": float(len(matched.item)),
            "wanted": float(wanted),
            "places": float(places),
            "expected_hit_rate": float(view.forecast[matched.user].mean()) if len(matched.user) else float("nan"),
        }
        return _waiting(batch, matched, factor), about

    def during(self, options: PlatformOptions, view: NightView, to_come: np.ndarray, period: int) -> Matches:
        """The waiting matches and those of the uploads of a part of the day, for users who have not come yet (bool[users]).

        None after the last part: the night replaces all matches. Of the forecast of the day, and not of its rest, as the
        bids that the prices are made of.
        """
        batch = np.flatnonzero((view.items.day == view.day) & (view.items.period == period))
        batch = batch[view.group.matched[view.items.creator[batch]]]
        if self._last is None or not len(batch) or not to_come.any() or period + 1 == options.periods:
            return view.matches
        if self._rule is None:
            capacity = np.where(view.group.users, options.match.capacity, 0)
            self._rule = OnlineRule(capacity, bid_curves(self._last), threads=1)
            self._rule.know(np.maximum(capacity - view.matches.sizes(len(capacity)), 0), 0)
        factor = visit_factor(options, view.group.policy, view.forecast) * view.group.users * to_come
        request = _request(options, view, batch, np.full(len(batch), options.match.demand), factor)
        matched = _stream(options, self._rule, request, (period + 1) / options.periods)
        return added(view.matches, _waiting(batch, matched, factor))


def visit_factor(options: PlatformOptions, policy: Policy, forecast: np.ndarray) -> np.ndarray:
    """float64[users], what a user's chance to come counts: 1 for all, 1 or 0 by the paper's threshold, or the chance."""
    if policy.activity == "none":
        return np.ones(len(forecast))
    if policy.activity == "probability":
        return forecast
    order = np.argsort(-forecast, kind="stable")
    mean = np.cumsum(forecast[order]) / np.arange(1, len(order) + 1)
    available = int((mean >= options.match.threshold_hit_rate).sum())
    factor = np.zeros(len(forecast))
    factor[order[:available]] = 1.0
    return factor


def _asked(options: PlatformOptions, view: NightView) -> tuple[np.ndarray, np.ndarray]:
    """Items int64 in upload order and how many users each wants: the day's uploads, and those of the day before that few
    have seen and somebody liked (a second request, for which i2u2u has something to go by)."""
    items, match = view.items, options.match
    ours = view.group.matched[items.creator]
    new = np.flatnonzero(ours & (items.day == view.day))
    share = view.group.users.mean() / max(view.group.matched.sum() / max(len(view.group.matched), 1), 1e-9)
    demand = np.maximum(np.minimum(1.0, share) * match.demand - items.shows[new], 0)
    short = ours & (items.day == view.day - 1) & (items.shows < match.demand) & (items.likes > 0)
    again = np.flatnonzero(short) if match.top_up else np.zeros(0, np.int64)
    rows = np.concatenate([again, new])
    return rows, np.concatenate([np.full(len(again), match.top_up), np.round(demand)]).astype(np.int64)


def _request(
    options: PlatformOptions, view: NightView, batch: np.ndarray, demand: np.ndarray, factor: np.ndarray
) -> Request:
    policy, features = view.group.policy, view.features
    of_batch = {
        "coarse": features["coarse"][batch].astype(np.float64),
        "content": view.items.content[batch].astype(np.float64),
        "value": features["value"][batch],
        "author": view.creators.user[view.items.creator[batch]],
    }
    of_users = {"vectors": features["vectors"], "value": features["user_value"], "theta": features["theta"]}

    def pairs(ranker: str) -> Pairs:
        return pair_scores(policy, view.known.models[ranker], of_batch, of_users, factor)

    capacity = np.where(factor > 0, options.match.capacity, 0).astype(np.int64)
    seen = Reactions(view.items, _likes(view, len(factor)), features["vectors"])
    # The two-tower retrieval of all versions sees topic and creator alone.
    return Request(batch, demand, capacity, pairs("v1"), pairs(policy.ranker), seen)


def _likes(view: NightView, users: int) -> sparse.csr_matrix:
    """Items x users, 1 where a user reacted to an item in the last days."""
    item, user = np.concatenate([*view.reacted, np.zeros((2, 0), np.int64)], 1)
    kept = view.group.users[user]
    shape = (len(view.items), users)
    return sparse.csr_matrix((np.ones(kept.sum(), np.float32), (item[kept], user[kept])), shape=shape)


def _waiting(batch: np.ndarray, matched: Matched, factor: np.ndarray) -> Matches:
    gain = matched.score / np.maximum(factor[matched.user], 1e-12)
    return matches_of(matched.user, batch[matched.item], gain, matched.source)


def _stream(options: PlatformOptions, rule: OnlineRule, request: Request, gone: float) -> Matched:
    """Each upload in turn takes its best users at the prices of the moment."""
    everybody, nothing = np.arange(len(rule.left)), np.zeros(len(rule.left))
    rule.offer_one(everybody, nothing, 0, gone)  # sets the prices of those who are asked, and no others
    price = np.maximum(-rule.net(everybody, nothing), 0.0)
    available = np.isfinite(price) & (request.pairs.factor > 0)
    listed, score = request.pairs.source().best(
        np.arange(len(request.items)), np.where(available, price, 0.0), _STREAM_LIST * options.match.demand, available
    )
    taken: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for item in range(len(request.items)):
        there = listed[item] >= 0
        user, value = listed[item][there].astype(np.int64), score[item][there]
        best = rule.offer_one(user, value, int(request.demand[item]), gone)
        rule.take(user[best])
        taken.append((np.full(len(best), item), user[best], value[best]))
    columns = [np.concatenate([part[k] for part in taken]) for k in range(3)]
    return Matched(columns[0], columns[1], columns[2], np.full(len(columns[0]), TOWER, np.int8))
