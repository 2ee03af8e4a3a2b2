"""Images into files, one by one or on a sheet: nothing is there until all of it is."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from caudal.data.writing import PICTURES, Opener, Writer
from caudal.errors import InputError
from caudal.files import atomic

Write = Callable[[np.ndarray, Sequence[Any] | None], None]
_ARRAYS = (".npz", ".npy")
_GAP = 2  # pixels between images
_WIDTH = 900  # pixels; small images are magnified up to about this
_LABEL = 18  # pixels
_PAPER = 255


class ImageWriter(Writer):
    """Writes images, uint8 (N, H, W, C), one lot after the other, as a context manager.

    Nothing is at `path` until the block ends well; then all of it is. The suffix chooses the form:
    a picture is one sheet with all of them; `.npz` holds `images`, and `labels` if there are
    classes; `.npy` holds the images alone; a path without a suffix becomes a folder of PNG files,
    in sub-folders named by their class if there are classes.

    Args:
        path: where to.
        across: for a sheet, how many images are in a row; see `write_grid`.
        label: for a sheet, a line to write under them.

    Raises:
        InputError: at once, for an unknown suffix, or where something is in the way.
    """

    many = "images"
    formats = f"{' '.join(PICTURES)} (all on one sheet), .npz, .npy, or a folder (no suffix)"

    def __init__(self, path: str | Path, across: int | None = None, label: str = "") -> None:
        self._sheet = partial(_write_sheet, across=across, label=label)
        self._shape: tuple[int, ...] | None = None
        super().__init__(path)

    def _opener(self) -> Opener:
        if not self.suffix:
            self._refuse_taken()
            return _write_folder
        self._refuse_folder()
        if self.suffix in _ARRAYS:
            return _write_arrays
        if self.suffix in PICTURES:
            return self._sheet
        raise self._unknown()

    def check(self, channels: int) -> None:
        """Refuses images that the form cannot hold, before there are any."""
        if self.suffix not in _ARRAYS:
            check_channels(channels, self.path)

    def write(self, images: np.ndarray, classes: Sequence[Any] | None = None) -> None:
        """Appends images, all of the shape of the first, and perhaps the class of each.

        Raises:
            InputError: the shapes differ, or the form cannot hold so many channels.
        """
        if self._shape is not None and self._shape != images.shape[1:]:
            raise InputError(f"{self.path}: images of one file must have one shape")
        self.check(images.shape[3])
        self._add(images, classes)
        self._shape = images.shape[1:]


@contextmanager
def _write_sheet(path: Path, across: int | None, label: str) -> Iterator[Write]:
    lots: list[np.ndarray] = []
    yield lambda images, _: lots.append(images)
    save(draw(np.concatenate(lots), across, label), path)


@contextmanager
def _write_arrays(path: Path) -> Iterator[Write]:
    lots: list[np.ndarray] = []
    labels: list[Any] = []

    def write(images: np.ndarray, classes: Sequence[Any] | None) -> None:
        lots.append(images)
        labels.extend(classes or ())

    yield write
    arrays = {"images": np.concatenate(lots)} | ({"labels": np.array(labels)} if labels else {})
    with path.open("wb") as file:
        if path.suffix.casefold() == ".npy":
            np.save(file, arrays["images"])
        else:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


@contextmanager
def _write_folder(path: Path) -> Iterator[Write]:
    count = 0

    def write(images: np.ndarray, classes: Sequence[Any] | None) -> None:
        nonlocal count
        for index, pixels in enumerate(images):
            count += 1
            folder = path if classes is None else path / _folder_name(classes[index])
            folder.mkdir(exist_ok=True)
            save(to_image(pixels), folder / f"{count:06d}.png")

    yield write


def _folder_name(value: Any) -> str:
    """A class as the name of a folder, in which not every character is allowed."""
    name = str(value).replace("/", "_").replace("\0", "_")
    return f"_{name}" if name.startswith(".") or not name else name


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
    if path.suffix.casefold() not in PICTURES:
        known = " ".join(PICTURES)
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
