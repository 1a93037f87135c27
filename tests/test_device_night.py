"""The night's device: what falls back says so and is the night on the CPU; the auction on a device keeps the certificate."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dualrec.alloc import cli
from dualrec.alloc.config import Config, load_config
from dualrec.alloc.device import auction_on, settle_device
from dualrec.alloc.errors import InputError
from dualrec.alloc.progress import LineProgress, NullProgress
from dualrec.solvers.device_auction import DeviceAuction
from dualrec.solvers.errors import SolverError

LINE = 'device is "cuda", but torch finds none that works: this runs on the CPU\n'


@pytest.mark.parametrize(
    ("asked", "there", "settled", "said"),
    [
        ("cpu", True, "cpu", ""),
        ("cuda", True, "cuda", ""),
        ("auto", True, "cuda", ""),
        ("cuda", False, "cpu", LINE),
        ("auto", False, "cpu", ""),
    ],
)
def test_where_a_night_runs(monkeypatch: pytest.MonkeyPatch, asked: str, there: bool, settled: str, said: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr("dualrec.solvers.device_memory.works", lambda _: there)
    notes = io.StringIO()
    config = settle_device(load_config("nightly", [f"device={asked}"]), LineProgress(notes))
    assert (config.device, notes.getvalue()) == (settled, said)
    assert settle_device(config, LineProgress(notes)).device == settled and notes.getvalue() == said, "said once"


def test_the_auction_of_a_device() -> None:
    assert auction_on("cpu") == "auction"
    assert auction_on("cuda") == DeviceAuction(device="cuda")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(InputError, match="device"):
        load_config("nightly", ["device=gpu"])


def test_the_option_stands_for_the_setting(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Config] = []

    def stop(config: Config, *_: object) -> None:
        asked.append(config)
        raise InputError("far enough")

    monkeypatch.setattr("dualrec.alloc.night.run_night", stop)
    assert cli.run(["nightly", "--device", "cuda"]) == cli.run(["nightly"]) == 2
    assert [config.device for config in asked] == ["cuda", "cpu"]
    assert cli.run(["nightly", "--workers", "3"]) == 2
    assert "--workers 3 needs --engine threads or ray" in capsys.readouterr().err
    assert cli.run(["nightly", "--device", "tpu"]) == 2
    assert "--device" in capsys.readouterr().err


def test_a_night_that_falls_back_is_the_night_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, night: Callable[..., Any], cold: Any, cold_out: Path, small_data: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for asked in ("device=cuda", "retrieval.device=cuda"):
        again = night(cold_out, asked, data=small_data)
        assert again.reused and again.run_dir == cold.run_dir and again.metrics["device"] == "cpu"


def test_the_search_falls_back_as_the_auction_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    notes = io.StringIO()
    config = settle_device(load_config("nightly", ["device=cuda", "retrieval.device=cuda"]), LineProgress(notes))
    assert (config.device, config.retrieval.device, notes.getvalue()) == ("cpu", "cpu", LINE)


def test_workers_and_a_gpu_are_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualrec.solvers.device_memory.settled_device", lambda asked: "cuda")
    with pytest.raises(InputError, match="device is cuda and engine is threads, expected one of them"):
        settle_device(load_config("nightly", ["device=cuda", "engine=threads"]), NullProgress())
    assert settle_device(load_config("nightly", ["device=auto", "engine=threads"]), NullProgress()).device == "cpu"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SolverError("the auction needs more"), "candidates: the auction needs more"),
        (
            torch.OutOfMemoryError("CUDA out of memory.\nMore words"),
            r"candidates: the device has too little memory \(CUDA out of memory.\); use device=cpu",
        ),
    ],
)
def test_too_little_memory_is_said_in_one_line(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, night: Callable[..., Any], tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("dualrec.alloc.stage_candidates.search_candidates", fail)
    with pytest.raises(InputError, match=said):
        night(tmp_path)


@pytest.mark.parametrize("search", ["retrievals", "user_side"])
def test_searches_without_all_pairs_use_the_device_too(
    search: str, monkeypatch: pytest.MonkeyPatch, night: Callable[..., Any], tmp_path: Path
) -> None:
    asked: list[str] = []

    def on(device: str) -> str:
        asked.append(device)
        return "auction"

    monkeypatch.setattr("dualrec.alloc.found_candidates.auction_on", on)
    night(tmp_path, f"retrieval.search={search}")
    assert asked == ["cpu"]


def test_a_night_with_the_auction_of_the_device(
    monkeypatch: pytest.MonkeyPatch, night: Callable[..., Any], cold: Any, tmp_path: Path, small_data: Path
) -> None:
    for stage in ("candidates", "allocation"):
        where = f"dualrec.alloc.stage_{stage}.auction_on"
        monkeypatch.setattr(where, lambda device: DeviceAuction(device="cpu"))
    result = night(tmp_path, data=small_data)
    ours, theirs = result.metrics["allocation"], cold.metrics["allocation"]
    assert ours["gap"] <= 1e-3 and ours["bound_covers"] == "all pairs"
    assert ours["value"] == pytest.approx(theirs["value"], rel=2e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_night_on_a_gpu(night: Callable[..., Any], cold: Any, tmp_path: Path, small_data: Path) -> None:
    ours = night(tmp_path, "device=cuda", data=small_data).metrics["allocation"]
    assert ours["gap"] <= 1e-3 and ours["bound_covers"] == "all pairs"
    assert ours["value"] == pytest.approx(cold.metrics["allocation"]["value"], rel=2e-3)
