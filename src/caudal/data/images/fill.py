"""Images laid into their parts: as they stand where that is possible, else copied one by one."""

import math
import mmap
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from caudal.data.files.jobs import Decoder, Job
from caudal.data.images.schema import ImageSchema
from caudal.data.source import Rows
from caudal.errors import InputError


@dataclass
class Shelf:
    """The images of one part.

    Attributes:
        images: uint8 (room, C, H, W), of which the first ones are taken.
        codes: the labels of each, (C,).
        titles: what each is called.
    """

    images: np.ndarray
    codes: list[Tensor] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)

    @property
    def rows(self) -> Rows:
        """The images with their labels as context."""
        codes = torch.stack(self.codes)
        images = torch.from_numpy(self.images[: len(self.titles)])
        return Rows(images, codes if codes.shape[1] else None)


def fill(
    jobs: Sequence[Job], decoder: Decoder, schema: ImageSchema, memory: int, as_they_are: bool
) -> dict[int, Shelf]:
    """The images of each part that gets some.

    Args:
        jobs: what to read.
        decoder: makes pixels of each image.
        schema: what they are.
        memory: bytes above which they are kept on disk.
        as_they_are: whether an array of the right shape may be used without a copy.

    Raises:
        InputError: an image cannot be used, and is not to be skipped, or the disk is full.
    """
    ready = [as_they_are and _is_ready(job, jobs, schema) for job in jobs]
    pairs = list(zip(jobs, ready, strict=True))
    shelves = {int(job.parts[0]): _share(job) for job, is_so in pairs if is_so}
    copied = [job for job, is_so in pairs if not is_so]
    stores = _stores(copied, schema, memory)
    for job, index, title, pixels in decoder.read(copied):
        shelf = stores[int(job.parts[index])]
        shelf.images[len(shelf.titles)] = schema.encode(pixels[None])[0].numpy()
        shelf.codes.append(job.codes[index])
        shelf.titles.append(title)
    return {part: s for part, s in {**shelves, **stores}.items() if s.titles}


def _is_ready(job: Job, jobs: Sequence[Job], schema: ImageSchema) -> bool:
    """Whether an array is the whole of a part as it stands."""
    array, part = job.lot.array, job.parts[0]
    if array is None or schema.bits != 8:
        return False
    if min(array.strides) < 0:  # a view turned round, of which torch knows nothing
        return False
    if (array.shape[3], *array.shape[1:3]) != schema.shape:
        return False
    return bool((job.parts == part).all()) and sum(part in j.parts for j in jobs) == 1


def _share(job: Job) -> Shelf:
    images = np.asarray(job.lot.array).transpose(0, 3, 1, 2)
    titles = [job.lot.title(index, index + 1) for index in range(job.lot.count)]
    return Shelf(images, list(job.codes), titles)


def _stores(jobs: Sequence[Job], schema: ImageSchema, memory: int) -> dict[int, Shelf]:
    """Room for the images of each part: in memory, or if they are many, in a nameless file."""
    counts = Counter(part for job in jobs for part in job.parts.tolist())
    on_disk = counts.total() * math.prod(schema.shape) > memory
    make = _on_disk if on_disk else partial(np.empty, dtype=np.uint8)
    return {part: Shelf(make((count, *schema.shape))) for part, count in sorted(counts.items())}


def _on_disk(shape: Sequence[int]) -> np.ndarray:
    """An array in a temporary file, whose room is free again as soon as nobody uses the array."""
    size = math.prod(shape)
    with tempfile.TemporaryFile(prefix="caudal-") as file:
        try:
            # A file with holes would end the program when the disk gets full, long after this.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                os.truncate(file.fileno(), size)
        except OSError as error:
            raise InputError(
                f"{size / 2**30:.1f} GiB of images do not fit in {tempfile.gettempdir()} "
                f"({error.strerror}): set TMPDIR to a folder with more room, or give `resize`"
            ) from None
        return np.frombuffer(mmap.mmap(file.fileno(), size), np.uint8).reshape(shape)
