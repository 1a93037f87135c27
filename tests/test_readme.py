"""The README's example runs and prints what the README says; the commands, settings and files that it names exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_example_has_at_most_15_lines_and_prints_what_stands_below_it(tmp_path: Path) -> None:
    example, expected = blocks("python")[0], blocks("text")[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    run = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout == expected


def test_the_examples_with_more_rules_run_after_the_first(tmp_path: Path) -> None:
    examples = [block for block in blocks("python") if "dualrec.solve(" in block and "Distributed" not in block]
    assert len(examples) == 3
    code = [sys.executable, "-c", "\n".join(examples)]
    run = subprocess.run(code, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    said = next(block for block in blocks("text") if "matches are new" in block)
    assert run.stdout.endswith(said)


def test_the_example_with_workers_runs_after_the_first(tmp_path: Path) -> None:
    example = next(block for block in blocks("python") if "solve_shards(" in block)
    code = [sys.executable, "-c", blocks("python")[0] + example]
    run = subprocess.run(code, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1].startswith("50000 matches, gap ")
    assert (tmp_path / "allocation" / "pairs").is_dir()


def test_the_example_of_the_search_prints_what_stands_below_it(tmp_path: Path) -> None:
    example = next(block for block in blocks("python") if "search_candidates(" in block)
    run = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout in blocks("text")


def test_the_example_of_an_ab_test_prints_what_stands_below_it(tmp_path: Path) -> None:
    example = next(block for block in blocks("python") if "ab_assign" in block)
    run = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout in blocks("text")


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", README, re.MULTILINE))))
def test_every_make_target_that_is_named_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_every_file_that_is_linked_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_setting_that_is_named_is_a_setting() -> None:
    from dualrec.alloc.config import load_config
    from dualrec.alloc.simulation.simulation_config import load_simulation

    named = set(re.findall(r"\b([a-z_]+(?:\.[a-z_]+)+=(?:\[[^\]]*\]|[^\s`\")\],+]+))", README))
    assert named
    for setting in named:
        if setting.startswith("platform."):
            load_simulation("platform", [setting])
            continue
        # These two need what v1 has: item ids, a target.
        of_v1 = setting in ("heads.sa=true", "activity.mode=threshold")
        load_config("v1" if of_v1 else "nightly", [setting])
