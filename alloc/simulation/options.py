"""Parameters of the platform, each with its unit and where it comes from.

Sources: *paper*: the DualRec paper; *KuaiRand videos*, *excerpt*: public tables of KuaiRand (Gao et al., CIKM 2022), its
videos and an excerpt of its log that holds only liked or hated items, so no rate of all exposures; *chosen*: no public
figure, set once so that the world is plausible, and for no seed or policy in particular.
"""

from typing import Annotated

from pydantic import Field, model_validator

from ...models.options import Options


class PeopleOptions(Options):
    """Who is there. A spread is a standard deviation."""

    users: int = Field(default=100_000, ge=100, description="users")
    creators: int = Field(default=20_000, ge=10, description="creators on the first day")
    dim: int = Field(default=16, ge=2, description="numbers that describe a taste or an item (chosen)")
    topics: int = Field(default=40, ge=2, description="topics (chosen)")
    topics_per_user: int = Field(default=3, ge=1, description="topics that a taste mixes (chosen)")
    daily_active: float = Field(default=0.35, gt=0, lt=0.7, description="share of users who come on a day (paper: 0.3)")
    activity_spread: float = Field(default=3.0, ge=0, le=10, description="log-odds of a visit, between users (chosen)")
    mood_spread: float = Field(default=0.7, ge=0, le=10, description="log-odds of a visit, from day to day (chosen)")
    mood_memory: float = Field(
        default=0.8, ge=0, lt=1, description="correlation of the mood with the day before (chosen)"
    )
    satisfaction: float = Field(
        default=1.0, ge=0, le=100, description="log-odds of a visit per unit of share watched above the usual (chosen)"
    )
    appetite: float = Field(
        default=100.0, ge=1, le=1e6, description="mean items a day that a visitor would look at (chosen)"
    )
    longest: int = Field(default=150, ge=1, le=10_000, description="most items in a session (chosen)")
    patience: float = Field(
        default=40.0, ge=1, le=500, description="mean items not watched after which a session ends (chosen)"
    )


class FeedbackOptions(Options):
    """How users react: log-odds at the mean, and per unit of cosine between taste and item, quality, habit of the user."""

    watch: float = Field(
        default=-1.3, ge=-100, le=100, description="effective view (KuaiRand excerpt: 0.46 long views)"
    )
    like: float = Field(default=-5.6, ge=-100, le=100, description="like, after a view (chosen: 2 to 3 % of exposures)")
    comment: float = Field(
        default=-7.6, ge=-100, le=100, description="comment (KuaiRand excerpt: 0.03 of liked or hated items)"
    )
    follow: float = Field(
        default=-8.2, ge=-100, le=100, description="follow (KuaiRand excerpt: 0.007 of liked or hated items)"
    )
    affinity: float = Field(default=3.0, ge=0, le=100, description="of the cosine (chosen)")
    quality: float = Field(default=0.9, ge=0, le=100, description="of an item's log quality (chosen)")
    habit: float = Field(default=0.8, ge=0, le=100, description="spread of users' readiness to react (chosen)")
    unwatched: float = Field(
        default=-2.5, ge=-100, le=100, description="added for likes and the like without a view (chosen)"
    )
    ageing: float = Field(default=0.25, ge=0, le=100, description="lost per day of an item's age (chosen)")
    view_seconds: float = Field(
        default=32.0, gt=0, le=86_400, description="of a view (KuaiRand videos: lower quartile of durations)"
    )
    skip_seconds: float = Field(default=3.0, gt=0, le=86_400, description="of an item not watched (chosen)")


class CreatorOptions(Options):
    """Who uploads, and what keeps them at it."""

    uploads: float = Field(default=0.5, gt=0, le=12, description="mean uploads a day of a creator (chosen)")
    output_spread: float = Field(
        default=1.0, ge=0, le=5, description="log uploads, between creators (chosen: heavy tail)"
    )
    skill_spread: float = Field(default=0.5, ge=0, le=100, description="log quality, between creators (chosen)")
    quality_spread: float = Field(
        default=0.7, ge=0, le=100, description="log quality, between a creator's items (chosen)"
    )
    content_noise: float = Field(
        default=0.8, ge=0, le=100, description="what an item is, around its topic of length 1 (chosen)"
    )
    content_blur: float = Field(
        default=0.3, ge=0, le=100, description="what is known of it, around what it is (chosen)"
    )
    encouragement: float = Field(
        default=1.2,
        ge=0,
        le=100,
        description="uploads gained at most by feedback, as a share (paper: 5.4 rises, no figure)",
    )
    encouragement_half: float = Field(
        default=2.5,
        gt=0,
        description="log(1 + likes + 2 comments + 3 follows) a day at which half of it is gained (chosen)",
    )
    memory: float = Field(default=0.85, ge=0, lt=1, description="of yesterday's encouragement (chosen)")
    unseen: int = Field(
        default=15, ge=0, description="exposures in two days below which an upload was for nothing (chosen)"
    )
    leaving: float = Field(default=0.02, ge=0, le=1, description="chance to leave after such an upload (chosen)")
    joining: float = Field(
        default=0.01, ge=0, le=1, description="new creators a day, as a share of the first ones (chosen)"
    )


