"""The loop: uploads, visits, lists, reactions, what is learnt from them, creators who go on or give up, and the night."""

import copy
from dataclasses import dataclass, field

import numpy as np

from .day_metrics import DayTally, creator_side, day_metrics, quality_table, uploads_by_feedback
from .designs import Design, Group, arms, groups
from .exposures import COLD, Exposures, in_user_order
from .items import Items, joined, no_items, uploads
from .knowledge import (
    Knowledge,
    coarse_vectors,
    forget,
    item_rates,
    learn,
    nothing_known,
    remember_seen,
    user_rates,
    user_vectors,
)
from .learned_models import cold_auc, fit_models, record, visit_forecast
from .night_matching import Night, NightView
from .options import PlatformOptions
from .people import Creators, Users, draw_creators, draw_users, encourage, join, leave, upload_counts, visitors
from .serving import Share, Visits, cold_items, merged, organic_lists, unseen, user_side_scores
from .session import sessions, wanted
from .waiting import Matches, no_matches

_DAYS_BEFORE = 7


@dataclass(eq=False)
class State:
    """Everything at the end of a day; a copy goes on by itself. ``forecast``: P(visit) as the last night saw it, of the day
    to come; ``reacted``: (item, user) of explicit feedback, by day; by group of the design ``matches``, ``nights`` and
    ``shares``, of matches and of cold items."""

    seed: int
    day: int
    users: Users
    creators: Creators
    items: Items
    known: Knowledge
    forecast: np.ndarray
    reacted: list[np.ndarray] = field(default_factory=list)
    matches: list[Matches] = field(default_factory=list)
    nights: list[Night] = field(default_factory=list)
    shares: list[tuple[Share, Share]] = field(default_factory=list)

    def copy(self) -> "State":
        """One that goes on by itself."""
        return copy.deepcopy(self)


def begin(options: PlatformOptions, seed: int) -> State:
    """The platform before its first day."""
    users = draw_users(options, seed)
    creators = draw_creators(options, seed, 0, options.people.creators)
    forecast = np.full(options.people.users, options.people.daily_active)
    return State(seed, 0, users, creators, no_items(options), nothing_known(options), forecast)


def end_design(state: State) -> None:
    """Forgets what belongs to a design: its matches and shares. The next day may have another one."""
    state.matches, state.nights, state.shares = [], [], []


def _start_design(options: PlatformOptions, state: State, here: list[Group]) -> None:
    """All designs explore with the same share of exposures: what no matches can take is for cold items."""
    state.matches = [no_matches() for _ in here]
    state.nights = [Night() for _ in here]
    recommender = options.recommender
    for group in here:
        reach = float(group.matched.sum() / max(group.visible.sum(), 1))
        matches = recommender.match_share * reach
        cold = recommender.cold_share + recommender.match_share - matches
        state.shares.append((Share(matches, matches), Share(cold, cold)))


def run_day(options: PlatformOptions, state: State, design: Design) -> dict[str, float]:
    """One day of a design, in place; the day's figures."""
    user_arm, creator_arm = _arms(options, state, design)
    here = groups(design, user_arm, creator_arm)
    if len(state.matches) != len(here):
        _start_design(options, state, here)
    counts = upload_counts(options, state.creators, state.seed, state.day)
    state.items = joined(state.items, uploads(options, state.creators, counts, state.seed, state.day))
    when = visitors(options, state.users, state.seed, state.day)
    tally = DayTally(state.day, counts, design.control is not None, user_arm, creator_arm, when >= 0)
    figures = uploads_by_feedback(state.creators, counts)
    for period in range(options.periods):
        _period(options, state, here, np.flatnonzero(when == period), period, tally)
        for number, group in enumerate(here):
            if group.policy.stream:
                view = _night_view(options, state, group, number)
                been = (when >= 0) & (when <= period)  # what is still to come is hidden
                state.matches[number] = state.nights[number].during(options, view, ~been, period)
    figures |= cold_auc(state.known, options.periods, options.recommender.index_least)
    _evening(options, state, when >= 0, tally)
    figures |= day_metrics(options, state.items, state.creators, tally, state.matches)
    figures |= quality_table(state.users, state.creators, state.items, tally.exposures())
    for number, group in enumerate(here):
        matched, about = state.nights[number].after(options, _night_view(options, state, group, number))
        state.matches[number] = matched
        figures |= {f"{name}_{number}" if number else name: value for name, value in about.items()}
    state.day += 1
    return figures


def arms_before(options: PlatformOptions, state: State, design: Design) -> dict[str, float]:
    """``dac_ARM_before`` and ``reach_X_ARM_before``: what the arms to come did in the last week before a test that splits
    creators, mean of a day. A test is read against it: arms of a heavy-tailed crowd are never quite alike."""
    if design.control is None:
        return {}
    _, arm = _arms(options, state, design)
    items, figures = state.items, {}
    for name, mine in (("control", ~arm[items.creator]), ("treated", arm[items.creator])):
        days = [
            creator_side(options, items, mine, np.bincount(items.creator[mine & (items.day == day)]) > 0, day)
            for day in range(max(0, state.day - _DAYS_BEFORE), state.day)
        ]
        for key in ("dac", *(f"reach_{least}" for least in options.reach)):
            figures[f"{key}_{name}_before"] = float(np.mean([day[key] for day in days]))
    return figures


