"""From an encoded image, or one of an array, to gray or RGB pixels of the wanted size."""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, ImageOps

from caudal.data.files.jobs import FaultError, quietly
from caudal.data.files.lots import Lot
from caudal.data.files.members import Member
from caudal.data.images.schema import ImageSchema, Shape, words
from caudal.data.unpacked import OPTION, allowed, has_own_limit
from caudal.errors import InputError, one_line

Raw = Path | Member | bytes | np.ndarray | None
"""An image as a source has it: a file, one in a tar, bytes, 8-bit pixels (H, W, C), or nothing."""

MOST = 4096 * 4096
"""Pixels of an image after cropping and scaling: more are a slip, and would fill the memory."""
_TIMES_A_PIXEL = 12  # bytes: Pillow allows 1 GiB by this measure, and twice as much with a word
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")  # Pillow tries no other decoder on a stranger's bytes
_LARGE = Lock()
_GRAY = ("1", "L", "LA", "La")


class _OwnLimit:
    """Within, Pillow allows as many pixels as the user does, if the user has said how many.

    Pillow has one limit for the whole process. Of threads that decode at once the first sets it,
    and the last puts it back.
    """

    def __init__(self) -> None:
        self._lock, self._within, self._before = Lock(), 0, Image.MAX_IMAGE_PIXELS

    def __enter__(self) -> None:
        with self._lock:
            if self._within == 0:
                self._before = Image.MAX_IMAGE_PIXELS
                if has_own_limit():
                    Image.MAX_IMAGE_PIXELS = allowed() // _TIMES_A_PIXEL
            self._within += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._within -= 1
            if self._within == 0:
                Image.MAX_IMAGE_PIXELS = self._before


_limit = _OwnLimit()


@dataclass(frozen=True)
class Form:
    """What is done to each image: its centre is cut out, and then scaled.

    Scaling keeps the proportions, so that the image covers the wanted size; what exceeds it on two
    sides is cut off.

    Attributes:
        crop: height and width of the centre to keep; all if None.
        resize: height and width to scale to; left as it is if None.
        channels: gray files become RGB where this is 3; RGB ones never lose their colours.
        shape: what each image must then be; not checked if None.
    """

    crop: tuple[int, int] | None = None
    resize: tuple[int, int] | None = None
    channels: int | None = None
    shape: Shape | None = None

    @classmethod
    def of(cls, crop: Sequence[int], resize: Sequence[int], shape: Shape | None = None) -> "Form":
        """The form by the user's options, each of which is empty, one number, or height and width.

        Raises:
            InputError: names the option.
        """
        return cls(_size("crop", crop), _size("resize", resize), shape and shape[0], shape)

    @property
    def leaves_size(self) -> bool:
        """Whether images keep their size."""
        return self.crop is None and self.resize is None

    def read(self, raw: Raw, place: str) -> np.ndarray:
        """The pixels of one image: uint8 (H, W, C).

        Raises:
            FaultError: it is no image, damaged, smaller than the crop, or of another shape.
        """
        pixels = raw if isinstance(raw, np.ndarray) else _decode(raw, place, self.channels)
        if self.crop is not None:
            height, width = pixels.shape[:2]
            if self.crop[0] > height or self.crop[1] > width:
                what = f"is {height}x{width}, smaller than `crop` {' '.join(map(str, self.crop))}"
                raise FaultError(place, what, "give a smaller one")
            pixels = _centre(pixels, self.crop).copy()  # else the whole stays in memory
        if self.resize is not None:
            pixels = _cover(pixels, self.resize)
        if self.shape is not None and shape_of(pixels) != self.shape:
            shape = shape_of(pixels)
            what = f"is {words(shape)}, others are {words(self.shape)}"
            raise FaultError(place, what, _advice(shape, self.shape))
        return pixels


def shape_of(pixels: np.ndarray) -> Shape:
    """Channels, height, width of an image (H, W, C)."""
    height, width, channels = pixels.shape
    return channels, height, width


