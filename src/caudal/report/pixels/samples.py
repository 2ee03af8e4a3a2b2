"""Samples beside data, and what temperature does to them."""

from typing import TYPE_CHECKING

import numpy as np

from caudal.data.images import ImageSchema
from caudal.data.source import Rows
from caudal.flow import Flow
from caudal.report.pixels.draw import classes_of, members, sample_images, some_images, view
from caudal.report.pixels.tiles import Panel, across, draw_panels, grid_of
from caudal.report.style import DATA, SAMPLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = 8
TEMPERATURES = (0.5, 0.7, 0.85, 1.0)


def draw_samples(flow: Flow, schema: ImageSchema, rows: Rows, seed: int = 0) -> "Figure":
    """Data left and samples right, not picked; given a class, a class in each row."""
    if (classes := classes_of(schema)) is not None and rows.context is not None:
        columns = across(schema.shape[2], ROWS, 2, 80)
        images, shown = members(rows, rows.context, classes, columns)
        data = view(schema, images.flatten(0, 1)).reshape(*shown.shape, *_tile(schema))
        drawn = sample_images(flow, schema, shown.numel(), classes.context(columns), seed=seed)
        left = Panel(data, "data", DATA, rows=classes.names, shown=shown.numpy())
    else:
        columns = across(schema.shape[2], ROWS, 2)
        chosen = some_images(rows, columns * ROWS)
        left = Panel(grid_of(view(schema, chosen.x), columns), "data", DATA)
        drawn = sample_images(flow, schema, len(chosen), chosen.context, seed=seed)
    samples = grid_of(view(schema, drawn), left.tiles.shape[1])
    return draw_panels([left, Panel(samples, "samples", SAMPLES)])


def draw_temperatures(flow: Flow, schema: ImageSchema, seed: int = 0) -> "Figure":
    """The same noise, scaled by several temperatures: a temperature in each row."""
    columns, classes = across(schema.shape[2], 12, 1, 80), classes_of(schema)
    context = classes.cycled(columns) if classes else None
    rows = [
        grid_of(view(schema, sample_images(flow, schema, columns, context, t, seed)), columns)
        for t in TEMPERATURES
    ]
    labels = [f"T = {t:g}" for t in TEMPERATURES]
    return draw_panels([Panel(np.concatenate(rows), rows=labels)])


def _tile(schema: ImageSchema) -> tuple[int, int, int]:
    channels, height, width = schema.shape
    return height, width, channels
