"""Options of the models: frozen, checked when made, and the sections of the config file of the same names."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

RankerKind = Literal["heads", "cross", "experts", "both"]


class Options(BaseModel):
    """Base of every section: frozen, no unknown keys, no NaN or infinity, no silent change of type."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class ActivityOptions(Options):
    """The activity model: the chance that a user visits in the days after, on the next one by default."""

    target_days: int = Field(
        default=1, ge=1, description="days after the night's that a visit is expected in; 1 = the next day"
    )
    history_days: int = Field(default=30, ge=1, description="days of interactions that the features look back over")
    train_days: int = Field(default=7, ge=1, description="days used as training targets, the latest ones")
    trees: int = Field(default=120, ge=1)
    depth: int = Field(default=5, ge=1, le=16)
    min_child_weight: float = Field(default=50.0, ge=0, description="smallest sum of hessians in a leaf")
    max_rows: int = Field(default=400_000, ge=1000, description="most (user, day) rows trained on")
    learning_rate: float = Field(default=0.1, gt=0, le=1)
    mode: Literal["probability", "threshold", "none"] = Field(
        default="probability",
        description="probability multiplies the score; threshold only keeps users above it; none = everybody counts alike",
    )
    threshold: float | None = Field(default=None, ge=0, le=1, description="used in threshold mode")
    target_hit_rate: float | None = Field(
        default=None, gt=0, lt=1, description="threshold mode: chosen to reach this hit rate"
    )

    @model_validator(mode="after")
    def _threshold_is_given(self) -> "ActivityOptions":
        if self.mode == "threshold" and self.threshold is None and self.target_hit_rate is None:
            raise ValueError("mode is 'threshold', expected a threshold or a target_hit_rate too; give one of them")
        return self


class TowerOptions(Options):
    """The two-tower model and its training."""

    dim: int = Field(default=64, ge=1, le=1024, description="length of each half of the vectors of users and items")
    epochs: int = Field(default=5, ge=1, le=1000)
    batch: int = Field(default=2048, ge=1, description="positives in a training step")
    negatives: int = Field(default=20, ge=1, le=1000, description="active users sampled at random for each positive")
    learning_rate: float = Field(default=0.003, gt=0)
    weight_decay: float = Field(default=0.001, ge=0)
    train_days: int = Field(default=5, ge=1, description="past days whose new items are learnt from, the latest ones")
    target_days: int = Field(default=1, ge=1, description="days after an item's upload day that count as its outcome")
    history_days: int = Field(default=30, ge=1, description="days of interactions that the features look back over")
    positives_per_item: int = Field(default=100, ge=1, description="most positives of one item in an epoch")
    item_id: bool = Field(default=False, description="an embedding of each item's own, which a new item does not have")
    sa: bool = Field(
        default=False, description="with item_id: each sample is learnt from twice, once without the item's embedding"
    )
    ef: bool = Field(
        default=True, description="features of the users who met the item, and of those who met items similar to it"
    )
    negatives_from: Literal["active", "batch"] = Field(
        default="active", description="negatives: active users at random, or the other positives' users of the batch"
    )
    patience: int = Field(
        default=0, ge=0, description="epochs without gain on held-out positives before training ends; 0 = all epochs"
    )

    tastes: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="length of a part of the vectors by which users are near items that users of their tastes met on the "
        "day of upload; 0 = none",
    )

    @model_validator(mode="after")
    def _tastes_need_ef(self) -> "TowerOptions":
        if self.tastes and not self.ef:
            raise ValueError(
                f"tastes is {self.tastes} and ef is false, expected ef too: tastes look at who met the item"
            )
        return self

    @model_validator(mode="after")
    def _sa_drops_an_id(self) -> "TowerOptions":
        if self.sa and not self.item_id:
            raise ValueError("sa is true and item_id is false, expected item_id too: sa drops the item's embedding")
        return self


class RetrievalOptions(Options):
    """How many users each retrieval proposes for an item, and the rounds at current prices."""

    two_tower: int = Field(default=200, ge=0, description="users of the two-tower index")
    i2i2u: int = Field(default=200, ge=0, description="users who liked similar items")
    i2u2u: int = Field(default=200, ge=0, description="users similar to those who liked the item already")
    similarity: Literal["auto", "content", "cf", "graph"] = Field(
        default="auto", description="of items; auto = by content, without it by category, without either by users"
    )
    user_similarity: Literal["auto", "content", "cf", "graph"] = Field(
        default="auto", description="of users; auto = cf, by what they liked"
    )
    search: Literal["all_pairs", "retrievals", "user_side"] = Field(
        default="all_pairs",
        description="candidates: over all pairs at user prices; only what the retrievals found (the paper's v1 to v5); "
        "each user's own best items (the paper's Base)",
    )
    sequential: int = Field(default=300, ge=1, description="users still available in one pass in upload order")
    price_rounds: int = Field(default=4, ge=0, description="times that candidates are sought again at current prices")
    price_candidates: int = Field(default=300, ge=1, description="users of a price round")
    device: Literal["cpu", "cuda"] = Field(
        default="cpu", description="where the search over all pairs runs; a GPU's scores may differ in the last bit"
    )


