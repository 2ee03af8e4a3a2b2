"""Images on the page of `caudal explore`."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor

from caudal.data import ImageSchema
from caudal.flow import Flow
from caudal.report.guide import Guide, Side
from caudal.report.images.checks import draw_moments, draw_values
from caudal.report.images.sheets import cleaned
from caudal.report.images.tiles import Panel, across, draw_greys, draw_panels, grid_of
from caudal.report.page import Block, Drawn, draw_one
from caudal.report.stages import Stage, noise_in_turn, stages_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPREAD = 3.0  # deviations of the noise that are shown as shades
IN_A_ROW = 12  # images that still stand in one row
COMPARED = 60  # images of a side that stand beside others
SHOWN = 6  # images that are shown after each part of a flow


class ImageGuide(Guide):
    """Shows images as tiles, and noise as shades of grey or colour."""

    usual, most = 40, 400
    file: ClassVar[str] = "samples.png"
    suffixes: ClassVar[tuple[str, ...]] = (
        ".png",
        ".jpg",
        ".jpeg",
        ".webp",
        ".bmp",
        ".npy",
        ".npz",
    )

    def show(self, schema: ImageSchema, sides: Sequence[Side], ground: Any = None) -> list[Block]:
        return [draw_one("images", lambda: _draw_sides(sides))]

    def is_noisy(self, schema: ImageSchema) -> bool:
        return schema.pixel_noise > 0

    def decode(
        self,
        flow: Flow,
        schema: ImageSchema,
        z: Tensor,
        context: Tensor | None,
        clean: bool = False,
    ) -> Tensor:
        if not clean:
            return flow.decode(z, context)
        return cleaned(flow, schema, flow.continuous().decode(z, context), context)

    def drawing(self, schema: ImageSchema) -> dict[str, Any]:
        return {"denoise": True} if self.is_noisy(schema) else {}

    def remark(self, schema: ImageSchema) -> str:
        if not self.is_noisy(schema):
            return ""
        return f" The noise of training, of {schema.pixel_noise:g} steps, is taken off samples."

    def noise(self, schema: ImageSchema, z: Tensor) -> np.ndarray:
        shades = (z.double().cpu() / SPREAD + 1) / 2 * (schema.levels - 1)
        return schema.decode(shades)

    def joined(self, parts: Sequence[Any]) -> np.ndarray:
        return np.concatenate(parts)

    def compare(self, flow: Flow, schema: ImageSchema, one: Side, other: Side) -> Iterator[Drawn]:
        first = [side._replace(items=side.items[:COMPARED]) for side in (one, other)]
        yield "images", "Images", IMAGES, _draw_sides(first)
        x, y = (schema.encode(np.asarray(side.items)).float() for side in (one, other))
        yield "values", "Pixel values", VALUES, draw_values(x, y, schema)
        yield "moments", "Mean and spread of each pixel", MOMENTS, draw_moments(x, y, schema)

    def layers(self, flow: Flow, schema: ImageSchema) -> int:
        if schema.shape[0] not in (1, 3) or not all(schema.levels_of_context):
            return 0
        return len(stages_of(flow, *noise_in_turn(flow, schema, 1, 0))) - 1

    def film(self, flow: Flow, schema: ImageSchema, seed: int) -> list[Block]:
        z, context = noise_in_turn(flow, schema, SHOWN, seed)
        found, ends = stages_of(flow, z, context), ["data"]
        if self.is_noisy(schema):
            clean = cleaned(flow, schema, found[-1].events, context)
            found.append(Stage("without the noise of training", clean))
            ends = ["noisy", "noise off"]
        shades = [(s.name, s.events.movedim(1, -1)) for s in found]
        return [draw_one("layers", lambda: draw_greys(shades, ends))]


IMAGES = "Not picked: the first of each."
VALUES = "Shares of each pixel value on both sides, on a logarithmic scale."
MOMENTS = "Deviations are brightened alike."


def _draw_sides(sides: Sequence[Side]) -> "Figure":
    """The images of each side in a panel; those of one image are large."""
    panels = []
    for side in sides:
        images = np.asarray(side.items)
        most = across(images.shape[2], IN_A_ROW, len(sides))
        columns = len(images) if len(images) <= min(most, IN_A_ROW) else min(most, 10)
        panels.append(Panel(grid_of(images, columns), side.title, side.colour))
    single = all(panel.tiles.shape[1] == 1 for panel in panels)
    return draw_panels(panels, 200 if single else 84)
