"""Images before they are read: how many there are, what they are called, and how to get them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caudal.data.images.form import Raw
from caudal.data.splits import TEST, TRAIN, VALID

_WORDS = {
    "train": TRAIN,
    "training": TRAIN,
    "valid": VALID,
    "validation": VALID,
    "val": VALID,
    "dev": VALID,
    "test": TEST,
    "testing": TEST,
}


@dataclass(frozen=True)
class Pictures:
    """Some images in their order.

    Attributes:
        name: what errors call them all, mostly the file or folder as the user wrote it.
        count: how many there are.
        read: starts a pass over them, each as the source has it.
        labels: the class of each one, None where it has none; None if there are no classes.
        files: the file of each one, relative to `name`; None where they are in one file.
        array: all of them, uint8 (N, H, W, C), where the source is such an array.
    """

    name: str
    count: int
    read: Callable[[], Iterator[Raw]]
    labels: Sequence[Any] | None = None
    files: Sequence[str] | None = None
    array: np.ndarray | None = None

    def place(self, index: int) -> str:
        """What errors call an image: `photos/cat/1.png`, or `mnist.npz, image 7`."""
        if self.files is None:
            return f"{self.name}, image {index + 1}"
        return f"{self.name}/{self.files[index]}" if self.files[index] else self.name

    def title(self, index: int, number: int) -> str:
        """What results call an image: its file, or else its number among all of the source."""
        if self.files is None:
            return str(number)
        return self.files[index] or self.name


@dataclass(frozen=True)
class Found:
    """What a source holds.

    Attributes:
        name: what the user called it.
        parts: its images, by `TRAIN`, `VALID` and `TEST`; all under `TRAIN` if it has no parts.
        notes: what the user should know, such as files that were passed over.
        bits: of each pixel that say something.
    """

    name: str
    parts: dict[int, Pictures]
    notes: tuple[str, ...] = ()
    bits: int = 8


def part_of(word: str) -> int | None:
    """The part that a folder, a file or a split of that name is, or None."""
    return _WORDS.get(word.casefold())
