"""The night's report: one page that stands alone, says what is missing, and is the same every time."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualrec.alloc.report import render_report
from dualrec.alloc.report_words import headline, percent_up

VOID = {"meta", "link", "br", "img", "hr", "input"}
SECTIONS = (
    "certificate",
    "baselines",
    "outcome",
    "loads",
    "hours",
    "candidates",
    "activity",
    "ranking",
    "cost",
    "notes",
    "config",
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def night_metrics() -> dict[str, Any]:
    """Metrics with every section, of a night that might have been."""
    rounds = [
        {"round": 0, "edges": 96_000, "value": 5400.0, "bound_candidates": 5402.0, "bound_all_pairs": 18_000.0},
        {"round": 1, "edges": 180_000, "value": 7123.4, "bound_candidates": 7125.0, "bound_all_pairs": 7127.7},
    ]
    outcome = {"hit_rate": 0.81, "recall": 0.048, "precision": 0.003, "items_scored": 212, "matches": 1990}
    return {
        "data": {
            "name": "world",
            "day": 41,
            "regime": "strict_cold",
            "interactions": 1_234_567,
            "heads": ["click", "like"],
        },
        "problem": {"items": 10, "users": 5000, "edges": 180_000, "demand": 200, "capacity": 10},
        "allocation": {
            "solver": "auction",
            "status": "within_gap",
            "value": 7123.4,
            "bound": 7125.0,
            "gap": 0.000225,
            "bound_covers": "candidates",
            "matches": 1990,
            "items_full": 9,
            "items_short": 1,
            "users_at_capacity": 120,
        },
        "baselines": {"first_come": {"value": 6360.2}, "random": {"value": 1400.0}},
        "outcome": {"ours": {**outcome, "came_true": 1180}, "first_come": {**outcome, "came_true": 1010}},
        "activity": {
            "auc": 0.7463,
            "brier": 0.0712,
            "ece": 0.0041,
            "calibration": [
                {"low": 0.0, "high": 0.5, "count": 4000, "predicted": 0.2, "observed": 0.21},
                {"low": 0.5, "high": 1.0, "count": 1000, "predicted": 0.7, "observed": 0.66},
            ],
        },
        "ranking": {"auc": {"click": 0.75, "like": 0.81, "skip": None}},
        "retrieval": {"share": {"sequential": 0.6, "two_tower": 0.4}},
        "candidates": {"rounds": rounds},
        "seconds": {"activity": 61.2, "allocation": 12.25, "tables": 8.1},
        "peak_memory_mb": 1123.4,
        "notes": ["The data has no creators: nothing is excluded or capped by creator."],
    }


def night_arrays() -> dict[str, np.ndarray]:
    """Every array of the report."""
    rng = np.random.default_rng(3)
    hours = np.linspace(199, 180, 24)
    hours[3] = np.nan
    return {
        "user_load": rng.integers(0, 11, 5000),
        "first_come_user_load": rng.integers(0, 11, 5000),
        "item_fill": np.array([200] * 9 + [190]),
        "first_come_item_fill": np.array([200] * 5 + [20] * 5),
        "demand": np.full(10, 200, np.int32),
        "capacity": np.full(5000, 10, np.int32),
        "user_prices": np.maximum(rng.normal(size=5000), 0),
        "score_sample": rng.random(1000, np.float32),
        "p_active_sample": rng.random(1000, np.float32),
        "upload_hour_fill": hours,
        "upload_hour_value": hours / 9,
        "first_come_upload_hour_fill": hours[::-1],
        "first_come_upload_hour_value": hours[::-1] / 9,
    }


class Page(HTMLParser):
    """What a parser sees of a page; a tag that closes another than the open one is an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


