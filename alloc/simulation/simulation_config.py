"""The settings of a simulation: one frozen, checked object from a YAML file and `key=value` overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from ...models.options import Options
from ..config_errors import one_line
from ..config_file import apply_overrides, read_config_file
from ..errors import InputError
from .options import PlatformOptions
from .policies import POLICIES

Design = Literal["co_diverted", "user_diverted", "creator_only"]


class AbOptions(Options):
    """The A/B tests that are simulated beside the whole worlds; their truth needs both policies run for all."""

    designs: Annotated[tuple[Design, ...], Field(strict=False)] = ()
    control: str = "base"
    treatment: str = "nightly"
    share: float = Field(default=0.5, gt=0, lt=1, description="of users and creators who are treated")


class SimulationConfig(Options):
    """All settings. ``policies`` in the order of the table; ``compare``: "b/a" says how much better b is than a."""

    seed: int = Field(default=1, ge=0, lt=2**32)
    seeds: int = Field(default=1, ge=1, description="worlds, of the seeds from `seed` on")
    settle_days: int = Field(default=5, ge=0, description="first days of a policy that do not count")
    platform: PlatformOptions = PlatformOptions()
    policies: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = ("base", "first_come", "nightly")
    compare: Annotated[tuple[str, ...], Field(strict=False)] = ("nightly/base", "nightly/first_come")
    test: AbOptions = AbOptions()

    @model_validator(mode="after")
    def _names_are_known(self) -> "SimulationConfig":
        test = self.test
        named = {"policies": self.policies, "test.control": (test.control,), "test.treatment": (test.treatment,)}
        for key, names in named.items():
            for name in names:
                if name not in POLICIES:
                    raise ValueError(f"{key} has {name!r}, expected some of {', '.join(POLICIES)}")
        for key, names in (("policies", self.policies), ("compare", self.compare), ("test.designs", test.designs)):
            if len(set(names)) < len(names):
                raise ValueError(f"{key} is {', '.join(names)}, expected each once")
        return self

    @model_validator(mode="after")
    def _two_are_compared(self) -> "SimulationConfig":
        run, test = set(self.policies), self.test
        for pair in self.compare:
            two = set(pair.split("/"))
            if pair.count("/") != 1 or len(two) != 2 or not two <= run:
                raise ValueError(f"compare has {pair!r}, expected two of the policies, as in nightly/base")
        if test.designs and not {test.control, test.treatment} <= run:
            raise ValueError("test.control and test.treatment must be among the policies: their worlds are the truth")
        if test.control == test.treatment:
            raise ValueError(f"test.control and test.treatment are both {test.control}, expected two policies")
        return self

    @model_validator(mode="after")
    def _numbers_fit(self) -> "SimulationConfig":
        if self.seed + self.seeds > 2**32:
            raise ValueError(f"seed + seeds is {self.seed + self.seeds}, expected at most 2**32")
        if self.settle_days >= self.platform.days:
            raise ValueError(f"settle_days is {self.settle_days}, expected fewer than platform.days")
        return self


def load_simulation(name: str | Path, overrides: Sequence[str] = ()) -> SimulationConfig:
    """Read a YAML file, or the shipped config of that name, with overrides applied in order. Raises InputError."""
    values, source = read_config_file(name)
    try:
        return SimulationConfig.model_validate(apply_overrides(values, overrides))
    except ValidationError as error:
        raise InputError(one_line(error, SimulationConfig, source, overrides)) from None
