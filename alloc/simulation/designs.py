"""Which policy serves whom: one for all, or an A/B test of two (paper, section 5.1)."""

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .draws import Purpose, uniform
from .policies import Policy

DESIGNS = ("whole", "co_diverted", "user_diverted", "creator_only")
_USERS, _CREATORS = 1, 2


@dataclass(frozen=True)
class Design:
    """``name`` one of DESIGNS; ``control`` and ``treatment``; ``share`` of users and creators who are treated.

    whole          everybody has the treatment
    co_diverted    creators are split, users too; users see the items of creators of their own arm alone
    user_diverted  users are split and see all items; treated users get matches with any item
    creator_only   creators are split, users see all items; only items of treated creators are matched
    """

    name: str
    treatment: Policy
    control: Policy | None = None
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.name not in DESIGNS or (self.name == "whole") != (self.control is None) or not 0 < self.share < 1:
            raise InputError(
                f"design {self.name!r} with control {self.control}, share {self.share}: expected one of "
                f"{', '.join(DESIGNS)}, a control in all but whole, and a share between 0 and 1"
            )


@dataclass(frozen=True, eq=False)
class Group:
    """Users (bool[users]) whose lists are made in one way: from items of the creators ``visible`` (bool[creators]), with
    ``policy``'s matches of items of the creators ``matched``."""

    policy: Policy
    users: np.ndarray
    visible: np.ndarray
    matched: np.ndarray


def arms(design: Design, seed: int, users: int, creators: int) -> tuple[np.ndarray, np.ndarray]:
    """bool[users] and bool[creators]: who is treated. Later creators do not change the arms of earlier ones."""
    if design.name == "whole":
        return np.ones(users, bool), np.ones(creators, bool)
    treated = [
        uniform(seed, Purpose.ORDER, np.arange(count), kind) < design.share
        for count, kind in ((users, _USERS), (creators, _CREATORS))
    ]
    return treated[0], treated[1]


def groups(design: Design, user: np.ndarray, creator: np.ndarray) -> list[Group]:
    """The groups of a design, given the `arms`."""
    every, nobody = np.ones(len(creator), bool), np.zeros(len(creator), bool)

    def of(policy: Policy, users: np.ndarray, visible: np.ndarray) -> Group:
        return Group(policy, users, visible, nobody if policy.assigner == "none" else visible)

    if design.control is None:
        return [of(design.treatment, user, every)]
    if design.name == "co_diverted":
        return [of(design.control, ~user, ~creator), of(design.treatment, user, creator)]
    if design.name == "user_diverted":
        return [of(design.control, ~user, every), of(design.treatment, user, every)]
    return [Group(design.treatment, np.ones(len(user), bool), every, creator)]
