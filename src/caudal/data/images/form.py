"""From an encoded image, or one of an array, to gray or RGB pixels of the wanted size."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from caudal.errors import InputError

Raw = Path | bytes | np.ndarray | None
"""An image as a source has it: a file, its bytes, 8-bit pixels (H, W, C), or nothing."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MOST = 4096 * 4096
"""Pixels of an image after `--crop` and `--resize`: more are a slip, and would fill the memory."""
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")  # Pillow tries no other decoder on a stranger's bytes
_GRAY = ("1", "L", "LA", "La")


@dataclass(frozen=True)
class Form:
    """What is done to each image: first the centre is cut out, then that is scaled.

    Scaling keeps the proportions, so that the image covers the wanted size; what juts out on two
    sides is cut off.

    Attributes:
        crop: height and width of the centre to keep; all if None.
        resize: height and width to scale to; left as it is if None.
        channels: gray files become RGB where this is 3; RGB ones never lose their colours.
    """

    crop: tuple[int, int] | None = None
    resize: tuple[int, int] | None = None
    channels: int | None = None

    @classmethod
    def of(cls, crop: Sequence[int], resize: Sequence[int], channels: int | None) -> "Form":
        """The form that the options say, each nothing, one number, or height and width.

        Raises:
            InputError: names the option.
        """
        return cls(_size("--crop", crop), _size("--resize", resize), channels)

    @property
    def leaves_size(self) -> bool:
        """Whether images keep the size that they have."""
        return self.crop is None and self.resize is None

    def read(self, raw: Raw, place: str) -> np.ndarray:
        """The pixels of one image: uint8 (H, W, C).

        Raises:
            InputError: no image, a damaged one, or one smaller than the crop; names `place`.
        """
        pixels = raw if isinstance(raw, np.ndarray) else _decode(raw, place, self.channels)
        if self.crop is not None:
            height, width = pixels.shape[:2]
            if self.crop[0] > height or self.crop[1] > width:
                wanted = " ".join(str(n) for n in self.crop)
                raise InputError(f"{place} is {height}x{width}, smaller than --crop {wanted}")
            pixels = _centre(pixels, self.crop).copy()  # else the whole stays in memory
        return pixels if self.resize is None else _cover(pixels, self.resize)


@contextmanager
def quietly() -> Iterator[None]:
    """Decoders warn of odd notes on cameras and the like, which are nothing to the pixels.

    It is to be entered before there are threads, which share what is warned of.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\b")
        yield


def _size(option: str, values: Sequence[int]) -> tuple[int, int] | None:
    if not values:
        return None
    if len(values) > 2 or min(values) < 1:
        shown = " ".join(str(value) for value in values)
        raise InputError(f"{option} {shown}: give one size, or height and width, each above 0")
    height, width = values[0], values[-1]
    if height * width > MOST:
        raise InputError(f"{option} {height} {width}: at most {MOST:,} pixels, such as 4096 4096")
    return height, width


def _decode(raw: Path | bytes | None, place: str, channels: int | None) -> np.ndarray:
    if raw is None:
        raise InputError(f"{place} is missing: it has no bytes")
    try:
        file = io.BytesIO(raw) if isinstance(raw, bytes) else raw
        with Image.open(file, formats=_FORMATS) as image:
            pixels = _pixels(image)
    except Exception as error:  # damaged bytes make decoders raise all kinds
        raise InputError(f"{place} cannot be read as an image: {_why(error)}") from None
    if channels == 3 and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return pixels


def _why(error: BaseException) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return f"it is none of {', '.join(_FORMATS)}"
    return " ".join(str(error).split())[:120] or type(error).__name__


def _pixels(image: Image.Image) -> np.ndarray:
    """Upright, gray or RGB, uint8 (H, W, C); what is transparent shows white paper."""
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
    except Exception:  # the pixels may be sound where the notes on the camera are not
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
