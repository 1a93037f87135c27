"""The experiment: versions by name with settings of their own, one row each, read again when made before."""

import json
from pathlib import Path

import pytest

from dualrec.alloc.errors import InputError
from dualrec.alloc.experiment import experiment_table, read_versions, run_experiment, summarise
from dualrec.alloc.progress import NullProgress

QUICK = (
    "towers.epochs=1",
    "towers.dim=8",
    "activity.trees=40",
    "activity.target_hit_rate=0.7",
    "allocation.capacity=4",
)


def test_versions_have_settings_of_their_own() -> None:
    shared, own = read_versions("v1, v1+activity.mode=none+seed=4", ["seed=3"])
    assert (shared.name, shared.config.seed, shared.config.activity.mode) == ("v1", 3, "threshold")
    assert (own.config.seed, own.config.activity.mode) == (4, "none")


@pytest.mark.parametrize(
    ("text", "line"),
    [("", "expected configs"), ("v1,v1", "'v1' twice"), ("v9", "does not exist"), ("v1+towers.dim=no", "towers.dim")],
)
def test_what_is_no_version_is_refused(text: str, line: str) -> None:
    with pytest.raises(InputError, match=line):
        read_versions(text, [])


def test_the_papers_versions_differ_as_the_paper_says() -> None:
    v1, v2, v3, v4, v5 = (version.config for version in read_versions("v1,v2,v3,v4,v5", []))
    assert (v1.heads.sa, v1.heads.ef, v2.heads.sa, v2.heads.ef) == (False, False, True, True)
    assert v1.model_copy(update={"heads": v2.heads}) == v2
    assert (v2.retrieval.i2i2u, v3.retrieval.i2u2u) == (0, 0) and v3.retrieval.i2i2u > 0 and v4.retrieval.i2u2u > 0
    assert v4.model_copy(update={"score": v5.score}) == v5 and v5.score.theta_exponent == 1


def test_a_small_experiment(small_night: tuple[str, ...], tmp_path: Path) -> None:
    settings = [*small_night, *QUICK, "data.regime=warm"]
    settings = [one for one in settings if not one.startswith("retrieval.")]
    names = "base,v1,v4+activity.mode=none+retrieval.two_tower=30"
    versions = read_versions(names, settings)
    table = run_experiment(versions, 2, tmp_path, NullProgress())
    about = json.loads((tmp_path / "experiment" / "experiment.json").read_text())
    runs = about["runs"]
    assert list(runs) == names.split(",") and all(len(made) == 2 for made in runs.values())
    for made in runs.values():
        for run in made:
            assert 0 < run["hit_rate"] <= 1 and 0 < run["coverage"] <= 1 and run["delivered"] > 0
            assert sum(run["share"].values()) == pytest.approx(1)
    assert {run["share"]["user_side"] for run in runs["base"]} == {1.0}
    assert {run["share"]["two_tower"] for run in runs["v1"]} == {1.0}
    assert all(run["share"]["i2i2u"] > 0 for run in runs["v4+activity.mode=none+retrieval.two_tower=30"])
    gain = [
        known["hit_rate"] - off["hit_rate"] for known, off in zip(runs["v1"], runs[names.split(",")[2]], strict=True)
    ]
    assert min(gain) > 0 and sum(gain) > 0.1, "users above the cut come more often than users at large"
    assert "hit rate" in table and "±" in table and "v1" in table
    before = (tmp_path / "experiment" / "experiment.json").stat().st_mtime_ns
    assert run_experiment(versions, 2, tmp_path, NullProgress()) == table
    assert (tmp_path / "experiment" / "experiment.json").stat().st_mtime_ns > before
    with pytest.raises(InputError, match="--seeds is 0"):
        run_experiment(versions, 0, tmp_path, NullProgress())


def test_figures_that_a_run_lacks_are_dashes() -> None:
    runs = {"a": [{"matches": 2, "hit_rate": 0.5, "share": {"two_tower": 1.0}}], "b": [{"matches": 4, "share": {}}]}
    table = experiment_table({name: summarise(made) for name, made in runs.items()}, 1).splitlines()
    assert table[0].split()[-1] == "two_tower" and table[2].split() == ["b", "4.00", "-", "-"]