def first_shape(lot: Lot, form: Form, corrupt: str) -> Shape:
    """The shape of the first image, or where others are skipped, of the first that can be read.

    Raises:
        InputError: it cannot be read, or none can.
    """
    first: FaultError | None = None
    for index, raw in enumerate(lot.raws):
        try:
            with quietly():
                return shape_of(form.read(raw, lot.place(index)))
        except FaultError as error:
            first = first or error
            if corrupt == "refuse":
                raise
    raise InputError(f"no image of {lot.name} can be used; the first: {first}")


def check_shape(lot: Lot, form: Form, corrupt: str, schema: ImageSchema) -> None:
    """Refuses images that differ, at the first of them, from those that a run models."""
    shape = first_shape(lot, form, corrupt)
    if shape != schema.shape:
        advice = _advice(shape, schema.shape)
        raise InputError(f"{lot.name} is {words(shape)}, the run models {schema.size}: {advice}")


def _advice(shape: Shape, wanted: Shape) -> str:
    """How images of one shape become images of another one."""
    channels, height, width = wanted
    if shape[0] != channels:
        return f"convert the images to {words(wanted).split(' ', 1)[1]} first"
    size = f"{height}" if height == width else f"{height} {width}"
    crops = shape[1] >= height and shape[2] >= width
    return f"give `resize` {size}" + (f", or `crop` {size}" if crops else "")


def _size(option: str, values: Sequence[int]) -> tuple[int, int] | None:
    if not values:
        return None
    if len(values) > 2 or min(values) < 1:
        shown = " ".join(str(value) for value in values)
        raise InputError(f"`{option}` {shown}: give one size, or height and width, each above 0")
    height, width = values[0], values[-1]
    if height * width > MOST:
        raise InputError(
            f"`{option}` {height} {width}: at most {MOST:,} pixels, such as 4096 4096"
        )
    return height, width


def _decode(raw: Path | Member | bytes | None, place: str, channels: int | None) -> np.ndarray:
    if raw is None:
        raise FaultError(place, "is missing", "it has no bytes")
    try:
        raw = raw.read() if isinstance(raw, Member) else raw
        file = io.BytesIO(raw) if isinstance(raw, bytes) else raw
        with _limit, Image.open(file, formats=_FORMATS) as image, _alone(image):
            pixels = _pixels(image)
    except Exception as error:  # on damaged bytes, decoders raise errors of all kinds
        raise FaultError(place, "cannot be read as an image", _why(error)) from None
    if channels == 3 and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return pixels


def _alone(image: Image.Image) -> AbstractContextManager[object]:
    """Within, no other large image is decoded: those of a few threads would fill the memory."""
    return _LARGE if image.width * image.height > MOST else nullcontext()


def _why(error: BaseException) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return f"it is none of {', '.join(_FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has too many pixels; if you trust it, set {OPTION} to a number of GiB"
    return one_line(error, 120)


def _pixels(image: Image.Image) -> np.ndarray:
    """Upright, gray or RGB, uint8 (H, W, C); transparent pixels show white paper."""
    image = _upright(image)
    if image.mode.startswith("I"):  # 16 bits of gray
        wide = np.asarray(image).astype(np.int64).clip(0, 0xFFFF)
        return (wide >> 8).astype(np.uint8)[:, :, None]
    mode = "L" if image.mode in _GRAY else "RGB"
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    pixels = np.array(image.convert(mode))
    return pixels[:, :, None] if mode == "L" else pixels


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels may be sound where the camera's metadata are not
        return image


def _centre(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    top, left = ((have - want) // 2 for have, want in zip(pixels.shape, size, strict=False))
    return pixels[top : top + size[0], left : left + size[1]]


def _cover(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    scale = max(size[0] / height, size[1] / width)
    scaled = max(size[1], round(width * scale)), max(size[0], round(height * scale))
    channels = [
        np.asarray(Image.fromarray(channel).resize(scaled, Image.Resampling.LANCZOS))
        for channel in np.moveaxis(np.ascontiguousarray(pixels), 2, 0)
    ]
    return _centre(np.stack(channels, axis=2), size)
