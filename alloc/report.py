"""The night's report: one HTML page that needs nothing else, no script and no other file."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined, Template

from .plots_svg import COLOURS
from .report_allocation import baselines_section, certificate_section, hours_section, loads_section, outcome_section
from .report_models import activity_section, candidates_section, cost_section, ranking_section
from .report_parts import Section
from .report_words import headline, key_figures, section, words


def render_report(metrics: Mapping[str, Any], plot_data: Mapping[str, np.ndarray], config_yaml: str) -> str:
    """The report as one HTML page; the same input gives the same text.

    metrics      the content of `metrics.json`; any section may be missing, and the report then says so
    plot_data    arrays, each of which may be missing: int[users] `user_load`, `first_come_user_load`, `capacity`;
                 int[items] `item_fill`, `first_come_item_fill`, `demand`; float[users] `user_prices`; float[any]
                 `score_sample` (of the matches), `p_active_sample` (of the users); float[24] by hour of upload, NaN
                 where nothing was uploaded, `upload_hour_fill`, `upload_hour_value` and both with `first_come_`
    config_yaml  every setting of the run
    """
    page = page_template().render(
        kind="night",
        name=str(section(metrics, "data").get("name") or "unnamed data"),
        facts=_data_facts(section(metrics, "data")),
        headline=headline(metrics, plot_data),
        figures=key_figures(metrics),
        sections=_sections(metrics, plot_data),
        notes=[str(note) for note in metrics.get("notes") or []],
        config_yaml=config_yaml,
        colours=COLOURS,
    )
    # A name read from a file system may hold what UTF-8 cannot.
    return page.encode("utf-8", "replace").decode("utf-8")


@cache
def page_template() -> Template:
    """The page that reports are set in."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)


def _data_facts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of the data but its name, the day and the regime first. A day is a number, not an amount."""
    data = {key: value for key, value in data.items() if value is not None}
    keys = [*(key for key in ("day", "regime") if key in data), *sorted(set(data) - {"name", "day", "regime"})]
    text = {key: str(data[key]) if key == "day" else words(data[key]) for key in keys}
    return [(key.replace("_", " "), value.replace("_", " ")) for key, value in text.items()]


def _sections(metrics: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[Section]:
    """Every section in the order of the page."""
    return [
        certificate_section(metrics, arrays),
        baselines_section(metrics),
        outcome_section(metrics),
        loads_section(metrics, arrays),
        hours_section(metrics, arrays),
        candidates_section(metrics),
        activity_section(metrics, arrays),
        ranking_section(metrics),
        cost_section(metrics),
    ]
