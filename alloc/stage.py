"""A named stage of the night: its inputs, the settings that change its result, the function that fills its folder."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from .config import Config
from .partitions import Engine, ThreadEngine
from .progress import Progress


@dataclass(frozen=True)
class StageContext:
    """What a running stage sees.

    `config` holds only the sections that the stage names in its settings: reading another raises AttributeError, so a
    result can never depend on a setting that does not change the stage's key. `out` is an empty folder to fill.
    `threads` is at least 1 and must not change the result, nor must `engine`, by which parts are computed, where the stage
    does not name it in its settings. `seconds` has the time that each earlier stage took.
    """

    config: Config
    config_yaml: str
    out: Path
    threads: int
    progress: Progress
    folders: Mapping[str, Path] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    engine: Engine = field(default_factory=lambda: ThreadEngine(1, "local"))

    def input(self, name: str) -> Path:
        """The folder of an earlier, finished stage. Raises KeyError when the stage does not name it as an input."""
        if name not in self.folders:
            raise KeyError(f"stage input {name!r} is not among those named: {', '.join(self.folders) or 'none'}")
        return self.folders[name]


@dataclass(frozen=True)
class Stage:
    """One stage: `run(context)` fills `context.out` from the folders of the stages named in `inputs`.

    `settings` are the names of the config's top-level sections that change the result. `run` is the function, or
    "package.module:function", which is imported when the stage starts. `reads_data` marks a stage that reads the data
    folder itself, so that other data means another key.
    """

    name: str
    run: Callable[[StageContext], None] | str
    inputs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    reads_data: bool = False

    def function(self) -> Callable[[StageContext], None]:
        """The function to run, imported when `run` is its place."""
        return self.run if callable(self.run) else resolve(self.run)


def resolve(place: str) -> Callable[..., None]:
    """The function at "package.module:function". Raises ImportError or AttributeError."""
    module, _, name = place.partition(":")
    return cast(Callable[..., None], getattr(importlib.import_module(module), name))


def visible_settings(config: Config, settings: tuple[str, ...]) -> Config:
    """A copy of `config` from which every section that `settings` does not name is gone."""
    shown = config.model_copy()
    for name in set(type(config).model_fields) - set(settings):
        del shown.__dict__[name]
    return shown