def drawings(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def part(page: str, anchor: str) -> str:
    """The section of that id."""
    return page.split(f'<section id="{anchor}">', 1)[1].split("</section>", 1)[0]


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(night_metrics(), night_arrays(), "seed: 7\ndata:\n  reader: world\n")


def test_page_is_well_formed_with_every_section(page: str) -> None:
    assert set(SECTIONS) <= set(Page(page).values("id"))
    assert 'class="missing"' not in page
    assert "reader: world" in page and "no creators" in part(page, "notes")


def test_drawings_are_described_xml(page: str) -> None:
    found = drawings(page)
    assert len(found) == 14
    assert all(svg.get("role") == "img" and len(svg.get("aria-label", "")) > 20 for svg in found)
    assert len({svg.get("aria-label") for svg in found}) == len(found)


def test_page_stands_alone(page: str) -> None:
    parsed = Page(page)
    assert not {"script", "img", "iframe", "object", "embed", "image"} & set(parsed.tags)
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert set(re.findall(r"\bhttps?:[^\s\"'<>]*", page)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in page and "<!ENTITY" not in page
    links = parsed.values("href") + parsed.values("src") + re.findall(r"url\(([^)]*)\)", page)
    assert all(link.startswith(("#", "data:,")) for link in links)


def test_ids_are_unique_and_every_reference_finds_its_own(page: str) -> None:
    ids = Counter(Page(page).values("id"))
    assert not [name for name, count in ids.items() if count > 1]
    for svg in drawings(page):
        text = ElementTree.tostring(svg, encoding="unicode")
        own = {element.get("id") for element in svg.iter()}
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= own


def test_same_input_same_bytes(page: str) -> None:
    assert render_report(night_metrics(), night_arrays(), "seed: 7\ndata:\n  reader: world\n") == page


def test_report_leaves_matplotlib_as_it_was(page: str, python_run: Callable[..., Any]) -> None:
    code = (
        "import matplotlib, sys; before = matplotlib.rcParams.copy()\n"
        "from dualrec.alloc.plots import draw\n"
        "draw('x', 'title', 'caption', lambda axes: axes.plot([1, 2]))\n"
        "assert matplotlib.rcParams.copy() == before and 'matplotlib.pyplot' not in sys.modules"
    )
    run = python_run("-c", code)
    assert run.returncode == 0, run.stderr


def test_headline_and_tables_give_the_numbers(page: str) -> None:
    assert "1,990 of 2,000 wanted places are filled." in page
    assert "worth 1.12 times first come" in page
    assert "at most 0.0604 % below the best possible over all pairs" in page
    certificate = part(page, "certificate")
    for text in ("7,123.40", "7,125.00", "at most 0.0225 %", "7,127.70", "The certified gap is within", "180,000"):
        assert text in certificate
    assert "1,180" in part(page, "outcome") and "0.8100" in part(page, "outcome")
    assert "1,123 MB" in part(page, "cost")
    assert "1,234,567" in page and "heads click, like" in page


def test_headline_says_when_users_have_too_few_places() -> None:
    arrays = {"demand": np.full(10, 200), "capacity": np.full(100, 3)}
    first = headline({"allocation": {"matches": 300}}, arrays)[0]
    assert first == "300 of 2,000 wanted places are filled; the users have only 300 places to give."


def test_names_from_the_data_are_only_text() -> None:
    metrics = night_metrics()
    evil = "<script>alert('1')</script>$x$ --> ]]> \x00\ud800 点赞"
    metrics["data"]["name"] = metrics["allocation"]["solver"] = evil
    metrics["baselines"][evil] = {"value": 3.0}
    metrics["ranking"]["auc"][evil] = 0.6
    metrics["seconds"]['" onload="alert(1)'] = 3.0
    metrics["outcome"][evil] = {"hit_rate": 0.1}
    metrics["notes"].append(evil)
    page = render_report(metrics, night_arrays(), f"name: {evil}")
    parsed = Page(page)
    assert "script" not in parsed.tags and not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert "&lt;script&gt;alert" in page
    assert len(drawings(page)) == 14
    page.encode("utf-8")


@pytest.mark.parametrize(
    ("gone", "anchor", "note"),
    [
        ("allocation", "certificate", "The solver found nothing to do."),
        ("baselines", "baselines", "No baseline was asked for."),
        ("outcome", "outcome", "Day 41 is the last day: there is no truth window."),
        ("activity", "activity", "The activity model had no days to learn from."),
        ("ranking", "ranking", "The data has no feedback, so there is no head."),
        ("retrieval", "candidates", "The retrieval of similar items was off."),
        ("candidates", "candidates", "No price round was run."),
        ("seconds", "cost", "The seconds were not measured."),
    ],
)
def test_missing_section_is_explained_by_its_note(gone: str, anchor: str, note: str) -> None:
    metrics = night_metrics()
    del metrics[gone]
    without = part(render_report(metrics, {}, ""), anchor)
    assert "This run has no" in without and "notes do not say why" in without
    metrics["notes"].append(note)
    assert note in part(render_report(metrics, {}, ""), anchor)


def test_missing_arrays_are_named(page: str) -> None:
    bare = render_report(night_metrics(), {}, "")
    for anchor, what in (("loads", "the load of the users"), ("hours", "the fill by upload hour")):
        assert f"no figures on {what}" in part(bare, anchor)
    assert "1,990 matches were made." in bare


def test_nothing_at_all_still_makes_a_page() -> None:
    page = render_report({}, {}, "")
    assert set(SECTIONS) <= set(Page(page).values("id"))
    assert "no figures on its allocation" in page and not drawings(page)


def blanked(value: Any, keep: Callable[[], bool]) -> Any:
    """`value` with None for the leaves that are not kept, as JSON holds what is not a number."""
    if isinstance(value, dict):
        return {key: blanked(entry, keep) for key, entry in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [blanked(entry, keep) for entry in value]
    return value if isinstance(value, list) or keep() else None


@pytest.mark.parametrize("seed", range(4))
def test_any_number_may_be_missing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    metrics = blanked(night_metrics(), lambda: seed > 0 and rng.random() < 0.6)
    page = render_report(metrics, night_arrays(), "")
    Page(page)
    assert not re.search(r"\bnan\b|\bNone\b", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))


@pytest.mark.parametrize("size", [0, 1])
def test_tiny_and_even_arrays_can_be_drawn(size: int) -> None:
    arrays = {name: np.zeros(24 if "hour" in name else size, array.dtype) for name, array in night_arrays().items()}
    metrics = night_metrics()
    metrics["candidates"]["rounds"] = [{"round": 0, "value": 0.0, "bound_all_pairs": 0.0}]
    metrics["allocation"].update(value=0.0, bound=0.0, gap=0.0, matches=0)
    metrics["baselines"] = {"first_come": {"value": 0.0}}
    assert all(svg.get("aria-label") for svg in drawings(render_report(metrics, arrays, "")))


@given(st.floats(1e-9, 1.0))
def test_percentage_is_never_rounded_below_the_truth(share: float) -> None:
    shown = float(percent_up(share).removesuffix(" %"))
    assert 100 * share * (1 - 1e-8) <= shown <= 100 * share * 1.01 + 1e-12


def test_percentage_of_nothing() -> None:
    assert percent_up(0.0) == "0 %" and percent_up(-1e-12) == "0 %" and percent_up(0.0006) == "0.06 %"


def console_of(page: Path, profile: Path) -> str:
    """What a headless Chromium writes to its console on that page."""
    assert CHROMIUM
    switches = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    switches += " --disable-component-update --disable-sync --enable-logging=stderr --dump-dom"
    command = [CHROMIUM, *switches.split(), f"--user-data-dir={profile}", page.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "</html>" in run.stdout
    return "\n".join(line for line in run.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.skipif(
    CHROMIUM is None, reason="only a browser can say that one opens the page; no chromium or google-chrome on the PATH"
)
def test_browser_opens_the_report_without_an_error(page: str, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.html", tmp_path / "report.html"
    bad.write_text("<html><svg><path d='wrong'/></svg></html>")
    good.write_text(page)
    assert "wrong" in console_of(bad, tmp_path / "first")
    assert console_of(good, tmp_path / "second") == ""
