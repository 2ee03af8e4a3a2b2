"""Checks of a flow of images: copies of training images, the way there and back, pixel values."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from caudal.data import Batch, ImageSchema, Rows
from caudal.flow import Flow
from caudal.report.images.sheets import view
from caudal.report.images.tiles import Panel, across, draw_panels
from caudal.report.items import noise, place
from caudal.report.style import DATA, SAMPLES, WIDTH, legend, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# --- the nearest training images -----------------------------------------------------------------

NEAREST = 4
SHOWN = 8
CHUNK = 2**22  # pixels of training images at a time
PRODUCTS = 10**11  # multiplications to spend, about ten seconds of one core


@dataclass(frozen=True)
class Neighbours:
    """Images and the training images nearest to them, for samples and for test images.

    Attributes:
        samples, test: (N, C, H, W) each.
        near_samples, near_test: rows of the training images (N, NEAREST), the nearest first.
        sample_distances, test_distances: to these (N, NEAREST), as the root of the mean squared
            difference of a pixel, in steps between pixel values.
        training: how many training images were searched.
    """

    samples: Tensor
    test: Tensor
    near_samples: Tensor
    near_test: Tensor
    sample_distances: Tensor
    test_distances: Tensor
    training: int

    @property
    def medians(self) -> tuple[float, float]:
        """Median distances to the nearest training image, of samples and of test images."""
        both = (self.sample_distances[:, 0], self.test_distances[:, 0])
        return float(both[0].median()), float(both[1].median())

    @property
    def ratio(self) -> float:
        """Ratio of the medians; far below 1 where samples are copies of training images."""
        samples, test = self.medians
        return samples / test if test > 0 else float("nan")


def find_neighbours(samples: Tensor, test: Tensor, train: Rows) -> Neighbours:
    """Searches the training images, or as many of them as it can in some seconds.

    These are evenly spread, as a folder has its images class by class.
    """
    queries = len(samples) + len(test)
    most = max(1000, PRODUCTS // (queries * samples[0].numel()))
    step = -(-len(train) // most)
    images = train.x[::step]
    rows, distances = nearest(torch.cat([samples.float(), test.float().cpu()]), images)
    rows, n = rows * step, len(samples)
    return Neighbours(samples, test, rows[:n], rows[n:], distances[:n], distances[n:], len(images))


@torch.no_grad()
def nearest(queries: Tensor, images: Tensor, k: int = NEAREST) -> tuple[Tensor, Tensor]:
    """The k images nearest to each query in L2: their rows and distances, both (Q, k).

    Distances are roots of mean squares over the pixels. There are fewer than k columns where there
    are fewer images.
    """
    flat = queries.flatten(1).float()
    distances, at = flat.new_empty(len(flat), 0), torch.empty(len(flat), 0, dtype=torch.long)
    for start, chunk in _chunks(images):
        squares = _squares(flat, chunk)
        distances = torch.cat([distances, squares], 1)
        at = torch.cat([at, torch.arange(start, start + len(chunk)).expand(len(flat), -1)], 1)
        # More than k are kept, as rounding may have changed their order; `_in_order` corrects it.
        distances, order = distances.topk(min(2 * k, distances.shape[1]), largest=False)
        at = at.gather(1, order)
    return _in_order(flat, images, at, k)


def draw_neighbours(near: Neighbours, schema: ImageSchema, train: Rows) -> "Figure":
    """Samples, and under each its nearest training images; beside them test images alike."""
    columns = across(schema.shape[2], SHOWN, 2, 80)
    labels = ["", "nearest", "2nd", "3rd", "4th"]
    panels: list[Panel] = []
    for images, rows, distances, title, colour in (
        (near.samples, near.near_samples, near.sample_distances, "samples", SAMPLES),
        (near.test, near.near_test, near.test_distances, "test images", DATA),
    ):
        n = min(columns, len(images))
        below = [images[:n].float().cpu(), *_columns(train, rows[:n])]
        tiles = np.stack([view(schema, line) for line in below])
        names = labels[: len(below)] if not panels else ()
        words = [f"{d:.1f}" for d in distances[:n, 0].tolist()]
        panels.append(Panel(tiles, title, colour, rows=names, columns=words))
    return draw_panels(panels)


def _columns(train: Rows, near: Tensor) -> Iterator[Tensor]:
    """The nearest images of all, then their second nearest, and so on."""
    for rows in near.T:
        yield train.x[rows.to(train.x.device)].float().cpu()


def _chunks(images: Tensor) -> Iterator[tuple[int, Tensor]]:
    size = max(1, CHUNK // images[0].numel())
    for start in range(0, len(images), size):
        yield start, images[start : start + size].flatten(1).float().cpu()


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances (A, B) by a matrix product, which is fast but rounds."""
    middle = b.mean()
    a, b = a - middle, b - middle
    return a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.T


