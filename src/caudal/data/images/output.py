"""Images into files, lot by lot: nothing is there until all of it is."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from caudal.data.images import grid
from caudal.data.writing import Opener, Writer
from caudal.errors import InputError

Write = Callable[[np.ndarray, Sequence[Any] | None], None]


class ImageWriter(Writer):
    """Writes images, uint8 (N, H, W, C), one lot after the other, as a context manager.

    Nothing is at `path` until the block ends well; then all of it is. The suffix chooses the form:
    a picture is one sheet with all of them; `.npz` holds `images`, and `labels` if there are
    classes; `.npy` holds the images alone; a path without a suffix becomes a folder of PNG files,
    in sub-folders named by their class if there are classes.

    Args:
        path: where to.
        across: of a sheet, how many images are in a row; see `grid.write_grid`.
        label: of a sheet, a line to write under them.

    Raises:
        InputError: at once, for an unknown suffix, or where something is in the way.
    """

    many = "images"
    formats = f"{' '.join(grid.SUFFIXES)} (all on one sheet), .npz, .npy, or a folder (no suffix)"

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
            return _ARRAYS[self.suffix]
        if self.suffix in grid.SUFFIXES:
            return self._sheet
        raise self._unknown()

    def check(self, channels: int) -> None:
        """Refuses images that the form cannot hold, before there are any."""
        if self.suffix not in _ARRAYS:
            grid.check_channels(channels, self.path)

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
    grid.save(grid.draw(np.concatenate(lots), across, label), path)


@contextmanager
def _write_npy(path: Path) -> Iterator[Write]:
    lots: list[np.ndarray] = []
    yield lambda images, _: lots.append(images)
    with path.open("wb") as file:
        np.save(file, np.concatenate(lots))


@contextmanager
def _write_npz(path: Path) -> Iterator[Write]:
    lots: list[np.ndarray] = []
    labels: list[Any] = []

    def write(images: np.ndarray, classes: Sequence[Any] | None) -> None:
        lots.append(images)
        labels.extend(classes or ())

    yield write
    arrays = {"images": np.concatenate(lots)}
    if labels:
        arrays["labels"] = np.array(labels)
    with path.open("wb") as file:
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
            grid.save(grid.to_image(pixels), folder / f"{count:06d}.png")

    yield write


_ARRAYS: dict[str, Opener] = {".npz": _write_npz, ".npy": _write_npy}


def _folder_name(value: Any) -> str:
    """A class as the name of a folder, in which not every character is allowed."""
    name = str(value).replace("/", "_").replace("\0", "_")
    return f"_{name}" if name.startswith(".") or not name else name