def _period(
    options: PlatformOptions, state: State, here: list[Group], visitor: np.ndarray, period: int, tally: DayTally
) -> None:
    """Visits of a part of the day; what comes of them is learnt at its end."""
    features = _features(options, state)
    parts = []
    for number, group in enumerate(here):
        mine = visitor[group.users[visitor]]
        if not len(mine):
            continue
        visits = _visits(options, state, group, mine, (period, features))
        shown = _shown(visits, state, number)
        state.matches[number].note(shown)
        matches, cold = state.shares[number]
        matches.note(len(shown), int((shown.source > COLD).sum()))
        cold.note(len(shown), int((shown.source == COLD).sum()))
        parts.append(shown)
    if not parts:
        return
    shown = in_user_order(parts)
    record(state.known, state.items, shown, features)
    tally.add(shown)
    learn(state.known, state.items, shown)
    remember_seen(state.known, shown)
    _count_arms(state, tally, shown)


def _visits(
    options: PlatformOptions,
    state: State,
    group: Group,
    visitor: np.ndarray,
    now: tuple[int, dict[str, np.ndarray]],
) -> Visits:
    """``now``: the part of the day and what is known."""
    (period, features), items = now, state.items
    old = state.day - items.day
    out = (old < options.recommender.live_days) & ((old > 0) | (items.period < period)) & group.visible[items.creator]
    scores = user_side_scores(state.known, features["vectors"], features["watch"])
    return Visits(options, state.seed, state.day, items, state.known, scores, visitor, np.flatnonzero(out))


def _shown(visits: Visits, state: State, number: int) -> Exposures:
    """What the visitors of a group are shown and do."""
    matches, cold = state.shares[number]
    waiting = unseen(visits, state.matches[number].extra(visits.visitor, matches.aim))
    extras = [waiting, cold_items(visits, cold.aim)]
    count = wanted(visits.options, state.users, state.seed, state.day, visits.visitor)
    item, source = merged(visits, organic_lists(visits), extras, count)
    return sessions(visits, state.users, item, source)


def _features(options: PlatformOptions, state: State) -> dict[str, np.ndarray]:
    """What is known now: of users ``vectors``, ``user_watch``, ``user_value``, ``theta``; of items rates and ``coarse``."""
    of_users = user_rates(state.known)
    creators = len(state.creators.skill)
    return {
        "vectors": user_vectors(options, state.known),
        "user_watch": of_users["watch"],
        "user_value": of_users["value"],
        "theta": of_users["theta"],
        "coarse": coarse_vectors(state.items, options.people.topics, creators),
        **item_rates(options, state.items, creators),
    }


def _night_view(options: PlatformOptions, state: State, group: Group, number: int) -> NightView:
    return NightView(
        state.seed, state.day, group, state.items, state.creators, state.known, state.forecast,
        _features(options, state), state.reacted, state.matches[number],
    )  # fmt: skip


def _evening(options: PlatformOptions, state: State, came: np.ndarray, tally: DayTally) -> None:
    """The end of a day: users and creators draw their conclusions, and models are fitted."""
    shown = tally.exposures()
    users, creators = state.users, state.creators
    count = np.bincount(shown.user, minlength=len(came))
    watched = np.bincount(shown.user, shown.watched, len(came))
    pleased = watched / np.maximum(count, 1) - shown.watched.mean() if len(shown) else watched
    users.satisfaction = np.where(count > 0, 0.8 * users.satisfaction + 0.2 * pleased, users.satisfaction)
    kinds = shown.like + 2.0 * shown.comment + 3.0 * shown.follow
    feedback = np.bincount(state.items.creator[shown.item], kinds, len(creators.skill))
    encourage(options, creators, feedback)
    unseen = (state.items.day == state.day - 2) & (state.items.shows < options.creators.unseen)
    leave(
        options,
        creators,
        state.seed,
        state.day,
        np.bincount(state.items.creator[unseen], minlength=len(creators.skill)),
    )
    joining = round(options.creators.joining * options.people.creators)
    state.creators = join(creators, draw_creators(options, state.seed, len(creators.skill), joining))
    liked = shown.like | shown.comment | shown.follow
    state.reacted.append(np.stack([shown.item[liked], shown.user[liked]]))
    del state.reacted[: -options.recommender.live_days]
    forget(options, state.known, came)
    fit_models(state.known)
    state.forecast = visit_forecast(state.known, state.day + 1)


def _arms(options: PlatformOptions, state: State, design: Design) -> tuple[np.ndarray, np.ndarray]:
    return arms(design, state.seed, options.people.users, len(state.creators.skill))


def _count_arms(state: State, tally: DayTally, shown: Exposures) -> None:
    size = len(state.items)
    for arm in (0, 1):
        rows = tally.user_arm[shown.user] == bool(arm)
        state.items.shows_by_arm[:, arm] += np.bincount(shown.item[rows], minlength=size)