def _in_order(flat: Tensor, images: Tensor, at: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest of each query's candidates, by their exact distances."""
    rows, distances = [], []
    for query, candidates in zip(flat.double(), at, strict=True):
        near = images[candidates.to(images.device)].flatten(1).cpu().double()
        exact, order = (near - query).square().mean(1).sqrt().sort(stable=True)
        rows.append(candidates[order][:k])
        distances.append(exact[:k])
    return torch.stack(rows), torch.stack(distances)


# --- there and back ------------------------------------------------------------------------------

LABELS = 120  # their width at the left
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Reconstruction:
    """Images (N, C, H, W), what came back of them, and how far off it was before rounding.

    Attributes:
        images: whole pixel values.
        back: decode(encode(images)), whole pixel values.
        error: absolute error of the dequantised values, in steps between pixel values.
    """

    images: Tensor
    back: Tensor
    error: Tensor

    @property
    def largest(self) -> float:
        """The largest error before rounding."""
        return float(self.error.max())

    @property
    def changed(self) -> int:
        """How many whole values came back different, which noise at the edge of a step does."""
        return int((self.back != self.images).sum())


@torch.no_grad()
def reconstruct(flow: Flow, rows: Rows, seed: int = 0) -> Reconstruction:
    """Encodes and decodes images, with one draw of dequantisation noise."""
    flow.eval()
    images, context = place(flow, Batch(rows.x, rows.context))
    lifted, _ = flow.lift(images, noise(flow, seed))
    exact = flow.continuous()
    back = exact.decode(exact.encode(lifted, context), context)
    whole = flow.dequantization.lower(back) if flow.dequantization else back
    return Reconstruction(images.cpu(), whole.cpu(), (back - lifted).abs().cpu())


def draw_reconstructions(back: Reconstruction, schema: ImageSchema) -> "Figure":
    """Data, what came back, and the error, enlarged until it is visible."""
    columns = min(across(schema.shape[2], 12, 1, LABELS), len(back.images))
    parts = [view(schema, part[:columns]) for part in (back.images, back.back)]
    power = magnified(back, schema)
    labels = ["data", "there and back", f"error × {_power_of_ten(power)}"]
    enlarged = back.error[:columns] * 10.0**power
    tiles = np.stack([*parts, view(schema, enlarged)])
    return draw_panels([Panel(tiles, rows=labels)])


def magnified(back: Reconstruction, schema: ImageSchema) -> int:
    """The power of ten by which the picture enlarges errors, so that most are visible."""
    typical = float(back.error.flatten()[: 2**20].double().quantile(0.98))
    if not 0 < typical < math.inf:
        return 0
    return max(0, math.floor(math.log10((schema.levels - 1) / typical)))


def _power_of_ten(power: int) -> str:
    """A power of ten in little room: `1`, `10⁵`."""
    return "10" + str(power).translate(_RAISED) if power else "1"


# --- pixel values --------------------------------------------------------------------------------

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
