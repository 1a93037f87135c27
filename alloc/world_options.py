"""Options of the built-in world."""

from pydantic import Field, model_validator

from ..models.options import Options


class WorldOptions(Options):
    """How large the built-in world is and how it behaves. A spread is a standard deviation."""

    users: int = Field(default=20_000, ge=10, description="users; some of them are creators too")
    creators: int = Field(default=1_500, ge=1, description="users who upload")
    items_per_day: float = Field(default=300.0, gt=0, description="mean uploads per day")
    days: int = Field(default=35, ge=1, description="days of visits; day 0 is a Monday")
    content_dim: int = Field(default=32, ge=2, description="length of an item's content embedding")
    topics: int = Field(default=40, ge=2, description="topics of items, their categories")
    topics_per_user: int = Field(default=3, ge=1, description="topics that a user's taste mixes")
    content_noise: float = Field(default=0.6, ge=0, description="noise in what an item is; its topic has length 1")
    content_blur: float = Field(
        default=0.0, ge=0, description="noise of the content embedding around what the item is, which users react to"
    )
    daily_active_share: float = Field(
        default=0.3, gt=0, lt=0.7, description="expected share of users who visit on a day"
    )
    activity_spread: float = Field(default=2.2, ge=0, description="spread between users, log-odds of a visit")
    items_per_visit: float = Field(default=5.0, ge=1, description="mean items wanted in a visit; seen ones drop out")
    new_item_share: float = Field(
        default=0.25, ge=0, le=1, description="share of the day's own items in what is offered"
    )
    lifetime_days: float = Field(default=1.5, gt=0, description="median days until an item's exposure is down to 1/e")
    interaction_spread: float = Field(default=1.0, ge=0, description="spread between users, log-odds of a reaction")

    @model_validator(mode="after")
    def _creators_are_users(self) -> "WorldOptions":
        if self.creators > self.users:
            raise ValueError(f"creators is {self.creators}, expected at most users = {self.users}: creators are users")
        if self.topics_per_user > self.topics:
            raise ValueError(f"topics_per_user is {self.topics_per_user}, expected at most topics = {self.topics}")
        return self
