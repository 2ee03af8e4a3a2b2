"""Images into files, piece by piece: nothing is there until all of it is."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from caudal.data.images import grid
from caudal.data.writing import writing
from caudal.errors import InputError
from caudal.files import atomic, atomic_folder

Write = Callable[[np.ndarray, Sequence[Any] | None], None]
Opener = Callable[[Path], AbstractContextManager[Write]]
FORMATS = f"{' '.join(grid.SUFFIXES)} (all on one sheet), .npz, .npy, or a folder (no suffix)"


class ImageWriter:
    """Writes images, uint8 (N, H, W, C), one lot after the other, as a context manager.

    Nothing is at `path` until the block ends well; then all of it is. The suffix chooses the form:
    a picture is one sheet with all of them; `.npz` holds `images` and, where classes are given,
    `labels`; `.npy` the images alone; a path without a suffix becomes a folder of PNG files, in
    sub-folders named by their class where classes are given.

    Args:
        path: where to.
        across: of a sheet, how many images are in a row; see `grid.write_grid`.
        label: of a sheet, a line to write under them.

    Raises:
        InputError: at once, for an unknown suffix, or where something is in the way.
    """

    def __init__(self, path: str | Path, across: int | None = None, label: str = "") -> None:
        self.path = Path(path)
        self._open = _opener(self.path, partial(_write_sheet, across=across, label=label))
        self._stack = ExitStack()
        self._write: Write | None = None
        self._shape: tuple[int, ...] | None = None

    def __enter__(self) -> "ImageWriter":
        with writing(self.path):
            self._write = self._stack.enter_context(self._open(self.path))
        return self

    def check(self, channels: int) -> None:
        """Refuses images that the form cannot hold, before there are any.

        Raises:
            InputError: names the file, and forms that can.
        """
        if self.path.suffix.casefold() not in _ARRAYS:
            grid.check_channels(channels, self.path)

    def write(self, images: np.ndarray, classes: Sequence[Any] | None = None) -> None:
        """Appends images, all of the shape of the first, and perhaps the class of each.

        Raises:
            InputError: other shapes, or channels that the form cannot hold.
        """
        if self._write is None:
            raise RuntimeError("write inside the with-block")
        if self._shape is not None and self._shape != images.shape[1:]:
            raise InputError(f"{self.path}: images of one file must have one shape")
        self.check(images.shape[3])
        self._shape = images.shape[1:]
        with writing(self.path):
            self._write(images, classes)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with writing(self.path), self._stack as stack:
            if error is not None:
                stack.__exit__(kind, error, trace)
            elif self._shape is None:
                raise InputError(f"{self.path}: there are no images to write")


def _opener(path: Path, write_sheet: Opener) -> Opener:
    if path.suffix:
        if path.is_dir():
            raise InputError(f"{path} is a folder: give another name ({FORMATS})")
        suffix = path.suffix.casefold()
        if suffix in _ARRAYS:
            return _ARRAYS[suffix]
        if suffix in grid.SUFFIXES:
            return write_sheet
        raise InputError(f"{path}: cannot write '{path.suffix}' files; known are {FORMATS}")
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise InputError(f"{path} is there already: images go to a new folder, or an empty one")
    return _write_folder


@contextmanager
def _write_sheet(path: Path, across: int | None, label: str) -> Iterator[Write]:
    lots: list[np.ndarray] = []
    yield lambda images, _: lots.append(images)
    grid.write_grid(path, np.concatenate(lots), across, label)


@contextmanager
def _write_npy(path: Path) -> Iterator[Write]:
    lots: list[np.ndarray] = []
    with atomic(path) as temporary:
        yield lambda images, _: lots.append(images)
        np.save(temporary, np.concatenate(lots))


@contextmanager
def _write_npz(path: Path) -> Iterator[Write]:
    lots: list[np.ndarray] = []
    labels: list[Any] = []

    def write(images: np.ndarray, classes: Sequence[Any] | None) -> None:
        lots.append(images)
        labels.extend(classes or ())

    with atomic(path) as temporary:
        yield write
        images = np.concatenate(lots)
        if labels:
            np.savez_compressed(temporary, images=images, labels=np.array(labels))
        else:
            np.savez_compressed(temporary, images=images)


@contextmanager
def _write_folder(path: Path) -> Iterator[Write]:
    with atomic_folder(path) as temporary:
        count = 0

        def write(images: np.ndarray, classes: Sequence[Any] | None) -> None:
            nonlocal count
            for index, pixels in enumerate(images):
                count += 1
                folder = temporary if classes is None else temporary / _folder_name(classes[index])
                folder.mkdir(exist_ok=True)
                grid.save(grid.to_image(pixels), folder / f"{count:06d}.png")

        yield write


_ARRAYS: dict[str, Opener] = {".npz": _write_npz, ".npy": _write_npy}


def _folder_name(value: Any) -> str:
    """A class as the name of a folder, which cannot hold every character."""
    name = str(value).replace("/", "_").replace("\0", "_")
    return f"_{name}" if name.startswith(".") or not name else name
