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
from caudal.data.files.members import Member
from caudal.data.images.form import Form, Raw
from caudal.data.images.schema import ImageSchema
from caudal.data.source import Rows
from caudal.data.unpacked import check_size
from caudal.errors import InputError

_TIMES = 10_000  # a simple drawing unpacks to a thousand times its size


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
    jobs: Sequence[Job], decoder: Decoder, schema: ImageSchema, memory: int, form: Form
) -> dict[int, Shelf]:
    """The images of each part that gets some.

    Args:
        jobs: what to read.
        decoder: makes pixels of each image.
        schema: what they are.
        memory: bytes above which they are kept on disk.
        form: what is done to each of them.

    Raises:
        InputError: an image cannot be used, and is not to be skipped, the disk is full, or small
            files would unpack to too much together.
    """
    ready = [form.leaves_size and _is_ready(job, jobs, schema) for job in jobs]
    pairs = list(zip(jobs, ready, strict=True))
    shelves = {int(job.parts[0]): _share(job) for job, is_so in pairs if is_so}
    copied = [job for job, is_so in pairs if not is_so]
    if form.resize is None:
        _check_total(copied, schema)
    stores = _stores(copied, schema, memory)
    for job, index, title, pixels in decoder.read(copied):
        shelf = stores[int(job.parts[index])]
        shelf.images[len(shelf.titles)] = schema.encode(pixels[None])[0].numpy()
        shelf.codes.append(job.codes[index])
        shelf.titles.append(title)
    return {part: s for part, s in {**shelves, **stores}.items() if s.titles}


def _check_total(jobs: Sequence[Job], schema: ImageSchema) -> None:
    """Refuses files that together unpack to too much, of which each may be small enough."""
    for lot in (job.lot for job in jobs):
        sizes = list(map(_packed, lot.raws)) if isinstance(lot.raws, list) else []
        if sizes and None not in sizes:
            packed = sum(size for size in sizes if size is not None)
            check_size(packed, lot.name, lot.count * math.prod(schema.shape), _TIMES)


def _packed(raw: Raw) -> int | None:
    """The bytes of a file, None for what is none, or is not there."""
    try:
        return raw.size if isinstance(raw, Member) else raw.stat().st_size  # type: ignore[union-attr]
    except (AttributeError, OSError):
        return None


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
