"""What is told of images in words: before training, and under a sheet of samples."""

from collections.abc import Iterator

import torch

from caudal.data import Dataset, ImageSchema
from caudal.modalities.contexts import listed
from caudal.modalities.images.options import ImageDrawing

_MOST_ACROSS = 20  # classes that have a column each on a sheet
_PIXELS = {"unit": "x", "centred": "x - 1/2"}


def preview(dataset: Dataset) -> Iterator[str]:
    """How pixels reach the flow, what it is given, and the sizes of the three parts."""
    schema = dataset.schema
    white = ", whitened" if schema.pixels == "white" else ""
    logit = f"logit({schema.alpha:g} + {1 - 2 * schema.alpha:g} x){white}"
    yield (
        f"{schema.size} images, {schema.bits} bits a pixel; pixels x in [0, 1] as "
        f"{_PIXELS.get(schema.pixels, logit)}, {schema.dequantization} noise between their "
        f"values"
    )
    if schema.pixel_noise:
        yield (
            f"images are learned with Gaussian noise of {schema.pixel_noise:g} steps, which "
            f"samples have too unless they are denoised; scores are of images without it"
        )
    yield from _context_lines(dataset)
    if schema.drop_context:
        yield (
            f"labels are withheld from {schema.drop_context:.0%} of the images in each step, so "
            f"that samples can be guided"
        )
    yield ", ".join(f"{source.n_rows:,} {name}" for name, source in dataset.parts) + " images"


def across(schema: ImageSchema, drawing: ImageDrawing) -> int | None:
    """Each class has a column of its own where all of them come in turn."""
    levels = schema.levels_of_context[0] if len(schema.context) == 1 else 0
    in_turn = not drawing.given and drawing.context_file is None and drawing.inpaint is None
    return levels if 0 < levels <= _MOST_ACROSS and in_turn else None


def classes_line(schema: ImageSchema, across: int | None) -> str:
    """Which class each column of a sheet is, if it is one."""
    if across is None:
        return ""
    return "columns: " + ", ".join(str(name) for name in schema.context[0].categories or ())


def _context_lines(dataset: Dataset) -> Iterator[str]:
    """What the flow is conditioned on, with the number of training images of each class."""
    context = dataset.train.context
    for index, column in enumerate(dataset.schema.context):
        if column.categories is None:
            yield f"given {column.name}, a number"
            continue
        names = column.categories
        counts = torch.bincount(context[:, index].long(), minlength=len(names)).tolist()
        classes = [f"{name} {n:,}" for name, n in zip(names, counts, strict=True)]
        yield f"given the {column.name}, of {len(names)}: {listed(classes)}"
