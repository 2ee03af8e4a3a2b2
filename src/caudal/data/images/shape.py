"""Whether images have the shape that they should, and what to do if they have not."""

import numpy as np

from caudal.data.images.form import Form, quietly
from caudal.data.images.pictures import Pictures
from caudal.data.images.schema import ImageSchema
from caudal.errors import InputError

Shape = tuple[int, int, int]


def shape_of(pixels: np.ndarray) -> Shape:
    """Channels, height, width of an image (H, W, C)."""
    height, width, channels = pixels.shape
    return channels, height, width


def first_shape(pictures: Pictures, form: Form, corrupt: str) -> Shape:
    """The shape of the first image, or of the first that can be read where others are skipped.

    Raises:
        InputError: it cannot be read, or none can.
    """
    first: InputError | None = None
    for index, raw in enumerate(pictures.read()):
        try:
            with quietly():
                return shape_of(form.read(raw, pictures.place(index)))
        except InputError as error:
            first = first or error
            if corrupt == "refuse":
                raise skippable(error) from None
    raise InputError(f"no image of {pictures.name} can be used; the first: {first}")


def check_shape(pictures: Pictures, form: Form, corrupt: str, schema: ImageSchema) -> None:
    """Refuses images that differ, at the first of them, from those that a run models.

    Raises:
        InputError: says both shapes, and what to do.
    """
    shape = first_shape(pictures, form, corrupt)
    if shape != schema.shape:
        advice = _advice(shape, schema.shape)
        raise InputError(
            f"{pictures.name} is {_words(shape)}, the run models {schema.size}: {advice}"
        )


def unlike(place: str, shape: Shape, wanted: Shape) -> InputError:
    """The error for one image that differs from the others."""
    advice = _advice(shape, wanted)
    return InputError(f"{place} is {_words(shape)}, others are {_words(wanted)}: {advice}")


def skippable(error: InputError) -> InputError:
    """The same error with the advice to leave the image out."""
    return InputError(f"{error}; --corrupt skip leaves such images out")


def _words(shape: Shape) -> str:
    return ImageSchema(shape).size


def _advice(shape: Shape, wanted: Shape) -> str:
    """How one shape becomes the other."""
    channels, height, width = wanted
    if shape[0] != channels:
        return f"convert the images to {_words(wanted).split(' ', 1)[1]} first"
    size = f"{height}" if height == width else f"{height} {width}"
    crops = shape[1] >= height and shape[2] >= width
    return f"give --resize {size}" + (f", or --crop {size}" if crops else "")
