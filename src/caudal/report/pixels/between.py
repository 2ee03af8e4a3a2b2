"""The manifold between four images of the data, drawn."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from caudal.data.images import ImageSchema
from caudal.data.source import Rows, permutation
from caudal.flow import Flow
from caudal.interpolation import manifold
from caudal.report.pixels.draw import Classes, classes_of, view
from caudal.report.pixels.tiles import APART, Panel, across, draw_panels
from caudal.report.style import DATA, SAMPLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 8


def four_examples(schema: ImageSchema, rows: Rows) -> tuple[Tensor, Tensor | None]:
    """Four images for the corners, of four classes where these are known, and their context."""
    classes = classes_of(schema, 4)
    if rows.context is None or classes is None:
        chosen = permutation(len(rows), 0)[torch.arange(4) % len(rows)]
    else:
        chosen = _one_of_each(rows.context[:, 0].cpu(), classes)
    chosen = chosen.to(rows.x.device)
    return rows.x[chosen], None if rows.context is None else rows.context[chosen]


def draw_manifold(
    flow: Flow,
    schema: ImageSchema,
    images: Tensor,
    context: Tensor | None = None,
    n: int = SIDE,
    seed: int = 0,
) -> "Figure":
    """The manifold, and the four examples themselves beside its corners."""
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


def _beside(two: np.ndarray, n: int) -> Panel:
    """Two examples at the heights of the corners, and nothing between."""
    tiles = np.zeros((n, 1, *two.shape[1:]), np.uint8)
    tiles[0, 0], tiles[-1, 0] = two
    shown = np.zeros((n, 1), bool)
    shown[[0, -1]] = True
    return Panel(tiles, "data", DATA, shown=shown)


def _one_of_each(codes: Tensor, classes: Classes) -> Tensor:
    """The first row of each class; of one that has none, another row."""
    found = [(codes == code).nonzero()[:1, 0] for code in classes.codes]
    rows = [int(f) if len(f) else i % len(codes) for i, f in enumerate(found)]
    return torch.tensor([rows[i % len(rows)] for i in range(4)])


def _tile(schema: ImageSchema) -> tuple[int, int, int]:
    channels, height, width = schema.shape
    return height, width, channels
