"""Room for the images of one part: in memory, or in a file without a name if they are many."""

import math
import mmap
import os
import tempfile

import numpy as np

from caudal.errors import InputError


class Store:
    """Takes images until it is full, or until there are no more.

    Args:
        room: for how many images.
        shape: of each, C, H, W.
        on_disk: whether they are kept in a temporary file, which the system gives back as soon
            as nobody uses them any more.

    Raises:
        InputError: the disk has not that much room.
    """

    def __init__(self, room: int, shape: tuple[int, int, int], on_disk: bool) -> None:
        whole = (room, *shape)
        self._images = _on_disk(whole) if on_disk and room else np.empty(whole, np.uint8)
        self._count = 0

    def append(self, images: np.ndarray) -> None:
        """Takes in images (n, C, H, W)."""
        self._images[self._count : self._count + len(images)] = images
        self._count += len(images)

    @property
    def images(self) -> np.ndarray:
        """Those taken in so far, without a copy: uint8 (N, C, H, W)."""
        return self._images[: self._count]


def _on_disk(shape: tuple[int, ...]) -> np.ndarray:
    size = math.prod(shape)
    with tempfile.TemporaryFile(prefix="caudal-") as file:
        try:
            _reserve(file.fileno(), size)
        except OSError as error:
            raise InputError(
                f"{size / 2**30:.1f} GiB of images do not fit in {tempfile.gettempdir()} "
                f"({error.strerror}): set TMPDIR to a folder with more room, or give --resize"
            ) from None
        return np.frombuffer(mmap.mmap(file.fileno(), size), np.uint8).reshape(shape)


def _reserve(file: int, size: int) -> None:
    # A file with holes would end the program when the disk is full, long after this.
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)
