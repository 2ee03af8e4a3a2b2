"""Sheets of images: samples beside data, temperatures, a student beside its teacher, manifolds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from caudal.data import ImageSchema, Rows
from caudal.data.source import permutation
from caudal.denoising import denoised
from caudal.flow import Flow
from caudal.interpolation import manifold
from caudal.report.distilled import Samples
from caudal.report.images.tiles import APART, Panel, across, draw_panels, grid_of
from caudal.report.items import NUMBERS, noise, some_rows
from caudal.report.style import DATA, SAMPLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@torch.no_grad()
def sample_images(
    flow: Flow,
    schema: ImageSchema,
    n: int,
    context: Tensor | None = None,
    temperature: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """N samples (n, C, H, W) on the CPU, of a flow that is put into eval mode.

    `context` has n rows, or is None. Noise that images had in training is taken off.
    """
    flow.eval()
    generator, size = noise(flow, seed), max(1, NUMBERS // schema.countable)
    like, exact = flow.base.like, flow.continuous()
    drawn = []
    for start in range(0, n, size):
        part = None if context is None else context[start : start + size].to(like)
        count = min(size, n - start)
        if schema.pixel_noise and flow.dequantization is not None:
            noisy = exact.sample(count, part, temperature, generator)
            drawn.append(cleaned(flow, schema, noisy, part).cpu())
        else:
            drawn.append(flow.sample(count, part, temperature, generator).cpu())
    return torch.cat(drawn)


def cleaned(flow: Flow, schema: ImageSchema, y: Tensor, context: Tensor | None = None) -> Tensor:
    """Images y (N, C, H, W) as the flow makes them, in pixel values, without noise of training."""
    clean = denoised(flow.continuous(), y, schema.pixel_noise, context)
    return clean if flow.dequantization is None else flow.dequantization.lower(clean)


def view(schema: ImageSchema, x: Tensor) -> np.ndarray:
    """Images to look at (N, H, W, C); values that are not finite are black."""
    return schema.decode(x.float().nan_to_num(0.0, schema.levels - 1, 0.0))


def broken(x: Tensor) -> int:
    """How many images have values that are not finite."""
    return int((~x.isfinite()).flatten(1).any(1).sum())


@dataclass(frozen=True)
class Classes:
    """The classes of images that are shown: their names, and their codes (K,)."""

    names: Sequence[str]
    codes: Tensor

    def context(self, each: int) -> Tensor:
        """Context (K each, 1) of `each` images of every class, class by class."""
        return self.codes.repeat_interleave(each).unsqueeze(1)

    def cycled(self, n: int) -> Tensor:
        """Context (n, 1) of n images, with the classes in turn."""
        return self.codes[torch.arange(n) % len(self.codes)].unsqueeze(1)


def classes_of(schema: ImageSchema, most: int = 10) -> Classes | None:
    """The classes that the flow is conditioned on; of many, `most` that are evenly chosen."""
    if len(schema.context) != 1 or not schema.context[0].categories:
        return None
    names = [str(name) for name in schema.context[0].categories]
    chosen = np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)
    return Classes([names[i] for i in chosen], torch.from_numpy(chosen).float())


def members(rows: Rows, contexts: Tensor, classes: Classes, each: int) -> tuple[Tensor, Tensor]:
    """The first images of each class (K, each, C, H, W), and which there are (K, each)."""
    images = rows.x.new_zeros(len(classes.codes), each, *rows.x.shape[1:])
    there = torch.zeros(len(classes.codes), each, dtype=torch.bool)
    for i, code in enumerate(classes.codes):
        first = (contexts[:, 0].cpu() == code).nonzero()[:each, 0]
        images[i, : len(first)] = rows.x[first.to(rows.x.device)]
        there[i, : len(first)] = True
    return images, there


# --- sheets --------------------------------------------------------------------------------------

ROWS = 8
TEMPERATURES = (0.5, 0.7, 0.85, 1.0)
SIDE = 8  # images along each side of a manifold


def draw_samples(flow: Flow, schema: ImageSchema, rows: Rows, seed: int = 0) -> "Figure":
    """Data left and samples right, chosen at random; given a class, each row has one class."""
    if (classes := classes_of(schema)) is not None and rows.context is not None:
        columns = across(schema.shape[2], ROWS, 2, 80)
        images, shown = members(rows, rows.context, classes, columns)
        data = view(schema, images.flatten(0, 1)).reshape(*shown.shape, *_tile(schema))
        drawn = sample_images(flow, schema, shown.numel(), classes.context(columns), seed=seed)
        left = Panel(data, "data", DATA, rows=classes.names, shown=shown.numpy())
    else:
        columns = across(schema.shape[2], ROWS, 2)
        chosen = some_rows(rows, columns * ROWS)
        left = Panel(grid_of(view(schema, chosen.x), columns), "data", DATA)
        drawn = sample_images(flow, schema, len(chosen), chosen.context, seed=seed)
    samples = grid_of(view(schema, drawn), left.tiles.shape[1])
    return draw_panels([left, Panel(samples, "samples", SAMPLES)])


def draw_temperatures(flow: Flow, schema: ImageSchema, seed: int = 0) -> "Figure":
    """The same noise, scaled by several temperatures, each in a row."""
    columns, classes = across(schema.shape[2], 12, 1, 80), classes_of(schema)
    context = classes.cycled(columns) if classes else None
    rows = [
        grid_of(view(schema, sample_images(flow, schema, columns, context, t, seed)), columns)
        for t in TEMPERATURES
    ]
    labels = [f"T = {t:g}" for t in TEMPERATURES]
    return draw_panels([Panel(np.concatenate(rows), rows=labels)])


def draw_students(samples: Samples, schema: ImageSchema) -> "Figure":
    """Samples of a teacher left, and of its student right, for the same contexts in turn."""
    columns = across(schema.shape[2], ROWS, 2)
    sides = (("teacher", samples.teacher, DATA), ("student", samples.student, SAMPLES))
    panels = []
    for title, images, colour in sides:
        tiles = grid_of(view(schema, images[: columns * ROWS]), columns)
        panels.append(Panel(tiles, title, colour))
    return draw_panels(panels)


# --- between four images -------------------------------------------------------------------------


def draw_manifold(
    flow: Flow,
    schema: ImageSchema,
    images: Tensor,
    context: Tensor | None = None,
    n: int = SIDE,
    seed: int = 0,
) -> "Figure":
    """The manifold between four images, with the images themselves beside its corners.

    Args:
        flow: put into eval mode.
        schema: of the images.
        images: (4, C, H, W), any dtype.
        context: (4, C) of the images, where the flow has one.
        n: images along each side; fewer where they are too large for the sheet.
        seed: of the dequantisation noise.
    """
    n = max(2, across(schema.shape[2], n + 2, labels=2 * APART) - 2)
    between = manifold(flow, images, context, n, seed)
    cells = view(schema, between.flatten(0, 1)).reshape(n, n, *_tile(schema))
    corners = view(schema, images)
    return draw_panels(
        [
            _beside(corners[[0, 2]], n),
            Panel(cells, "between them", SAMPLES),
            _beside(corners[[1, 3]], n),
        ]
    )


def four_examples(schema: ImageSchema, rows: Rows) -> tuple[Tensor, Tensor | None]:
    """Four images for the corners, of four classes where these are known, and their context."""
    classes = classes_of(schema, 4)
    if rows.context is None or classes is None:
        chosen = permutation(len(rows), 0)[torch.arange(4) % len(rows)]
    else:
        chosen = _one_of_each(rows.context[:, 0].cpu(), classes)
    chosen = chosen.to(rows.x.device)
    return rows.x[chosen], None if rows.context is None else rows.context[chosen]


def unlike(n: int, labels: Sequence[Any] | None, seed: int) -> list[int]:
    """Four of n rows in a random order, of as many classes as there are, repeated if n < 4."""
    order = permutation(n, seed).tolist()
    first = {str(labels[i]): i for i in reversed(order)} if labels is not None else {}
    leaders = set(first.values())
    sorted_order = [i for i in order if i in leaders] + [i for i in order if i not in leaders]
    return [sorted_order[k % n] for k in range(4)]


def _beside(two: np.ndarray, n: int) -> Panel:
    """Two examples at the heights of the corners, and nothing between them."""
    tiles = np.zeros((n, 1, *two.shape[1:]), np.uint8)
    tiles[0, 0], tiles[-1, 0] = two
    shown = np.zeros((n, 1), bool)
    shown[[0, -1]] = True
    return Panel(tiles, "data", DATA, shown=shown)


def _one_of_each(codes: Tensor, classes: Classes) -> Tensor:
    """The first row of each class, or another row where a class has none."""
    first = [(codes == code).nonzero()[:1, 0] for code in classes.codes]
    rows = [int(row) if len(row) else i % len(codes) for i, row in enumerate(first)]
    return torch.tensor([rows[i % len(rows)] for i in range(4)])


def _tile(schema: ImageSchema) -> tuple[int, int, int]:
    channels, height, width = schema.shape
    return height, width, channels
