"""Settings: read, checked, explained in one line, and written back."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from dualrec.alloc.config import Config, effective_config, load_config
from dualrec.alloc.config_errors import known_paths, nearest
from dualrec.alloc.config_file import parse_yaml, shipped_configs
from dualrec.alloc.errors import InputError
from dualrec.alloc.interactions import KINDS
from dualrec.alloc.simulation.simulation_config import load_simulation


def message(*overrides: str, file: str | Path = "nightly") -> str:
    """The one line that this input is refused with."""
    with pytest.raises(InputError) as caught:
        load_config(file, overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", ["nightly", "globo"])
def test_shipped_configs_load_by_name_and_by_path(name: str) -> None:
    assert load_config(name) == load_config(str(shipped_configs()[name]))


def test_every_shipped_config_loads() -> None:
    for name in shipped_configs():
        if name.startswith("platform"):
            load_simulation(name)
        else:
            load_config(name)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("policies=[base, nightli]", "policies has 'nightli', expected some of"),
        ("compare=[nightly/v1]", "expected two of the policies"),
        ("platform.people.creator=3", "the nearest known is platform.people.creators"),
        ("settle_days=21", "fewer than platform.days"),
        ("platform.reach=[50, 20]", "expected rising numbers"),
        ("test.designs=[sideways]", "test.designs"),
    ],
)
def test_a_simulation_is_refused_in_one_line(override: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        load_simulation("platform", [override])
    assert words in str(error.value) and "\n" not in str(error.value)


@given(
    seed=st.integers(0, 2**32 - 1),
    gap=st.floats(0, 0.999),
    beta=st.dictionaries(st.sampled_from(KINDS), st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    path=st.none() | st.text(),
    day=st.none() | st.integers(0, 400),
    baselines=st.lists(st.sampled_from(["first_come", "activity", "random", "category"]), unique=True),
)
def test_the_effective_config_loads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, *, seed: int, gap: float, beta: dict, path: str, day: int, baselines: list
) -> None:
    config = Config.model_validate(
        {
            "seed": seed,
            "data": {"path": path, "day": day},
            "score": {"beta": beta},
            "allocation": {"gap": gap},
            "evaluate": {"baselines": baselines},
        }
    )
    file = tmp_path_factory.mktemp("config") / "config.yaml"
    file.write_text(effective_config(config), encoding="utf-8")
    assert load_config(file) == config


def test_overrides_are_applied_in_order_and_leave_the_rest() -> None:
    config = load_config("globo", ["allocation.gap=1e-2", "allocation.gap=1e-4", "score.beta.like=2", "data.day=8"])
    assert config.allocation.gap == 1e-4
    assert config.score.beta == {"like": 2.0}
    assert config.data.day == 8
    assert config.data.reader == "globo"


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config("nightly").seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "near"),
    [
        ("activity.tress=3", "activity.trees"),
        ("tress=3", "activity.trees"),
        ("capacity=3", "allocation.capacity"),
        ("alocation.gap=1", "allocation"),
        ("data.world.usrs=3", "data.world.users"),
        ("evaluate.truth_day=1", "evaluate.truth_days"),
        ("retrieval.twotower=1", "retrieval.two_tower"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_known(override: str, near: str) -> None:
    text = message(override)
    assert f"{override.partition('=')[0].split('.')[0]}" in text
    assert "is not a setting" in text
    assert text.endswith(f"the nearest known is {near}")


def test_an_unknown_key_of_a_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 1\nallocation:\n  capcity: 3\n  demand: many\n")
    expected = f"{file}: allocation.capcity is not a setting; the nearest known is allocation.capacity"
    assert message(file=file) == expected
    assert message("seed=2", file=file) == expected
    assert message("allocation.solvr=greedy", file=file).startswith(("'allocation.solvr", str(file)))


@pytest.mark.parametrize("path", known_paths(Config))
def test_a_setting_under_a_wrong_section_is_found_by_its_own_name(path: str) -> None:
    name = path.rpartition(".")[2]
    assert nearest(f"nowhere.{name}", known_paths(Config)).rpartition(".")[2] == name


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("allocation.capacity=-1", "allocation.capacity is -1; expected a number greater than or equal to 0"),
        ("allocation.demand=-200", "allocation.demand is -200; expected a number greater than or equal to 0"),
        ("allocation.demand=2.5", "allocation.demand is 2.5; expected a valid integer"),
        ("allocation.demand=many", "allocation.demand is 'many'; expected a valid integer"),
        ("allocation.demand=true", "allocation.demand is True; expected a valid integer"),
        ("allocation.demand='7'", "allocation.demand is '7'; expected a valid integer"),
        ("allocation.gap=.nan", "allocation.gap is nan; expected a finite number"),
        ("allocation.gap=-.inf", "allocation.gap is -inf; expected a finite number"),
        ("score.beta.like=.nan", "score.beta.like is nan; expected a finite number"),
        ("data.world.items_per_day=.inf", "data.world.items_per_day is inf; expected a finite number"),
        ("allocation.solver=auktion", "the nearest is 'auction'"),
        ("engine=rya", "the nearest is 'ray'"),
        ("workers=0", "workers is 0; expected a number greater than or equal to 1"),
        ("evaluate.baselines=[activty]", "the nearest is 'activity'"),
        ("data.day=-1", "data.day is -1; expected a number greater than or equal to 0"),
        ("data=world", "data is 'world'; expected a section of keys"),
        ("data.world.creators=999999", "creators is 999999, expected at most users"),
        ("out=''", "out is ''; expected"),
        ("score.beta.lke=1", "beta names 'lke', which is no feedback kind; the nearest is 'like'"),
        ("activity.mode=threshold", "expected a threshold or a target_hit_rate too; give one of them"),
    ],
)
def test_a_wrong_value_is_told_with_key_and_expectation(override: str, said: str) -> None:
    text = message(override)
    assert text.startswith(f"{override!r} on the command line: ")
    assert said in text


@pytest.mark.parametrize("override", ["gap", "=3", ".=3", "allocation.=3", "allocation..gap=3", ""])
def test_an_override_that_does_not_read_so(override: str) -> None:
    assert message(override).endswith("expected section.key=value, such as allocation.gap=0.01")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nseed: 2\n", "line 2, column 1: not valid YAML: 'seed' stands twice"),
        ("data:\n  day: 1\n  day: 2\n", "line 3, column 3: not valid YAML: 'day' stands twice"),
        ("data: [\n", "line 2, column 1: not valid YAML"),
        ("- seed\n", "holds a list, expected sections"),
        ("seed", "holds only the value 'seed', expected sections"),
        ("\0", "not valid YAML"),
        ("seed: !!python/object/apply:os.system [true]\n", "not valid YAML: could not determine a constructor"),
        ("activity:\n", "activity is None; expected a section of keys"),
        ("1: 2\n", "1"),
    ],
)
def test_a_file_that_is_no_config(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    shown = message(file=file)
    assert shown.startswith(str(file))
    assert said in shown


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(b"seed: \xff\xfe\n")
    assert message(file=file).startswith(f"{file}: not valid YAML")


def test_an_empty_file_means_all_defaults(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing\n")
    assert load_config(file) == Config()


def test_a_file_that_is_not_there_names_the_shipped(tmp_path: Path) -> None:
    assert message(file="nightli") == (
        "config nightli does not exist; give the path of a YAML file, or one of the shipped: "
        + ", ".join(sorted(shipped_configs()))
    )
    assert "is a folder; give the path of a YAML file" in message(file=tmp_path)
    (tmp_path / "file").write_text("")
    assert "Not a directory" in message(file=tmp_path / "file" / "x.yaml")


def test_a_folder_of_the_same_name_hides_no_shipped_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "globo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_config("globo").data.reader == "globo"


@pytest.mark.parametrize("text", ["1e-3", "1E5", "-2e+4", "1.5e3", "0.1", "7", "12"])
def test_numbers_read_as_the_numbers_that_they_are(text: str) -> None:
    assert parse_yaml(text, "here") == float(text)


@pytest.mark.parametrize("text", ["e3", "1e", "2017-10-01x", "-", "x1e3"])
def test_text_stays_text(text: str) -> None:
    assert parse_yaml(f"[{text!r}, {text}]" if text != "-" else "['-', '-']", "here")[1] == text


def test_every_number_has_a_bound() -> None:
    def unbounded(model: type[BaseModel]) -> list[str]:
        found = []
        for name, info in model.model_fields.items():
            kind = info.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found += [f"{name}.{inner}" for inner in unbounded(kind)]
            elif kind in (int, float) and not info.metadata:
                found.append(name)
        return found

    assert unbounded(Config) == []


def test_the_message_of_a_section_names_the_override_that_it_speaks_of() -> None:
    text = message("activity.trees=20", "activity.mode=threshold", "activity.depth=3")
    assert text.startswith("'activity.mode=threshold' on the command line: activity: mode is 'threshold'")


def test_dates_stay_text_with_or_without_quotes() -> None:
    assert load_config("nightly", ["data.holidays=[2017-10-12, '2017-11-02']"]).data.holidays == (
        "2017-10-12",
        "2017-11-02",
    )
    assert "not valid YAML" in message("seed=!!int x")
