"""The page of `bench_serve`: a table, and a histogram of latency for each load; the figures beside it as JSON."""

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from .artifacts import save_json, write_text
from .plots import Plot, histogram_plot

_HEADS = ("store", "load", "uploads a second", "median ms", "99 % ms", "most ms", "service CPU ms", "load CPU ms")
_STYLE = (
    "body{font:15px sans-serif;max-width:52em;margin:2em auto}td,th{padding:.2em .7em;text-align:right}svg{width:100%}"
)


def write_report(out: Path, settings: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Writes `report.html`, which needs nothing else, and `loads.json` with every latency in milliseconds."""
    out.mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    save_json(out / "loads.json", {"machine": machine, "settings": settings, "loads": rows})
    write_text(out / "report.html", _page(settings, rows))


def _page(settings: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    sizes = (
        f"{settings['users']:,} users, {settings['candidates']:,} candidates and {settings['demand']} users wanted "
        f"an upload, {settings['uploads']:,} uploads a load, {os.cpu_count()} cores for service, store and load."
    )
    heads = "".join(f"<th>{escape(head)}</th>" for head in _HEADS)
    plots = "".join(
        f"<h2>{escape(plot.title)}</h2>{plot.svg}<p>{escape(plot.caption)}</p>"
        for plot in map(_plot, range(len(rows)), rows)
    )
    return (
        f'<!doctype html><meta charset="utf-8"><title>dualrec serve under load</title><style>{_STYLE}</style>'
        f"<h1>dualrec serve under load</h1><p>{escape(sizes)}</p>"
        f"<table><tr>{heads}</tr>{''.join(map(_cells, rows))}</table>{plots}\n"
    )


def _cells(row: dict[str, Any]) -> Markup:
    numbers = [f"{row['rate']:.0f}", *(f"{row[key]:.1f}" for key in ("p50", "p99", "most"))]
    numbers += [f"{row[key]:.2f}" for key in ("server_cpu", "client_cpu")]
    cells = Markup("").join(Markup("<td>{}</td>").format(value) for value in (row["store"], row["load"], *numbers))
    return Markup("<tr>{}</tr>").format(cells)


def _plot(number: int, row: dict[str, Any]) -> Plot:
    """Latencies up to twice the 99th percentile; the rest is in the last bar."""
    latency = np.array(row["latency"])
    shown = {"latency": np.minimum(latency, 2 * row["p99"])}
    caption = (
        f"Median {row['p50']:.1f} ms, 99 % {row['p99']:.1f} ms; the last bar has all that took longer, "
        f"at most {row['most']:.0f} ms."
    )
    return histogram_plot(
        f"load{number}", f"{row['store']}, {row['load']}", caption, shown, ("milliseconds", "uploads")
    )
