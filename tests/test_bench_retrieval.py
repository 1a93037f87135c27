"""The benchmark of the search over all pairs, on a tiny instance."""

import re

import pytest

from dualrec.alloc import bench_retrieval, bench_scoring


def test_it_prints_both_searches_and_how_they_compare(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--items 60 --users 3000 --demand 20 --capacity 2 --candidates 40 --rounds 3 --pass-items 60 --lists 20"
    bench_retrieval.main(words.split())
    out = capsys.readouterr().out
    assert re.search(r"one pass of 60 items, 40 users each: .* s, bare product with top-k .* s, .* x", out)
    value = [float(found) for found in re.findall(r"([\d.]+) x first come", out)]
    assert len(value) == 2 and min(value) >= 1.0
    assert "gap over all pairs" in out and "gap over pairs searched" in out and "recall" in out
    assert 0.9 < float(re.findall(r"approximate: ([\d.]+) of the exact value", out)[0]) < 1.1


def test_scoring_all_pairs_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    bench_scoring.main(["--items", "40", "--users", "500", "--dim", "4"])
    assert re.match(r"20,000 pairs, 7 heads, \d+ threads: [\d.]+ s, [\d.]+ ns a pair", capsys.readouterr().out)
