"""There and back: what a flow makes of images that it encoded itself."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from caudal.data.images import ImageSchema
from caudal.data.source import Batch, Rows
from caudal.flow import Flow
from caudal.report.gaussian import noise, place
from caudal.report.pixels.draw import view
from caudal.report.pixels.tiles import Panel, across, draw_panels

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
        error: absolute, of the dequantised values, in steps between pixel values.
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
        """How many whole values came back different: noise at the edge of a step needs little."""
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


def draw_reconstructions(found: Reconstruction, schema: ImageSchema) -> "Figure":
    """Data, what came back, and the error, enlarged until it is seen."""
    columns = min(across(schema.shape[2], 12, 1, LABELS), len(found.images))
    parts = [view(schema, part[:columns]) for part in (found.images, found.back)]
    power = magnified(found, schema)
    labels = ["data", "there and back", f"error × {_power_of_ten(power)}"]
    enlarged = found.error[:columns] * 10.0**power
    tiles = np.stack([*parts, view(schema, enlarged)])
    return draw_panels([Panel(tiles, rows=labels)])


def magnified(found: Reconstruction, schema: ImageSchema) -> int:
    """By which power of ten the errors are enlarged in the picture, for most to be seen."""
    typical = float(found.error.flatten()[: 2**20].double().quantile(0.98))
    if not 0 < typical < math.inf:
        return 0
    return max(0, math.floor(math.log10((schema.levels - 1) / typical)))


def _power_of_ten(power: int) -> str:
    """`1`, `10⁵`: in a picture there is little room."""
    return "10" + str(power).translate(_RAISED) if power else "1"
