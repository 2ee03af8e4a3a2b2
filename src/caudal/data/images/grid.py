"""Many images on one sheet of paper."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from caudal.errors import InputError
from caudal.files import atomic

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_GAP = 2  # pixels between images
_WIDTH = 900  # pixels; small images are magnified up to about this
_LABEL = 18  # pixels
_PAPER = 255


def write_grid(
    path: str | Path, images: np.ndarray, across: int | None = None, label: str = ""
) -> None:
    """Writes images row by row as one picture; small ones are magnified a whole number of times.

    Args:
        path: a .png, .jpg or .webp file.
        images: uint8 (N, H, W, C), gray or RGB.
        across: how many are in a row; if None, so many that the sheet is about square.
        label: a line to write under them.

    Raises:
        InputError: there are no images, they are neither gray nor RGB, or the suffix is unknown.
    """
    path = Path(path)
    if path.suffix.casefold() not in SUFFIXES:
        known = " ".join(SUFFIXES)
        raise InputError(f"{path}: cannot write '{path.suffix}' pictures; known are {known}")
    if len(images) == 0:
        raise InputError(f"{path}: there are no images to write")
    check_channels(images.shape[3], path)
    with atomic(path) as temporary:
        save(draw(images, across, label), temporary)


def draw(images: np.ndarray, across: int | None = None, label: str = "") -> Image.Image:
    """The picture that `write_grid` writes."""
    sheet = Image.fromarray(_sheet(images, across))
    return _labelled(sheet, label) if label else sheet


def check_channels(channels: int, path: Path) -> None:
    """Refuses images that no picture file can show."""
    if channels not in (1, 3):
        raise InputError(
            f"{path}: images of {channels} channels are no picture, gray has 1 and RGB 3: write "
            f".npz or .npy"
        )


def save(image: Image.Image, path: Path) -> None:
    """Writes an image without loss, or as JPEG with little loss."""
    if path.suffix.casefold() == ".webp":
        image.save(path, lossless=True)
    elif path.suffix.casefold() == ".png":
        image.save(path)
    else:
        image.save(path, quality=95)


def to_image(pixels: np.ndarray) -> Image.Image:
    """Pixels (H, W, C), gray or RGB, as an image of Pillow's."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _sheet(images: np.ndarray, across: int | None) -> np.ndarray:
    count, height, width, channels = images.shape
    across = min(count, across or math.ceil(math.sqrt(count * height / width)))
    down = math.ceil(count / across)
    times = max(1, _WIDTH // (across * width + (across + 1) * _GAP))
    height, width = height * times, width * times
    size = (_GAP + down * (height + _GAP), _GAP + across * (width + _GAP), channels)
    sheet = np.full(size, _PAPER, np.uint8)
    for index, image in enumerate(images):
        row, column = divmod(index, across)
        top, left = _GAP + row * (height + _GAP), _GAP + column * (width + _GAP)
        large = image.repeat(times, axis=0).repeat(times, axis=1)
        sheet[top : top + height, left : left + width] = large
    return sheet[:, :, 0] if channels == 1 else sheet


def _labelled(sheet: Image.Image, label: str) -> Image.Image:
    """The sheet with a line of text under it, and as wide as that line needs."""
    font = ImageFont.load_default(_LABEL)
    width = max(sheet.width, math.ceil(font.getlength(label)) + 4 * _GAP)
    taller = Image.new(sheet.mode, (width, sheet.height + 2 * _LABEL), "white")
    taller.paste(sheet, ((width - sheet.width) // 2, 0))
    middle = (width / 2, sheet.height + _LABEL)
    ImageDraw.Draw(taller).text(middle, label, "black", font, anchor="mm")
    return taller
