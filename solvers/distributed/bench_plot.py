"""What a round costs, as a picture: seconds against bids, for each number of workers, with the line fitted."""

from pathlib import Path
from typing import Any

import numpy as np


def plot(records: list[dict[str, Any]], path: Path) -> None:
    """Writes an SVG: a panel for each size; points are rounds, lines what the fitted costs make of their bids and reads."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(records), figsize=(5 * len(records), 3.6), squeeze=False, layout="constrained")
    for panel, record in zip(panels[0], records, strict=True):
        for k, many in enumerate(record["together"]):
            bids, read, seconds = np.array(many["round_points"]).T / [[1e6], [1e6], [1.0]]
            by_bids, by_edges = many["seconds_a_million_bids"], many["seconds_a_million_edges"]
            label = (
                f"{many['workers']}: {1e3 * many['round_seconds']:.1f} ms + {1e3 * by_bids:.0f} + {1e3 * by_edges:.0f}"
            )
            panel.plot(bids, seconds, ".", color=f"C{k}", alpha=0.4)
            order = np.argsort(bids)
            fitted = many["round_seconds"] + by_bids * bids + by_edges * read
            panel.plot(bids[order], fitted[order], color=f"C{k}", lw=1, label=label)
        panel.set(xlabel="million bids in the round", title=f"{record['edges'] / 1e6:.0f} M edges")
        panel.legend(fontsize=8, title="workers: constant + ms a million bids + edges")
    panels[0][0].set_ylabel("seconds")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
