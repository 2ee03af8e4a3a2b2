"""New images out of a run: on one sheet, in an array, or in a folder."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from caudal.cli.contexts import context_rows, rechunk
from caudal.cli.opened import OpenedRun
from caudal.cli.opened_images import class_names
from caudal.cli.output import open_images_output
from caudal.cli.screen import Screen
from caudal.data import ImageSchema
from caudal.errors import InputError
from caudal.report.gaussian import noise

if TYPE_CHECKING:
    from caudal.cli.sample import SampleOptions

CHUNK_NUMBERS = 1 << 20  # pixels drawn at a time
MOST_ACROSS = 20  # classes that have a column each on a sheet


def run(options: "SampleOptions", opened: OpenedRun, n: int, screen: Screen) -> int:
    """Draws them and says so."""
    if options.exact is not None:
        raise InputError(f"--exact is for tables, and {options.run} models images: leave it out")
    schema, cold = opened.images, options.temperature != 1
    label = f"temperature {options.temperature:g}" if cold else ""
    across = _across(schema, options)
    under = "; ".join(part for part in (_classes(schema, across), label) if part)
    writer = open_images_output(options.out, options.overwrite, across, under)
    writer.check(schema.shape[0])
    chunk = max(1, CHUNK_NUMBERS // schema.countable)
    lots = _sampled(opened, options, n, chunk, screen)
    with writer:
        for images, classes in screen.track(lots, "sampling", math.ceil(n / chunk)):
            writer.write(images, classes)
    screen.say(f"{options.out}: {n:,} images sampled from {options.run} (seed {options.seed})")
    if cold:
        screen.warn(f"at {label} these are no samples of the density")
    screen.result({"out": options.out, "images": n, "seed": options.seed})
    return 0


def _across(schema: ImageSchema, options: "SampleOptions") -> int | None:
    """Each class has a column of its own where all of them come in turn."""
    levels = len(schema.context[0].categories or ()) if schema.context else 0
    in_turn = levels <= MOST_ACROSS and not options.given and options.context_file is None
    return levels if levels and in_turn else None


def _classes(schema: ImageSchema, across: int | None) -> str:
    """Which class each column of a sheet is, if it is one."""
    if across is None:
        return ""
    return "columns: " + ", ".join(str(name) for name in schema.context[0].categories or ())


def _sampled(
    opened: OpenedRun, options: "SampleOptions", n: int, chunk: int, screen: Screen
) -> Iterator[tuple[np.ndarray, list[Any] | None]]:
    """The images and their classes, a chunk at a time."""
    sizes = [chunk] * (n // chunk) + [n % chunk] * (n % chunk > 0)
    rows = context_rows(opened, options.context_file, options.given, options.seed, screen.warn)
    contexts = iter([None] * len(sizes)) if rows is None else rechunk(rows, sizes)
    generator = noise(opened.flow, options.seed)
    like = opened.flow.base.like
    for size, context in zip(sizes, contexts, strict=True):
        placed = None if context is None else context.to(like)
        x = opened.flow.sample(size, placed, options.temperature, generator)
        yield opened.images.decode(x), class_names(opened.images, context)
