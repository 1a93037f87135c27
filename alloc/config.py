"""The settings of a night: one frozen, checked object from a YAML file and `key=value` overrides."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, field_validator

from ..models.options import (
    ActivityOptions,
    HeadOptions,
    Options,
    RankerOptions,
    RetrievalOptions,
    ScoreOptions,
    TowerOptions,
)
from .config_errors import nearest, one_line
from .config_file import apply_overrides, read_config_file
from .errors import InputError
from .interactions import KINDS
from .world_options import WorldOptions

Reader = Literal["world", "generic", "globo", "deskdrop", "kuairand", "stackexchange"]
Solver = Literal["auction", "min-cost-flow", "lp", "pdlp", "greedy", "first-come", "local"]
EngineName = Literal["local", "threads", "ray"]
Baseline = Literal["first_come", "activity", "random", "category", "early_users"]


class DataOptions(Options):
    """Which tables, which day, and what may be known of that day's new items."""

    reader: Reader = "world"
    path: str | None = Field(default=None, description="folder of the data; not used by the built-in world")
    day: int | None = Field(
        default=None,
        ge=0,
        description="its new items are matched; none = the last day with a truth window, else the last",
    )
    regime: Literal["strict_cold", "warm"] = Field(
        default="strict_cold", description="strict_cold hides the interactions with the new items on the day itself"
    )
    holidays: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="dates such as 2017-10-12 on which people rest as on a Sunday"
    )
    world: WorldOptions = WorldOptions()


class AllocationOptions(Options):
    """Who gets it: the solver, the demand of an item and the capacity of a user."""

    solver: Solver = "auction"
    demand: int = Field(default=200, ge=0, description="users wanted for each item")
    capacity: int = Field(default=10, ge=0, description="most items that one user may be matched with")
    capacity_column: str | None = Field(
        default=None, description="column of the users table that holds each one's capacity"
    )
    gap: float = Field(default=1e-3, ge=0, lt=1, description="largest certified relative gap to stop at")
    time_limit: float | None = Field(
        default=None,
        gt=0,
        description="seconds of the candidate search, and of the last solve; the best answer so far counts",
    )


class EvaluateOptions(Options):
    """The comparison with what users did afterwards, where the data has it."""

    enabled: bool = True
    truth_days: int = Field(default=1, ge=1, description="days after the night whose interactions are the truth")
    min_truth: int = Field(default=10, ge=1, description="fewest truth users of an item that is scored")
    early_users_in_truth: bool = Field(
        default=True, description="whether users who met the item on its upload day count when they come back"
    )
    baselines: Annotated[tuple[Baseline, ...], Field(strict=False)] = get_args(Baseline)


class Config(Options):
    """All settings of a night. `threads`, `workers` and `out` do not change the result; everything else may, `engine` only
    in whether it is local."""

    seed: int = Field(default=7, ge=0, lt=2**32)
    threads: int = Field(default=0, ge=0, description="0 = all that this process may use")
    engine: EngineName = Field(
        default="local", description="where stages compute: this process, threads of it as workers, Ray actors"
    )
    workers: int = Field(default=2, ge=1, description="of the engines threads and ray")
    device: Literal["cpu", "cuda", "auto"] = Field(
        default="cpu",
        description="where networks are trained and the exact search over all pairs and the auction run; auto = a GPU where "
        "there is one",
    )
    data: DataOptions = DataOptions()
    activity: ActivityOptions = ActivityOptions()
    towers: TowerOptions = TowerOptions()
    retrieval: RetrievalOptions = RetrievalOptions()
    heads: HeadOptions = HeadOptions()
    score: ScoreOptions = ScoreOptions()
    ranker: RankerOptions = RankerOptions()
    allocation: AllocationOptions = AllocationOptions()
    evaluate: EvaluateOptions = EvaluateOptions()
    out: str = Field(default="out", min_length=1, description="folder of the runs")

    @field_validator("score")
    @classmethod
    def _heads_are_kinds(cls, score: ScoreOptions) -> ScoreOptions:
        for kind in score.beta:
            if kind not in KINDS:
                raise ValueError(
                    f"beta names {kind!r}, which is no feedback kind; the nearest is {nearest(kind, KINDS)!r}"
                )
        return score


def load_config(name: str | Path = "nightly", overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, or the shipped config of that name, with "section.key=value" overrides applied in order.

    Raises InputError, one line naming the file or override, the key, what was expected and the nearest known key.
    """
    values, source = read_config_file(name)
    try:
        return Config.model_validate(apply_overrides(values, overrides))
    except ValidationError as error:
        raise InputError(one_line(error, Config, source, overrides)) from None


def result_settings(config: Config, names: Iterable[str] | None = None) -> dict[str, Any]:
    """What may change a result, of all settings or of these top-level ones, as JSON holds it.

    Whether workers solve the allocation may change it, not how many they are or what they run on.
    """
    kept = set(Config.model_fields if names is None else names) - {"threads", "workers", "out"}
    settings = config.model_dump(mode="json", include=kept)
    return settings | ({"engine": "local" if config.engine == "local" else "workers"} if "engine" in kept else {})


def effective_config(config: Config) -> str:
    """Every setting, defaults too, as YAML that `load_config` reads back to an equal config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
