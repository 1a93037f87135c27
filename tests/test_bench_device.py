"""The benchmark of the device: its instance, its certificate beside the solvers', and its figures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dualrec.alloc import bench_device
from dualrec.solvers.block_state import Rows
from dualrec.solvers.certificate import certify
from dualrec.solvers.device_auction import DeviceAuction
from dualrec.solvers.device_certificate import certify_rows
from dualrec.solvers.device_instances import SkewedOnDevice
from dualrec.solvers.device_rounds import DeviceRounds
from dualrec.solvers.device_rows import DeviceRows, rows_on
from dualrec.solvers.instances import Ragged
from dualrec.solvers.problem import Problem
from dualrec.solvers.solve import solve

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
SMALL = SkewedOnDevice(items=40, users=300, candidates=50, demand=10, capacity=3)


def as_problem(rows: DeviceRows, capacity: np.ndarray) -> Problem:
    """The rows of one length, of which nothing is held, as a problem of the host."""
    width = rows.buckets[0].width
    user, score = rows.user[:-1].cpu().numpy().copy(), rows.score[:-1].cpu().numpy().copy()
    return Problem.from_csr(np.arange(rows.count + 1) * width, user, score, rows.demand[:-1].cpu().numpy(), capacity)


@pytest.mark.parametrize("device", DEVICES)
def test_the_instance_is_a_problem_and_the_same_again(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr("dualrec.solvers.device_instances.BLOCK_EDGES", 1000)
    rows, again = SMALL.make(device), SMALL.make(device)
    problem = as_problem(rows, np.full(300, 3))  # checked there: users ascending, each once in a row
    assert problem.edges == 2000 and problem.score.dtype == np.float16
    assert torch.equal(rows.user, again.user) and torch.equal(rows.score, again.score)
    assert np.bincount(problem.user, minlength=300)[:50].mean() > 1.3 * 2000 / 300, "the first are wanted most"


@pytest.mark.parametrize("device", DEVICES)
def test_the_certificate_is_that_of_the_solvers(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr("dualrec.solvers.device_certificate.BLOCK_EDGES", {device: 300})
    rows, capacity = SMALL.make(device), np.full(300, 3, np.int32)
    problem, places = as_problem(rows, capacity), torch.tensor(capacity, device=device)
    rounds = DeviceRounds(rows, places)
    rounds.close(rounds.run(0.1, 0.0, 1e9, lambda: False), lambda: False)
    price = rounds.places.price[:300].clone()
    chosen = rows.edges_of(rounds.held().cpu().numpy(), problem.indptr)
    ours, theirs = certify_rows(rows, places, price), certify(problem, chosen, price.cpu().numpy().astype(np.float64))
    assert (ours.value, ours.bound) == pytest.approx((theirs.value, theirs.bound), rel=1e-6)
    rows.give_back()
    assert certify_rows(rows, places, price).value == 0
    rows.user[:12] += 300  # more than the item wants
    with pytest.raises(ValueError, match="more than its limit"):
        certify_rows(rows, places, price)


def test_the_certificate_of_rows_of_any_length() -> None:
    problem = Ragged(items=40, users=30, most=5).make(4)
    demand = np.minimum(problem.demand, np.diff(problem.indptr)).astype(np.int32)
    rows = rows_on(Rows(problem.indptr, problem.user.view(np.uint32), problem.score, demand), 30, "cpu")
    answer = solve(problem, DeviceAuction(device="cpu"))
    price = torch.tensor(answer.user_prices, dtype=torch.float32)
    ours = certify_rows(rows, torch.tensor(problem.capacity), price)
    assert ours.value == 0 and ours.bound == pytest.approx(answer.bound, rel=1e-6)


def test_it_measures_each_beside_its_floor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(bench_device, "COPIED", {"cpu": 1 << 20})
    monkeypatch.setattr("dualrec.solvers.device_memory.available_bytes", lambda: 10**8)
    file = tmp_path / "device.json"
    words = ["--device", "cuda", "--millions", "0.2", "20", "--search", "8x3000", "--json", str(file)]
    bench_device.main(words)
    out, err = capsys.readouterr()
    assert err == 'device is "cuda", but torch finds none that works: this runs on the CPU\n'
    result = json.loads(file.read_text())
    small, large, search = result["runs"]
    assert small["edges"] == 200_000 and small["gap"] <= 1e-3 and small["bound"] >= small["value"] > 0
    assert "needs" in large["status"]
    for one in (small, search):
        assert one["seconds"] == pytest.approx(one["times_floor"] * one["floor_seconds"])
    assert out.splitlines() == [out.splitlines()[0], *map(bench_device.line, (small, large, search))]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--search", "64xabc"], "argument --search: 64xabc: expected ITEMSxUSERS"),
        (["--search", "0x9"], "argument --search: 0x9: expected ITEMSxUSERS"),
        (["--millions", "0"], "argument --millions: 0: expected a number above 0"),
        (["--millions", "x"], "argument --millions: invalid"),
        (["--gap=-1"], "argument --gap: -1: expected a number above 0"),
        (["--gap", "nan"], "argument --gap: nan: expected a number above 0"),
    ],
)
def test_wrong_words_are_refused_in_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench_device.main(words)
    assert said in capsys.readouterr().err.splitlines()[-1]
