"""The report of a run on images: samples, neighbours, reconstructions, pixel values."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from caudal.data import Rows
from caudal.report.curves import curves
from caudal.report.distilled import DistilledRows
from caudal.report.film import folder_of
from caudal.report.images import checks, filmstrip, sheets
from caudal.report.items import some_rows
from caudal.report.page import Contents, Drawn, Story, Teller, picture_sections, render

POOL = 256  # test images, and samples, that are measured
PIXELS = 2**20  # pixels in all: fewer images where they are large


class ImageTeller(Teller):
    """Tells the story of a run on images."""

    many: ClassVar[str] = "images"

    def tell(self, story: Story) -> Contents:
        pictures = render(_figures(story))
        schema = story.dataset.schema
        what = f"images of {schema.size}"
        if schema.bits != 8:
            what += f" in {schema.bits} bits"
        if schema.context:
            what += f", given {', '.join(column.name for column in schema.context)}"
        if schema.pixel_noise:
            what += f", learned with noise of {schema.pixel_noise:g} steps, "
            what += "which samples keep" if story.distilled else CLEANED
        sections = list(picture_sections(pictures))
        return Contents(f"{what}; {self.parts(story)}", sections, pictures)


def _figures(story: Story) -> Iterator[Drawn]:
    flow, data, seed = story.flow, story.dataset, story.seed
    # A student may have no slope to take noise off by: its samples keep it.
    schema = replace(data.schema, pixel_noise=0.0) if story.distilled else data.schema
    if isinstance(story.distilled, DistilledRows):
        drawn = sheets.draw_students(story.distilled.samples, schema)
        yield "teacher-images", "Student and teacher", TEACHER, drawn
    test = some_rows(data.test, _pool(schema.countable), seed)
    sampled = sheets.sample_images(flow, schema, len(test), test.context, seed=seed + 1)
    drawn = sheets.draw_samples(flow, schema, data.test, seed)
    yield "samples", "Samples beside data", _samples(story, sampled), drawn
    drawn = sheets.draw_temperatures(flow, schema, seed)
    yield "temperatures", "Temperature", TEMPERATURES, drawn
    yield _manifold(story)
    sampled = sampled.nan_to_num(0.0)
    near = checks.find_neighbours(sampled, test.x, data.train)
    drawn = checks.draw_neighbours(near, schema, data.train)
    yield "neighbours", "Nearest training images", _neighbours(near), drawn
    yield _reconstructions(story, test)
    yield from _filmstrip(story)
    yield from _curves(story)
    n = f"{len(test):,}"
    drawn = checks.draw_values(test.x, sampled, schema)
    yield "values", "Pixel values", VALUES.format(n), drawn
    drawn = checks.draw_moments(test.x, sampled, schema)
    yield "moments", "Mean and spread of each pixel", MOMENTS.format(n), drawn


def _pool(pixels: int) -> int:
    return max(64, min(POOL, PIXELS // pixels))


def _samples(story: Story, sampled: Tensor) -> str:
    caption = "Test images beside samples at temperature 1, both chosen at random."
    if story.dataset.schema.context:
        caption += " Each row has one class."
    if lost := sheets.broken(sampled):
        caption += (
            f" {lost:,} of {len(sampled):,} samples have values that are not finite, which are "
            f"black in the pictures: from noise to data, the flow is unstable."
        )
    return caption


def _manifold(story: Story) -> Drawn:
    schema = story.dataset.schema
    images, context = sheets.four_examples(schema, story.dataset.test)
    drawn = sheets.draw_manifold(story.flow, schema, images, context, seed=story.seed)
    caption = MANIFOLD + (CLASSES if context is not None else "")
    caption += NOISY if schema.pixel_noise else ""
    return "manifold", "Between four images", caption, drawn


def _neighbours(near: checks.Neighbours) -> str:
    sampled, test = near.medians
    return NEIGHBOURS.format(
        training=f"{near.training:,}",
        n=len(near.samples),
        sampled=f"{sampled:.2f}",
        test=f"{test:.2f}",
        ratio=f"{near.ratio:.2f}",
    )


def _reconstructions(story: Story, test: Rows) -> Drawn:
    some = some_rows(test, 12)
    back = checks.reconstruct(story.flow, some, story.seed)
    drawn = checks.draw_reconstructions(back, story.dataset.schema)
    exact = "every image came back as it was"
    if back.changed:
        exact = f"{back.changed:,} of {back.images.numel():,} pixel values came back different"
    caption = RECONSTRUCTIONS.format(n=len(some), largest=f"{back.largest:.1e}", exact=exact)
    return "reconstructions", "There and back", caption, drawn


def _filmstrip(story: Story) -> Iterator[Drawn]:
    folder = story.folder and folder_of(story.folder)
    if folder and len(filmstrip.steps_in(folder)) > 1:
        drawn = filmstrip.draw_filmstrip(folder)
        yield "filmstrip", "Samples as training went on", FILMSTRIP, drawn


def _curves(story: Story) -> Iterator[Drawn]:
    if story.distilled is not None:
        return curves(story, LOSSES, "loss (nats)", 1.0)
    scale = 1 / (story.dataset.schema.countable * math.log(2))
    what = "Mean bits/dim"
    if story.dataset.schema.pixel_noise:
        what += ", in training of noisy images and in validation of images without the noise,"
    return curves(story, what, "bits/dim", scale)


CLEANED = "which is taken off samples as with --denoise"
NOISY = " What lies between them keeps the noise of training."
TEACHER = "As many samples of the teacher as of the student, for the same contexts; no data."
TEMPERATURES = (
    "The same noise in each row, multiplied by the temperature T on its left. Below 1 samples are "
    "likelier and less varied; only those at T = 1 are samples of the density that was evaluated."
)
MANIFOLD = (
    "Four test images, and what the flow makes of the noise between theirs, along arcs of the "
    "sphere near which noise lies. The corners of the grid are the images themselves, encoded and "
    "decoded."
)
CLASSES = " Each cell is drawn given the class of its nearest corner."
NEIGHBOURS = (
    "On top are samples, and beside them test images, which the flow has not seen; under each is "
    "the nearest of {training} training images, pixel by pixel. Numbers are distances to the "
    "nearest: the root of the mean squared difference, in steps between pixel values. A flow that "
    "memorised images draws samples that look like the images under them and lie much nearer to "
    "them than test images do. Medians over {n}: {sampled} from samples, {test} from test images, "
    "ratio {ratio}; far below 1 means copies, far above 1 samples unlike any image."
)
RECONSTRUCTIONS = (
    "Test images, what came back of them through noise, decode(encode(x)), and the error before "
    "rounding, enlarged. Its largest value over {n} images is {largest} of the step between pixel "
    "values; {exact}."
)
FILMSTRIP = "The same noise in each row, decoded by the flow as it was after so many steps."
LOSSES = "What the student minimised, in nats an image"
VALUES = "Shares of each value in {} test images (filled) and in as many samples (line)."
MOMENTS = "Over {} test images and as many samples; deviations are brightened alike."