class ScoreOptions(Options):
    """The score of a pair (eq. 10 of the paper)."""

    beta: dict[str, float] = Field(default={}, description="weight of each head; empty = the defaults by head")
    theta_exponent: float = Field(
        default=0.0, ge=0, le=1, description="exponent of the user's interaction rate; 1 = v5"
    )
    interaction_exponent: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="exponent of P(the user interacts at all): 1 where the log holds what users chose, such as clicks; "
        "0 where it holds all that they were shown, so that the heads say the rest (eq. 10 as in the paper)",
    )
    rate_exponent: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="exponent of an item's expected popularity: 1 = most expected feedback, 0 = all items count alike",
    )
    breadth_exponent: float = Field(
        default=0.0, ge=0, le=2, description="exponent of how many different items the user met lately; 0 = none counts"
    )
    theta_smoothing: float = Field(
        default=20.0, gt=0, description="visits' worth of the mean rate added to each user's own"
    )


class HeadOptions(Options):
    """The chance of each kind of feedback when a user is shown an item: the ranking of the night."""

    model: Literal["network", "rates"] = Field(
        default="network",
        description="network: towers with an output for each kind, learnt from all interactions; rates: logistic curves of "
        "the two-tower product and the smoothed rates of the user and of the item's creator or category",
    )
    dim: int = Field(default=32, ge=1, le=1024, description="length of a user's taste and an item's appeal")
    train_days: int = Field(
        default=20, ge=1, description="days whose interactions are learnt from, before those held out"
    )
    max_rows: int = Field(
        default=600_000, ge=1, description="most interactions that are learnt from, evenly over the days"
    )
    epochs: int = Field(default=4, ge=1, le=1000)
    batch: int = Field(default=2048, ge=1, description="interactions in a training step")
    learning_rate: float = Field(default=0.006, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    item_id: bool = Field(default=False, description="an embedding of each item's own, which a new item does not have")
    sa: bool = Field(
        default=False, description="with item_id: each sample is learnt from twice, once without the item's embedding"
    )
    ef: bool = Field(default=True, description="what came of an item so far, and the tastes of those who met it")

    @model_validator(mode="after")
    def _sa_drops_an_id(self) -> "HeadOptions":
        if self.sa and not self.item_id:
            raise ValueError("sa is true and item_id is false, expected item_id too: sa drops the item's embedding")
        return self


class RankerOptions(Options):
    """Rankers on columns of user and item together: boosted trees (cross), a mixture of experts, and both together."""

    kinds: Annotated[tuple[RankerKind, ...], Field(strict=False, min_length=1)] = Field(
        default=("heads", "cross", "experts", "both"),
        description="rankers that evaluate-heads compares; the night itself scores pairs by the logistic heads",
    )
    held_out: float = Field(
        default=0.15, gt=0, lt=1, description="share of the training rows, the latest, for stopping and calibration"
    )
    test_days: int = Field(default=4, ge=1, description="last days of the data, on which evaluate-heads judges")
    min_positives: int = Field(default=100, ge=1, description="fewest test positives of a head that is reported")
    resamples: int = Field(default=200, ge=10, description="resamples of the users behind each interval")
    known: Literal["row", "day"] = Field(
        default="row", description="what features may see: all that came before the row, or before its day"
    )
    bags: int = Field(default=4, ge=1, le=100, description="models that differ in their seed, averaged")
    trees: int = Field(default=400, ge=1, description="most trees of one head; the held-out rows say how many")
    depth: int = Field(default=4, ge=1, le=16)
    learning_rate: float = Field(default=0.04, gt=0, le=1)
    min_child_weight: float = Field(default=10.0, ge=0, description="smallest sum of hessians in a leaf")
    l2: float = Field(default=5.0, ge=0, description="ridge on the leaves")
    row_share: float = Field(default=0.7, gt=0, le=1, description="rows that each tree sees")
    column_share: float = Field(default=0.3, gt=0, le=1, description="columns that each tree sees")
    experts: int = Field(default=6, ge=1, le=256)
    width: int = Field(default=32, ge=1, le=4096, description="length of an expert's output")
    epochs: int = Field(default=20, ge=1, le=1000, description="most epochs; the held-out rows say how many")
    patience: int = Field(default=4, ge=1, description="epochs without a gain on the held-out rows before stopping")
    batch: int = Field(default=512, ge=1, description="rows in a training step of the experts")
    expert_learning_rate: float = Field(default=0.002, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    balance: float = Field(default=0.01, ge=0, description="weight of the loss that keeps every expert in use")
