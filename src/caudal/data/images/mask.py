"""Which pixels of an image are hidden: by a picture, an array, or a half in a word."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caudal.data.files.jobs import FaultError
from caudal.data.images.form import Form, shape_of
from caudal.data.images.open import find_images
from caudal.data.images.schema import ImageSchema, words
from caudal.errors import InputError, one_line

HALVES = ("left", "right", "top", "bottom")
_WHITE = 128  # of 256 shades, from which on a pixel of the picture hides


def hidden_pixels(
    mask: Any, schema: ImageSchema, crop: Sequence[int] = (), resize: Sequence[int] = ()
) -> np.ndarray:
    """Which pixels are hidden, bool (H, W).

    Args:
        mask: one of `HALVES`; an image file, white where pixels are hidden; or an array (H, W) or
            its .npy file, true or not 0 there.
        schema: of the images.
        crop: of the images, which a picture of another size has in common with them.
        resize: likewise.

    Raises:
        InputError: it cannot be read, has another size, or hides nothing or everything.
    """
    named = isinstance(mask, str | os.PathLike)
    name = os.fspath(mask) if named else "array"
    if name in HALVES and named:
        hidden = _half(name, *schema.shape[1:])
    elif named and Path(name).suffix != ".npy":
        hidden = _pictured(name, schema, crop, resize)
    else:
        hidden = _of_array(name, _loaded(name) if named else mask)
    if hidden.shape != schema.shape[1:]:
        size = "x".join(map(str, hidden.shape)) or "one number"
        raise InputError(f"`mask` {name} is {size}, and the images are {schema.size}")
    if not hidden.any():
        raise InputError(f"`mask` {name} hides no pixel: it is white, or true, where they are")
    if hidden.all():
        raise InputError(
            f"`mask` {name} hides every pixel, and nothing is given: it is black, or false, where "
            f"pixels are shown (what is transparent counts as white)"
        )
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


def _pictured(
    path: str, schema: ImageSchema, crop: Sequence[int], resize: Sequence[int]
) -> np.ndarray:
    """What a picture hides: as it is if it has the size of the images, else cut as they are."""
    if Path(path).is_dir():
        raise InputError(f"`mask` {path!r} is no file: give a picture, or a half in a word")
    try:
        lot = find_images(path).lots[0]
        pixels = Form().read(lot.raw(0), lot.place(0))
        if pixels.shape[:2] != schema.shape[1:]:
            pixels = Form.of(crop, resize).read(pixels, path)
    except FaultError as error:
        raise InputError(f"`mask` {error.short}") from error
    except InputError as error:
        raise InputError(f"`mask` {error} ({', '.join(HALVES)} hide a half)") from error
    if shape_of(pixels)[0] not in (1, 3):
        raise InputError(f"`mask` {path} is {words(shape_of(pixels))}: give a picture")
    return pixels.mean(2) >= _WHITE


def _loaded(path: str) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"`mask` {path} cannot be read as an array: {one_line(error)}") from error


def _of_array(name: str, values: Any) -> np.ndarray:
    """What an array hides."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise ValueError
    except (ValueError, TypeError):
        raise InputError(f"`mask` {name}: give numbers or bools (H, W)") from None
    if np.isnan(array).any():
        raise InputError(f"`mask` {name} has NaN: give true, or 1, where pixels are hidden")
    return array != 0
