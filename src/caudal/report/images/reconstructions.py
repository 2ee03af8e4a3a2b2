"""There and back: what a flow decodes from images that it encoded itself."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from caudal.data import Batch, ImageSchema, Rows
from caudal.flow import Flow
from caudal.report.images.draw import view
from caudal.report.images.tiles import Panel, across, draw_panels
from caudal.report.items import noise, place

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
