"""What a round costs, as a picture: seconds against bids, for each number of workers, with the line fitted."""

from pathlib import Path
from typing import Any

import numpy as np


def plot(records: list[dict[str, Any]], path: Path) -> None:
    """Writes an SVG: a panel for each size; points are rounds, lines the fit."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(records), figsize=(5 * len(records), 3.6), squeeze=False, layout="constrained")
    for panel, record in zip(panels[0], records, strict=True):
        for k, many in enumerate(record["together"]):
            bids, seconds = np.array(many["round_points"]).T
            label = (
                f"{many['workers']} workers: {1e3 * many['round_seconds']:.0f} ms + "
                f"{1e3 * many['seconds_a_million_bids']:.0f} ms a million"
            )
            panel.plot(bids / 1e6, seconds, ".", color=f"C{k}", alpha=0.5)
            ends = np.array([0.0, bids.max() / 1e6])
            panel.plot(ends, many["round_seconds"] + many["seconds_a_million_bids"] * ends, color=f"C{k}", label=label)
        panel.set(xlabel="million bids in the round", title=f"{record['edges'] / 1e6:.0f} M edges")
        panel.legend(fontsize=8)
    panels[0][0].set_ylabel("seconds")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
