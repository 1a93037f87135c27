"""Worlds side by side: every policy and design from the same first weeks, on every seed."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..artifacts import canonical_json, load_json, save_json, write_text
from ..lock import run_lock
from ..progress import Progress, Task
from ..stage_store import code_version
from .comparison import compare, simulation_table
from .designs import Design
from .platform import State, arms_before, begin, end_design, run_day
from .policies import policy
from .simulation_config import SimulationConfig
from .simulation_report import render_simulation

FOLDER = "simulation"
Days = list[dict[str, float]]


def simulate(config: SimulationConfig, out: Path, progress: Progress) -> str:
    """Run all policies and designs on all seeds; the table, which `OUT/simulation/` holds too, as text, JSON and a report.

    What was run before with the same settings and program is read, not run again. Raises OSError when the disk fails and
    InputError when another process works in the folder.
    """
    folder = out / FOLDER
    with run_lock(folder):
        days: dict[str, list[Days]] = {name: [] for name in _parts(config)}
        for seed in range(config.seed, config.seed + config.seeds):
            with progress.stage(f"seed {seed}"):
                for name, run in _of_seed(config, seed, folder / "runs", progress):
                    days[name].append(run)
        found = compare(config, days)
        table = simulation_table(config, found)
        save_json(
            folder / "simulation.json", {"config": config.model_dump(mode="json"), "figures": found, "days": days}
        )
        write_text(folder / "simulation.md", table + "\n")
        write_text(folder / "report.html", render_simulation(config, found, days))
    return f"{table}\nreport: {folder / 'report.html'}"


def _parts(config: SimulationConfig) -> dict[str, Design]:
    """Name -> design: of each policy for all, and of each test."""
    whole = {name: Design("whole", policy(name)) for name in config.policies}
    test = config.test
    control, treatment = policy(test.control), policy(test.treatment)
    return whole | {name: Design(name, treatment, control, test.share) for name in test.designs}


def _of_seed(config: SimulationConfig, seed: int, stored: Path, progress: Progress) -> Iterator[tuple[str, Days]]:
    """Every part's days on one seed, read where they are stored."""
    stored.mkdir(exist_ok=True)
    parts = _parts(config)
    path = {name: stored / f"{_key(config, name, design, seed)}.json" for name, design in parts.items()}
    missing = [name for name in parts if not path[name].exists()]
    options = config.platform
    task = progress.task(f"seed {seed}", (options.warm_days if missing else 0) + options.days * len(missing))
    warm = _warm(config, seed, task) if missing else None
    for name, design in parts.items():
        if name in missing and warm is not None:
            state = warm if name == missing[-1] else warm.copy()
            save_json(path[name], _run(config, state, design, task))
        yield name, load_json(path[name])


def _warm(config: SimulationConfig, seed: int, task: Task) -> State:
    state = begin(config.platform, seed)
    for _ in range(config.platform.warm_days):
        run_day(config.platform, state, Design("whole", policy("base")))
        task.advance()
    return state


def _run(config: SimulationConfig, state: State, design: Design, task: Task) -> Days:
    end_design(state)
    before = arms_before(config.platform, state, design)
    days = []
    for _ in range(config.platform.days):
        days.append(run_day(config.platform, state, design) | before)
        task.advance()
    return days


def _key(config: SimulationConfig, name: str, design: Design, seed: int) -> str:
    parts: dict[str, Any] = {
        "code": code_version(),
        "platform": config.platform.model_dump(mode="json"),
        "name": name,
        "design": [design.treatment.name, design.control.name if design.control else "", design.share],
        "seed": seed,
    }
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:24]