class RecommenderOptions(Options):
    """The user-side recommender that all policies share."""

    live_days: int = Field(
        default=4,
        ge=3,
        description="days from its upload on for which an item is shown (chosen); a second request is for the third day",
    )
    index_least: int = Field(
        default=10, ge=0, description="exposures without which an item is not in the index (chosen)"
    )
    spare: int = Field(default=40, ge=0, description="candidates beyond the longest session, for those seen before")
    noise: float = Field(
        default=0.3, ge=0, le=100, description="spread of noise in the order of a list, log-odds (chosen)"
    )
    taste_memory: float = Field(default=0.97, ge=0, lt=1, description="of a user's vector, a day (chosen)")
    taste_prior: float = Field(
        default=10.0, ge=1e-3, description="exposures' weight of knowing nothing of a user (chosen)"
    )
    rate_prior: float = Field(
        default=20.0, ge=1e-3, description="exposures' weight of an item's expected rate (chosen)"
    )
    cold_share: float = Field(
        default=0.05, gt=0, lt=1, description="share of exposures of items that few have seen, Base's strategy (chosen)"
    )
    match_share: float = Field(
        default=0.04,
        gt=0,
        lt=1,
        description="share of exposures of matches; Base gives it to cold items too (paper: 0.02)",
    )
    seen_remembered: int = Field(default=256, ge=1, description="items a user has seen last, which are not shown again")

    @model_validator(mode="after")
    def _shares_fit(self) -> "RecommenderOptions":
        if self.cold_share + self.match_share >= 1:
            raise ValueError(
                f"cold_share + match_share is {self.cold_share + self.match_share:g}, expected less than 1"
            )
        return self


class MatchOptions(Options):
    """What matching is asked for. The paper's 200 users are scaled to the exposures that an upload has here."""

    demand: int = Field(default=12, ge=1, description="users wanted for an item (paper: 200 of some 7,500 exposures)")
    top_up: int = Field(default=6, ge=0, description="users wanted by a second request, the day after (chosen)")
    capacity: int = Field(default=5, ge=1, description="most items of a user a day (paper: 10)")
    candidates: int = Field(default=60, ge=1, description="users from the two-tower retrieval, an item")
    more_candidates: int = Field(default=30, ge=0, description="from each other retrieval")
    threshold_hit_rate: float = Field(
        default=0.8, gt=0, lt=1, description="of the activity threshold (paper: 0.82 came)"
    )
    similar_items: int = Field(default=10, ge=1, description="items like an item, in i2i2u")
    gap: float = Field(default=2e-3, gt=0, le=1, description="of the auction")


class PlatformOptions(Options):
    """A platform and how long it runs."""

    people: PeopleOptions = PeopleOptions()
    feedback: FeedbackOptions = FeedbackOptions()
    creators: CreatorOptions = CreatorOptions()
    recommender: RecommenderOptions = RecommenderOptions()
    match: MatchOptions = MatchOptions()
    warm_days: int = Field(default=14, ge=3, description="days under Base before the policies part")
    days: int = Field(default=21, ge=1, description="days of each policy")
    periods: int = Field(default=4, ge=1, le=12, description="parts of a day; matches and rates are renewed after each")
    reach: Annotated[tuple[int, ...], Field(strict=False)] = Field(
        default=(50, 250, 1000), description="exposures that ExpoReach counts items by"
    )

    @model_validator(mode="after")
    def _fits(self) -> "PlatformOptions":
        if self.people.topics_per_user > self.people.topics:
            raise ValueError(
                f"topics_per_user is {self.people.topics_per_user}, expected at most topics = {self.people.topics}"
            )
        if list(self.reach) != sorted(set(self.reach)) or not self.reach or self.reach[0] < 1:
            raise ValueError(f"reach is {list(self.reach)}, expected rising numbers of exposures from 1 on")
        return self
