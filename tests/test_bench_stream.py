"""The benchmarks of the stream run to their last line on small sizes."""

from pathlib import Path

import pytest

from dualrec.alloc import bench_stream as uploads
from dualrec.alloc.errors import InputError
from dualrec.solvers import bench_stream as days


def test_uploads_into_a_new_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--users",
        "500",
        "--uploads",
        "20",
        "--candidates",
        "50",
        "--demand",
        "5",
        "--store",
        str(tmp_path / "m.db"),
    ]
    uploads.main(words)
    assert "20 uploads, 5 users each: median" in capsys.readouterr().out
    with pytest.raises(InputError, match="expected a new store"):
        uploads.main(words)


def test_a_days_arrivals_beside_the_optimum(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"items": 200, "users": 1_500, "candidates": 80, "demand": 15, "capacity": 5, "refreshes": 2, "threads": 1}
    days.main([word for name, value in sizes.items() for word in (f"--{name}", str(value))])
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split("|")[1].strip(): line for line in lines if "%" in line and line.startswith("|")}
    assert len(rows) == 5
    shares = [float(cell.strip(" %")) for cell in rows["a day like yesterday"].split("|")[2:-1]]
    assert shares[0] < shares[3] < 100 and lines[-1].startswith("the best rule")
