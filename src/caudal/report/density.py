"""Two columns: the density itself, as a heat map beside data and samples."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from caudal.flow import Flow
from caudal.report.comparison import Comparison
from caudal.report.marginals import limits
from caudal.report.style import DATA, DENSITY, SAMPLES, WIDTH, new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELLS = 240
POINTS = 4000


def has_density(flow: Flow, comparison: Comparison) -> bool:
    """Whether the density can be drawn: of two continuous columns, without context."""
    return len(comparison.columns) == 2 and flow.kind == "exact" and flow.context_shape is None


def draw_density(flow: Flow, comparison: Comparison) -> "Figure":
    """Data, density, samples, in one frame."""
    x_range, y_range = (limits(comparison.data[:, i]) for i in range(2))
    figure = new_figure(WIDTH, WIDTH / 3 + 0.4)
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    _points(panels[0], comparison.data, DATA, "data")
    panels[1].imshow(
        _density(flow, x_range, y_range),
        extent=(*x_range, *y_range),
        origin="lower",
        aspect="auto",
        cmap=DENSITY,
        interpolation="bilinear",
    )
    panels[1].set_title("density of the flow")
    _points(panels[2], comparison.samples, SAMPLES, "samples")
    for axes in panels:
        axes.set_xlim(x_range)
        axes.set_ylim(y_range)
        axes.set_xlabel(shorten(comparison.columns[0].name))
    panels[0].set_ylabel(shorten(comparison.columns[1].name))
    return figure


def _points(axes: "Axes", rows: np.ndarray, colour: str, title: str) -> None:
    x, y = rows[:POINTS].T
    axes.scatter(x, y, s=3, color=colour, alpha=0.4, linewidths=0, rasterized=True)
    axes.set_title(title)


@torch.no_grad()
def _density(flow: Flow, x_range: tuple[float, float], y_range: tuple[float, float]) -> np.ndarray:
    """Density at the middles of CELLS x CELLS cells: (rows of y, columns of x)."""
    x, y = (
        torch.linspace(*ends, 2 * CELLS + 1, dtype=torch.float64)[1::2]
        for ends in (x_range, y_range)
    )
    points = torch.cartesian_prod(y, x).flip(1).to(flow.base.like)
    log_prob = torch.cat([flow.log_prob(part) for part in points.split(8192)])
    density = log_prob.double().exp().reshape(CELLS, CELLS).cpu().numpy()
    # A few cells at a sharp ridge would leave all others pale.
    return np.minimum(density, np.quantile(density, 0.998))
