"""The report of a flow of a density: that of a table, with the density's contours and weights."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from caudal.report.page import Contents, Drawn, Story, picture_sections, render
from caudal.report.style import DATA, INK, SAMPLES, WIDTH, new_figure
from caudal.report.table.teller import TableTeller
from caudal.targets import LogDensity, log_density_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DRAWS = 4000
_DOTS = 2000
_CELLS = 200  # cells of the contours along each side
_LEVELS = 8  # contours, at equal distances in nats
_DEEP = 12.0  # nats below the mode, the last contour
_BINS = 60


@dataclass(frozen=True)
class DensityTeller(TableTeller):
    """Tells the story of a run on a density: what a table's tells, and how it fits the density."""

    many: ClassVar[str] = "rows"

    def tell(self, story: Story) -> Contents:
        contents = super().tell(story)
        drawn = render(_figures(story))
        sections = [*contents.sections[:1], *picture_sections(drawn), *contents.sections[1:]]
        return replace(contents, sections=sections, pictures=[*drawn, *contents.pictures])


def _figures(story: Story) -> Iterator[Drawn]:
    target = story.dataset.target
    with torch.no_grad():
        generator = torch.Generator(story.flow.base.like.device).manual_seed(0)
        x, log_q = story.flow.sample_with_log_prob(_DRAWS, generator=generator)
        log_w = (log_density_of(target, x).double() - log_q.double()).cpu()
    if x.shape[1] == 2:
        caption = (
            f"{_DOTS:,} draws of the flow on the contours of the density, the last "
            f"{_DEEP:.0f} nats below its mode."
        )
        yield "contours", "Draws on the density", caption, draw_contours(target, x.cpu()[:_DOTS])
    caption = (
        f"log w = log density − log q of {_DRAWS:,} draws, around log Z. One narrow peak is a "
        f"flow that is the density; a tail to the right is mass that the flow lacks."
    )
    yield "weights", "Weights", caption, draw_weights(log_w)


def draw_contours(target: LogDensity, x: Tensor) -> "Figure":
    """Draws x (n, 2) on the contours of a density of the plane."""
    import numpy as np

    ends = torch.stack([x.quantile(0.001, 0), x.quantile(0.999, 0)])
    wide = 0.15 * (ends[1] - ends[0])
    low, high = ends[0] - wide, ends[1] + wide
    first, second = (torch.linspace(float(low[i]), float(high[i]), _CELLS) for i in range(2))
    grid = torch.cartesian_prod(second, first).flip(1)
    with torch.no_grad():
        log_p = log_density_of(target, grid).reshape(_CELLS, _CELLS).double().numpy()
    figure = new_figure(WIDTH / 2 + 0.4, WIDTH / 2)
    axes = figure.subplots()
    first_column, second_column = x.T.numpy()
    axes.scatter(
        first_column, second_column, s=3, color=SAMPLES, alpha=0.4, linewidths=0, rasterized=True
    )
    levels = log_p.max() + np.linspace(-_DEEP, -0.5, _LEVELS)
    axes.contour(first, second, log_p, levels=levels, colors=DATA, linewidths=0.8, linestyles="-")
    axes.set_xlabel("x1")
    axes.set_ylabel("x2")
    return figure


def draw_weights(log_w: Tensor) -> "Figure":
    """The histogram of log-weights (n,), and the log of their mean."""
    log_w = log_w[log_w.isfinite()]
    mean = float(log_w.logsumexp(0)) - math.log(len(log_w))
    low, high = float(log_w.quantile(0.005)), float(log_w.max())
    figure = new_figure(WIDTH, WIDTH / 3.4)
    axes = figure.subplots()
    axes.hist(log_w.clamp(min=low).numpy(), bins=_BINS, range=(low, high), color=SAMPLES)
    axes.axvline(mean, color=INK, linewidth=1.2, label="log Z, by these weights")
    axes.set_xlabel("log-weight of a draw (nats)")
    axes.set_ylabel("draws")
    axes.set_yscale("log")
    axes.legend()
    return figure
