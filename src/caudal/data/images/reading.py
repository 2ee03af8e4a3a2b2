"""Images read one after the other, several decoded at a time."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from caudal.data.images.form import Form, Raw, quietly
from caudal.data.images.pictures import Pictures
from caudal.data.images.shape import Shape, shape_of, unlike
from caudal.errors import InputError

_TOGETHER = 256  # so many are decoded before the next are asked for


class Job(NamedTuple):
    """Images, and the part that each one goes to: int (N,)."""

    pictures: Pictures
    parts: np.ndarray


class Read(NamedTuple):
    """An image that was read, or what is wrong with it."""

    part: int
    label: Any
    title: str
    pixels: np.ndarray | InputError


@dataclass(frozen=True)
class Reader:
    """Brings images into their form.

    Args:
        form: what is done to each.
        shape: what each must then be.
    """

    form: Form
    shape: Shape

    def read(self, jobs: Sequence[Job]) -> Iterator[Read]:
        """All images of the jobs, in order."""
        number = 0
        for pictures, parts in jobs:
            labels = pictures.labels
            for index, pixels in enumerate(self._pixels(pictures)):
                number += 1
                label = None if labels is None else labels[index]
                yield Read(int(parts[index]), label, pictures.title(index, number), pixels)

    def _pixels(self, pictures: Pictures) -> Iterator[np.ndarray | InputError]:
        def attempt(item: tuple[int, Raw]) -> np.ndarray | InputError:
            try:
                return self._one(item[1], pictures.place(item[0]))
            except InputError as error:
                return error

        items = enumerate(pictures.read())
        if pictures.array is not None:  # nothing to decode
            yield from map(attempt, items)
            return
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            while some := list(islice(items, _TOGETHER)):
                with quietly():
                    done = list(pool.map(attempt, some))
                yield from done

    def _one(self, raw: Raw, place: str) -> np.ndarray:
        pixels = self.form.read(raw, place)
        if shape_of(pixels) != self.shape:
            raise unlike(place, shape_of(pixels), self.shape)
        return pixels
