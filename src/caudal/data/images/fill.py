"""Images laid into their parts: as they stand where that is possible, else copied one by one."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from caudal.data.images.form import Form
from caudal.data.images.pictures import Pictures
from caudal.data.images.reading import Job, Read, Reader
from caudal.data.images.schema import ImageSchema
from caudal.data.images.shape import skippable
from caudal.data.images.store import Store
from caudal.errors import InputError

Progress = Callable[[Iterable[Any], int], Iterable[Any]]


class Shelf(NamedTuple):
    """The images of one part: uint8 (N, C, H, W), the label of each, and what it is called."""

    images: np.ndarray
    labels: list[Any]
    titles: list[str]


@dataclass(frozen=True)
class Filler:
    """Reads images into parts.

    Args:
        schema: what they must be.
        form: what is done to each.
        corrupt: "refuse" or "skip" those that cannot be read, or are of another size.
        memory: bytes above which they are kept on disk.
        progress: given what is gone through and how many images it is, gives the same back.
    """

    schema: ImageSchema
    form: Form
    corrupt: str
    memory: int
    progress: Progress | None = None

    def fill(self, jobs: Sequence[Job]) -> tuple[dict[int, Shelf], tuple[str, ...]]:
        """The parts that got images, and notes.

        Raises:
            InputError: an image cannot be used, and is not to be skipped; or none can.
        """
        ready = [self._is_ready(job, jobs) for job in jobs]
        pairs = list(zip(jobs, ready, strict=True))
        shelves = {int(job.parts[0]): self._share(job.pictures) for job, is_so in pairs if is_so}
        copied, faults = self._copy([job for job, is_so in pairs if not is_so])
        found = {part: s for part, s in {**shelves, **copied}.items() if s.labels}
        if not faults:
            return found, ()
        if not found:
            raise InputError(f"no image can be used; the first: {faults[0]}")
        many = "an image" if len(faults) == 1 else f"{len(faults)} images; the first"
        return found, (f"skipped {many}: {faults[0]}",)

    def _is_ready(self, job: Job, jobs: Sequence[Job]) -> bool:
        """Whether an array is the whole of a part as it stands."""
        array, part = job.pictures.array, job.parts[0]
        if array is None or not self.form.leaves_size or self.schema.bits != 8:
            return False
        if (array.shape[3], *array.shape[1:3]) != self.schema.shape:
            return False
        return bool((job.parts == part).all()) and sum(part in j.parts for j in jobs) == 1

    def _share(self, pictures: Pictures) -> Shelf:
        count = pictures.count
        images = np.asarray(pictures.array).transpose(0, 3, 1, 2)
        labels = list(pictures.labels or [None] * count)
        return Shelf(images, labels, [pictures.title(i, i + 1) for i in range(count)])

    def _copy(self, jobs: Sequence[Job]) -> tuple[dict[int, Shelf], list[str]]:
        """Images copied into a store for each part, and what was wrong with the others."""
        stores = self._stores(jobs)
        labels: dict[int, list[Any]] = {part: [] for part in stores}
        titles: dict[int, list[str]] = {part: [] for part in stores}
        faults = []
        for part, label, title, pixels in self._read(jobs):
            if isinstance(pixels, InputError):
                if self.corrupt == "refuse":
                    raise skippable(pixels)
                faults.append(str(pixels))
                continue
            stores[part].append(self.schema.encode(pixels[None]).numpy())
            labels[part].append(label)
            titles[part].append(title)
        return {p: Shelf(s.images, labels[p], titles[p]) for p, s in stores.items()}, faults

    def _stores(self, jobs: Sequence[Job]) -> dict[int, Store]:
        parts = [job.parts for job in jobs] or [np.empty(0, np.int64)]
        which, counts = np.unique(np.concatenate(parts), return_counts=True)
        on_disk = int(counts.sum()) * math.prod(self.schema.shape) > self.memory
        pairs = zip(which.tolist(), counts.tolist(), strict=True)
        return {part: Store(count, self.schema.shape, on_disk) for part, count in pairs}

    def _read(self, jobs: Sequence[Job]) -> Iterable[Read]:
        found = Reader(self.form, self.schema.shape).read(jobs)
        if self.progress is None or not jobs:
            return found
        return self.progress(found, sum(job.pictures.count for job in jobs))
