"""Which pixels of an image are hidden: by a picture, an array, or a half in a word."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from caudal.data.images.form import Form, shape_of
from caudal.data.images.open import find_images
from caudal.data.images.schema import ImageSchema, words
from caudal.errors import InputError

HALVES = ("left", "right", "top", "bottom")
_WHITE = 128  # of 256 shades, from which on a pixel of the picture hides


def hidden_pixels(
    mask: Any, schema: ImageSchema, crop: Sequence[int] = (), resize: Sequence[int] = ()
) -> np.ndarray:
    """Which pixels are hidden, bool (H, W).

    Args:
        mask: one of `HALVES`; an image file, white where pixels are hidden; or an array (H, W).
        schema: of the images.
        crop: of the images, which the file of a mask has in common with them.
        resize: likewise.

    Raises:
        InputError: it cannot be read, has another size, or hides nothing.
    """
    if isinstance(mask, str) and mask in HALVES:
        return _half(mask, *schema.shape[1:])
    name = mask if isinstance(mask, str) else "array"
    hidden = _pictured(mask, crop, resize) if isinstance(mask, str) else np.asarray(mask) != 0
    if hidden.shape != schema.shape[1:]:
        size = "x".join(map(str, hidden.shape))
        raise InputError(f"`mask` {name} is {size}, and the images are {schema.size}")
    if not hidden.any():
        raise InputError(f"`mask` {name} hides no pixel: it is white, or true, where they are")
    return hidden


def _half(name: str, height: int, width: int) -> np.ndarray:
    hidden = np.zeros((height, width), bool)
    rows, columns = slice(None), slice(None)
    if name in ("top", "bottom"):
        rows = slice(height // 2) if name == "top" else slice(height // 2, None)
    else:
        columns = slice(width // 2) if name == "left" else slice(width // 2, None)
    hidden[rows, columns] = True
    return hidden


def _pictured(path: str, crop: Sequence[int], resize: Sequence[int]) -> np.ndarray:
    """What a picture hides."""
    try:
        lot = find_images(path).lots[0]
    except InputError as error:
        raise InputError(f"`mask` {error} ({', '.join(HALVES)} hide a half)") from error
    pixels = Form.of(crop, resize).read(lot.raw(0), lot.place(0))
    if shape_of(pixels)[0] not in (1, 3):
        raise InputError(f"`mask` {path} is {words(shape_of(pixels))}: give a picture")
    return pixels.mean(2) >= _WHITE
