"""The values of pixels in the data and in samples: how frequent they are, and where."""

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from caudal.data import ImageSchema
from caudal.report.images.tiles import Panel, draw_panels
from caudal.report.style import DATA, SAMPLES, WIDTH, legend, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHANNELS = ("red", "green", "blue")
FEW_POWERS = 100  # ratio of the highest share in sight to the lowest; beyond, ticks are enough


def draw_values(data: Tensor, samples: Tensor, schema: ImageSchema) -> "Figure":
    """Shares of each pixel value in data and samples, by channel, on a log scale."""
    channels = schema.shape[0]
    figure = new_figure(WIDTH, 2.7)
    panels = figure.subplots(1, channels, sharey=True, squeeze=False)[0]
    filled: Any = {"color": DATA, "alpha": 0.55, "linewidth": 0}
    line: Any = {"color": SAMPLES, "linewidth": 1.2}
    edges = np.arange(schema.levels + 1) - 0.5
    for i, axes in enumerate(panels):
        axes.stairs(shares(data[:, i], schema.levels), edges, fill=True, **filled)
        axes.stairs(shares(samples[:, i], schema.levels), edges, **line)
        axes.set_yscale("log")
        margin = schema.levels / 60  # black and white, often the highest, are at the edges
        axes.set_xlim(edges[0] - margin, edges[-1] + margin)
        axes.set_xlabel("pixel value")
        if channels > 1:
            axes.set_title(_name(i, channels), loc="left")
    panels[0].set_ylabel("share of pixels")
    label_shares(panels[0])
    legend(figure)
    return figure


def label_shares(axes: "Axes") -> None:
    """Writes plain numbers at powers of ten, and at 2 and 5 where few powers are in sight."""
    low, high = axes.get_ylim()
    between = "25" if high < FEW_POWERS * low else ""
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.3g}")
    axes.yaxis.set_minor_formatter(
        lambda share, _: f"{share:.3g}" if f"{share:e}"[0] in between else ""
    )


def shares(values: Tensor, levels: int) -> np.ndarray:
    """The share of each pixel value (levels,)."""
    counts = np.bincount(values.flatten().long().cpu().numpy(), minlength=levels)
    return counts / max(counts.sum(), 1)


def draw_moments(data: Tensor, samples: Tensor, schema: ImageSchema) -> "Figure":
    """Mean and standard deviation of each pixel, with the deviations of both on one scale."""
    sides = (data.double().cpu(), samples.double())
    deviations = [side.std(0, correction=0) for side in sides]
    most = max(float(max(d.max() for d in deviations)), 1e-9)
    panels = []
    for title, images in (
        ("mean", [side.mean(0) for side in sides]),
        ("standard deviation", [d * (schema.levels - 1) / most for d in deviations]),
    ):
        tiles = np.stack([schema.decode(image.unsqueeze(0)) for image in images], 1)
        panels.append(Panel(tiles, title, columns=("data", "samples")))
    return draw_panels(panels, largest=168)


def _name(channel: int, channels: int) -> str:
    return CHANNELS[channel] if channels == 3 else f"channel {channel + 1}"
