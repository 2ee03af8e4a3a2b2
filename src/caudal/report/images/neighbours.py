"""The training images nearest to samples: whether a flow has memorised images."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from caudal.data import ImageSchema, Rows
from caudal.report.images.draw import view
from caudal.report.images.tiles import Panel, across, draw_panels
from caudal.report.style import DATA, SAMPLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
