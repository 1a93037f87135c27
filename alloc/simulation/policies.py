"""The policies that the platform can run: how new items get their first viewers."""

from dataclasses import dataclass, replace

from ..errors import InputError

ASSIGNERS = ("none", "all", "first_come", "shortlist", "all_pairs", "floors", "fair_rec", "max_min", "mirror_descent")


@dataclass(frozen=True)
class Policy:
    """``assigner`` one of ASSIGNERS: none is Base (its cold items get the matches' exposures); all gives every item its best
    users, whatever their capacity; shortlist solves the candidates of the paper's store, all_pairs adds candidates at
    prices, and the peers solve what all_pairs was given.

    ``ranker`` a name in RANKERS; ``retrievals`` beside the two-tower one; ``theta`` exponent of the user's rate (eq. 10);
    ``activity``: none, threshold (the paper's) or probability; ``stream``: uploads are matched after the part of the day
    in which they come, and the night serves those that are short.
    """

    name: str
    assigner: str
    ranker: str = "sa_ef"
    retrievals: tuple[str, ...] = ("i2i2u", "i2u2u")
    theta: float = 0.0
    activity: str = "probability"
    stream: bool = False


_V1 = Policy("v1", "first_come", ranker="v1", retrievals=(), activity="threshold")
_V5 = replace(_V1, name="v5", ranker="sa_ef", retrievals=("i2i2u", "i2u2u"), theta=1.0)
_NIGHTLY = Policy("nightly", "all_pairs")

POLICIES = {
    policy.name: policy
    for policy in (
        Policy("base", "none"),
        _V1,
        replace(_V1, name="v2", ranker="sa_ef"),
        replace(_V1, name="v3", ranker="sa_ef", retrievals=("i2i2u",)),
        replace(_V5, name="v4", theta=0.0),
        _V5,
        replace(_V1, name="v1_all_users", activity="none"),
        replace(_V5, name="no_capacity", assigner="all"),
        replace(_NIGHTLY, name="first_come", assigner="first_come"),
        _NIGHTLY,
        replace(_NIGHTLY, name="night_stream", stream=True),
        replace(_NIGHTLY, name="floors", assigner="floors"),
        replace(_NIGHTLY, name="shortlist", assigner="shortlist"),
        replace(_NIGHTLY, name="fair_rec", assigner="fair_rec"),
        replace(_NIGHTLY, name="max_min", assigner="max_min"),
        replace(_NIGHTLY, name="mirror_descent", assigner="mirror_descent"),
    )
}
"""By name. first_come and all below it differ from nightly in the assigner alone: same candidates, scores, capacities."""


def policy(name: str) -> Policy:
    """The policy of a name. Raises InputError."""
    if name not in POLICIES:
        raise InputError(f"unknown policy {name!r}, expected one of {', '.join(POLICIES)}")
    return POLICIES[name]
