"""Who is in which arm of an A/B test: creators, users, or both together (5.1.1 of the paper, Figure 6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

import numpy as np

from .ab_hash import uniform
from .ab_split import by_stratum, checked_shares, draw_arms
from .errors import InputError
from .vocabulary import Ids, Vocabulary, as_ids

OUTSIDE = -1
"""The arm of an id that takes no part: of the rest where shares sum to less than 1, and of a side that is not split."""


class Design(StrEnum):
    """What is split, and with that what a user may see.

    CO_DIVERTED: creators into disjoint arms, then users; a user sees items of creators of his own arm only, those outside
    the arms see each other. USER_DIVERTED: users only. CREATOR_ONLY: creators only. In the last two everybody sees
    everything, so that the arms meet in the shared items or compete for the shared users.
    """

    CO_DIVERTED = "co_diverted"
    USER_DIVERTED = "user_diverted"
    CREATOR_ONLY = "creator_only"


@dataclass(frozen=True, eq=False)
class Assignment:
    """The arms of all ids that were assigned, in the order in which they came.

    ``shares``: arm -> share, the first the control; an arm's number is its place there. ``user_shares`` float[arms]: shares
    by which users are drawn. ``creators``, ``users``: int64 or str ids, each once; ``creator_arm``, ``user_arm`` int8, or
    -1 (see OUTSIDE). ``together``: a user and a creator of one id are one person, in one arm.
    """

    design: Design
    shares: Mapping[str, float]
    user_shares: tuple[float, ...]
    seed: int
    together: bool
    creators: np.ndarray
    users: np.ndarray
    creator_arm: np.ndarray
    user_arm: np.ndarray

    @property
    def arms(self) -> tuple[str, ...]:
        """The names of the arms."""
        return tuple(self.shares)

    def arms_of_creators(self, creators: Ids) -> np.ndarray:
        """int8[n]: the arms of assigned creators, and for others the arms that they get when they come."""
        ids = as_ids(creators, "creator")
        if self.design is Design.USER_DIVERTED:
            return np.full(len(ids), OUTSIDE, np.int8)
        # Who comes later may have come as a user before: persons are drawn by one rule, that of users.
        shares = self.user_shares if self._persons else tuple(self.shares.values())
        arm = draw_arms(uniform(self.seed, self._salt("creator"), ids), shares)
        if self._persons:
            _take(arm, ids, self.users, self.user_arm)
        return _take(arm, ids, self.creators, self.creator_arm, "creator")

    def arms_of_users(self, users: Ids) -> np.ndarray:
        """int8[n]: the arms of assigned users, and for others the arms that they get when they come."""
        ids = as_ids(users, "user")
        if self.design is Design.CREATOR_ONLY:
            return np.full(len(ids), OUTSIDE, np.int8)
        arm = draw_arms(uniform(self.seed, self._salt("user"), ids), self.user_shares)
        if self._persons:
            _take(arm, ids, self.creators, self.creator_arm)
        return _take(arm, ids, self.users, self.user_arm, "user")

    def extended(self, creators: Ids, users: Ids) -> "Assignment":
        """With ids that came later: known ones are passed over and keep their arms. Raises InputError for an id twice."""
        known = _with(self.creators, creators, "creator")
        found = replace(self, creators=known, creator_arm=self.arms_of_creators(known))
        people = _with(self.users, users, "user")
        return replace(found, users=people, user_arm=found.arms_of_users(people))

    @property
    def _persons(self) -> bool:
        return self.together and self.design is Design.CO_DIVERTED

    def _salt(self, side: str) -> str:
        # One number for both sides of a person: whoever becomes a creator later is drawn into the arm that he is in.
        return "person" if self._persons else side


def assign(
    design: Design | str,
    shares: Mapping[str, float],
    seed: int,
    creators: Ids,
    users: Ids,
    *,
    stratum: Sequence[float] | np.ndarray | None = None,
    users_by: Literal["shares", "creators", "weight"] = "shares",
    weight: Sequence[float] | np.ndarray | None = None,
    together: bool = True,
) -> Assignment:
    """Draw arms for ``creators`` and ``users``, both int64 or str[n] in any order, each id once.

    An id's arm depends on (seed, id) alone, not on other ids. Two options look at all creators at once, and for these
    `Assignment.extended` keeps what was drawn: ``stratum`` float[creators], such as past uploads, spreads creators of like
    numbers evenly over the arms; ``users_by`` draws users by the arms' shares of the creators, or of their ``weight``
    float[creators] >= 0, such as exposures. ``together``: under co_diverted a user who is a creator goes with his creator
    arm. Raises InputError for shares, ids or columns that are unfit, and for an arm without creators to draw users by.
    """
    design = _design(design)
    given = checked_shares(shares)
    nobody = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int8), np.zeros(0, np.int8)
    empty = Assignment(design, given, tuple(given.values()), seed, together, *nobody)
    ids = _with(empty.creators, creators, "creator")
    if design is Design.USER_DIVERTED and (stratum is not None or users_by != "shares"):
        raise InputError("a stratum, or users drawn by creators, is for designs that split creators")
    if stratum is None:
        arm = empty.arms_of_creators(ids)
    else:
        draw = uniform(seed, empty._salt("creator"), ids)
        arm = by_stratum(draw, _column(stratum, "stratum", len(ids)), tuple(given.values()), seed)
    if design is Design.CO_DIVERTED and users_by != "shares":
        parts = _parts(arm, _column(weight, "weight", len(ids)) if users_by == "weight" else None, tuple(given))
        empty = replace(empty, user_shares=parts)
    return replace(empty, creators=ids, creator_arm=arm).extended([], users)


def visible(design: Design | str, user_arm: np.ndarray | int, creator_arm: np.ndarray | int) -> np.ndarray:
    """bool: whether users of these arms may see items of creators of those. The two are broadcast against each other.

    For users x items: ``visible(design, user_arm[:, None], creator_arm[item_creator])``.
    """
    seen = np.equal(user_arm, creator_arm)
    return np.asarray(seen if _design(design) is Design.CO_DIVERTED else np.ones_like(seen))


def _design(design: Design | str) -> Design:
    try:
        return Design(design)
    except ValueError:
        raise InputError(f"design {str(design)!r}, expected one of {', '.join(Design)}") from None


def _with(known: np.ndarray, ids: Ids, what: str) -> np.ndarray:
    """The known ids, then the others in their order. Raises InputError for one that is given twice."""
    given = as_ids(ids, what)
    places = np.sort(given)
    twice = places[1:] == places[:-1]
    if twice.any():
        raise InputError(f"{what} id {places[int(np.argmax(twice))].item()!r} stands twice, expected each once")
    if not len(known) or not len(given):
        return given if len(given) else known
    return np.concatenate([known, given[Vocabulary(known, what).rows(given, missing=-1) < 0]])


def _take(arm: np.ndarray, ids: np.ndarray, known: np.ndarray, known_arm: np.ndarray, what: str = "") -> np.ndarray:
    """``arm`` with the known ids' arms put in. Ids of the other side (no ``what``) may be of another kind."""
    if not len(known) or not len(ids) or (not what and known.dtype.kind != ids.dtype.kind):
        return arm
    rows = Vocabulary(known, what).rows(ids, missing=-1)
    arm[rows >= 0] = known_arm[np.argsort(known)[rows[rows >= 0]]]
    return arm


def _parts(arm: np.ndarray, weight: np.ndarray | None, names: tuple[str, ...]) -> tuple[float, ...]:
    mass = np.bincount(arm + 1, weight, minlength=len(names) + 1)
    if (mass[1:] <= 0).any() or (weight is not None and (weight < 0).any()):
        empty = names[int(np.argmin(mass[1:]))]
        raise InputError(f"users are drawn by creators' weights >= 0, and arm {empty!r} has {mass[1:].min():g}")
    return tuple((mass[1:] / mass.sum()).tolist())


def _column(values: Sequence[float] | np.ndarray | None, what: str, count: int) -> np.ndarray:
    column = np.asarray([] if values is None else values, np.float64)
    if column.shape != (count,) or not np.isfinite(column).all():
        raise InputError(f"{what} has shape {column.shape}, expected {count} finite numbers, one for each creator")
    return column
